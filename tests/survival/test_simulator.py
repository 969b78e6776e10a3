"""Seeds of bad luck, outside this process (CI lives 2,000 of them apart); and that one replays."""

import pytest

from tests.survival.outside import survival

SEEDS = 100


@pytest.mark.timeout(900)
def test_releases_survive_seeds_of_bad_luck() -> None:
    """Whatever a seed draws, no invariant breaks, and there is an end once calm comes."""
    done = survival("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"survival: {SEEDS} seeds, 0 wrong" in done.stdout


def test_a_seed_replays() -> None:
    """The same seed is the same story, to the last harm and the hundredth of a second."""
    first, again = survival("--seed", "9"), survival("--seed", "9")
    assert first.returncode == 0, first.stdout + first.stderr
    assert " kill " in first.stdout
    assert first.stdout == again.stdout
