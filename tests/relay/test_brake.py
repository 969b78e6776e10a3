"""The brake page."""

from pathlib import Path

import pytest

from grayscale.relay.brake import FIRST_SLOT, LAST_SLOT, PAGE_BYTES, Brake, is_trip


def test_ban_is_seen_by_every_process(tmp_path: Path) -> None:
    """A ban put on through one mapping is seen through another, and outlives both."""
    one, other = Brake.open(tmp_path / "brake"), Brake.open(tmp_path / "brake")
    assert not other.banned(9)
    one.ban(9)
    assert other.banned(9)
    assert not other.banned(10)
    one.close()
    other.close()
    again = Brake.open(tmp_path / "brake")
    assert again.banned(9)
    again.close()
    assert (tmp_path / "brake").stat().st_size == PAGE_BYTES
    assert (tmp_path / "brake").stat().st_mode & 0o777 == 0o600


def test_newer_ban_is_not_lifted_by_an_older_transaction(tmp_path: Path) -> None:
    """Lifting wants the value of the ban it lifts: a ban put on again meanwhile stays."""
    brake = Brake.open(tmp_path / "brake")
    first = brake.ban(8)
    second = brake.ban(8)
    assert first != second
    assert not brake.lift(8, first)
    assert brake.banned(8)
    assert brake.value(8) == second
    assert brake.lift(8, second)
    assert not brake.banned(8)
    brake.close()


def test_cut_is_part_of_the_ban(tmp_path: Path) -> None:
    """A ban may ask for the end of running requests; a later plain ban does not."""
    brake = Brake.open(tmp_path / "brake")
    assert not brake.wants_cut(8)
    brake.ban(8, cut=True)
    assert brake.banned(8)
    assert brake.wants_cut(8)
    brake.ban(8)
    assert not brake.wants_cut(8)
    brake.close()


def test_a_trip_is_told_from_a_persons_ban(tmp_path: Path) -> None:
    """The breaker's ban says so, cuts nobody, and never takes the place of another."""
    brake = Brake.open(tmp_path / "brake")
    assert not is_trip(brake.value(8))
    assert brake.trip(8)
    assert brake.banned(8)
    assert is_trip(brake.value(8))
    assert not brake.wants_cut(8)
    assert not brake.trip(8)
    ban = brake.ban(8, cut=True)
    assert not is_trip(ban)
    assert not brake.trip(8)
    assert brake.value(8) == ban
    brake.close()


def test_an_aborted_release_is_named_until_its_abort_is_refused(tmp_path: Path) -> None:
    """Every process knows it, other releases and bans are not touched, and it can be taken back."""
    brake, other = Brake.open(tmp_path / "brake"), Brake.open(tmp_path / "brake")
    before = [brake.value(slot) for slot in range(FIRST_SLOT, LAST_SLOT + 1)]
    assert not other.ended("rel_1")
    brake.end("rel_1")
    assert other.ended("rel_1")
    assert not other.ended("rel_2")
    assert brake.hint == 0
    assert [brake.value(slot) for slot in range(FIRST_SLOT, LAST_SLOT + 1)] == before
    other.reopen("rel_2")
    assert brake.ended("rel_1")
    other.reopen("rel_1")
    assert not brake.ended("rel_1")
    brake.close()
    other.close()


def test_hint_only_rises(tmp_path: Path) -> None:
    """The hint is a rising number: a late writer with an older one changes nothing."""
    brake = Brake.open(tmp_path / "brake")
    brake.announce(7)
    brake.announce(5)
    assert brake.hint == 7
    brake.close()


@pytest.mark.parametrize("slot", [0, FIRST_SLOT - 1, LAST_SLOT + 1, -1])
def test_slots_outside_are_refused(tmp_path: Path, slot: int) -> None:
    """Only a version's slot can be banned: the hint cannot be overwritten by mistake."""
    brake = Brake.open(tmp_path / "brake")
    with pytest.raises(ValueError, match="brake slot"):
        brake.ban(slot)
    brake.close()
