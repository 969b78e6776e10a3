"""Callers who get in each other's way: one outcome, and each is told which and why."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from grayscale.errors import Refused
from grayscale.plane import (
    conduct,
    configs,
    document,
    events,
    people,
    quarantine,
    releases,
    rollbacks,
    splits,
    takeaway,
    turns,
    versions,
)
from grayscale.plane.actor import GUARD, RELAY, Actor
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.release.phases import State
from grayscale.store.database import Tx

ANN, BOB = Actor("ann"), Actor("bob")
Deed = Callable[[Tx, Document], Awaitable[Any]]
ASKS = {"approval": {"before_steps": [25]}, "auto_promote": {"promotion_steps": [10, 25, 100]}}
OTHER = {"models": {"gpt-4.1": {"model": "gpt-4.1-2027"}}}


async def says(plane: Plane, release_id: str, deed: Deed) -> Refused | None:
    """One caller's transaction; None if it was carried out, else the refusal."""
    try:
        async with plane.write() as tx:
            await deed(tx, await document.load(tx, release_id))
    except Refused as refused:
        return refused
    return None


async def at_once(plane: Plane, release_id: str, *deeds: Deed) -> list[Refused | None]:
    """Several callers in the same instant, each in a transaction of its own."""
    return list(await asyncio.gather(*(says(plane, release_id, deed) for deed in deeds)))


async def create(plane: Plane, plan: Any, actor: Actor, trigger: str = "person") -> Document:
    async with plane.write() as tx:
        return await releases.create(plane, tx, plan, actor=actor, trigger=trigger)


async def state_of(plane: Plane, release_id: str) -> Document:
    async with plane.read() as tx:
        return await document.load(tx, release_id)


async def end(plane: Plane, release_id: str) -> None:
    """Bring a rollback to its end, as the leader does."""
    async with plane.write() as tx:
        release = await document.load(tx, release_id)
        release.move(release.ending or State.ROLLED_BACK, reason=release.reason)
        await document.save(tx, release, now=plane.clock.now())


def approve(plane: Plane, actor: Actor, step: int | None = 0) -> Deed:
    return lambda tx, release: people.approve(plane, tx, release, actor=actor, step=step, note="")


def reject(plane: Plane, actor: Actor) -> Deed:
    return lambda tx, release: people.reject(plane, tx, release, actor=actor, step=0, note="no")


def abort(plane: Plane, actor: Actor) -> Deed:
    return lambda tx, release: people.abort(plane, tx, release, actor=actor, note="odd")


def resume(plane: Plane, actor: Actor) -> Deed:
    return lambda tx, release: people.resume(plane, tx, release, actor=actor, note="")


def guard(plane: Plane) -> Deed:
    return lambda tx, release: takeaway.roll_back(
        plane, tx, release, actor=GUARD, reason="7 % failed", cause="candidate"
    )


@pytest.fixture
async def asking(story: Any) -> str:
    """A release whose first step has soaked, and that asks a person before the second."""
    await story.create(story.plan(**ASKS))
    await story.claim()
    await story.act("create_version")
    await story.act("set_split", 0)
    await story.change(watched_seconds=1e6, verdict={"outcome": "healthy", "sentence": "fine"})
    await story.act("ask")
    return str(story.release_id)


async def test_two_approvers_at_once(plane: Plane, asking: str) -> None:
    """One approval counts; the other is told who was first, and when."""
    ends = await at_once(plane, asking, approve(plane, ANN), approve(plane, BOB))
    release = await state_of(plane, asking)
    (late,) = [refused for refused in ends if refused is not None]
    assert release.gate is not None
    assert release.gate.state == "approved"
    assert (late.status, late.code) == (409, "step_moved_on")
    assert f"approved by {release.gate.decided_by} at {release.gate.decided_at}" in late.message
    assert {"ann", "bob"} == {release.gate.decided_by} | (
        {"ann"} if ends[0] is not None else {"bob"}
    )


async def test_an_approval_and_a_rejection_at_once(plane: Plane, asking: str) -> None:
    """Whichever is second is told what the first decided."""
    ends = await at_once(plane, asking, approve(plane, ANN), reject(plane, BOB))
    release = await state_of(plane, asking)
    (late,) = [refused for refused in ends if refused is not None]
    approved = ends[0] is None
    assert release.state is (State.AWAITING_APPROVAL if approved else State.ROLLING_BACK)
    assert late.code == "step_moved_on"
    assert ("approved by ann" if approved else "rejected by bob") in late.message


async def test_an_approval_and_an_abort_at_once_end_without_the_candidate(
    plane: Plane, asking: str, story: Any
) -> None:
    """The abort is never refused, and nothing that was approved is carried out after it."""
    ends = await at_once(plane, asking, approve(plane, ANN), abort(plane, BOB))
    release = await state_of(plane, asking)
    assert ends[1] is None
    assert (release.state, release.cause) == (State.ROLLING_BACK, "aborted")
    late = await says(plane, asking, approve(plane, ANN))
    assert late is not None
    assert late.code == "step_moved_on"
    assert "rolling_back" in late.message
    assert "aborted by bob: odd" in late.message
    with pytest.raises(Refused, match="rolling_back"):
        await story.act("set_split", 1)
    assert (await story.record()).weight_percent == 0


async def test_an_approval_of_a_step_that_is_past(plane: Plane, asking: str, story: Any) -> None:
    """The step moved on: told what is going on instead, and who had decided."""
    assert await says(plane, asking, approve(plane, ANN)) is None
    await story.act("set_split", 1)
    late = await says(plane, asking, approve(plane, BOB))
    wrong = await says(plane, asking, reject(plane, BOB))
    assert late is not None
    assert wrong is not None
    assert late.code == wrong.code == "step_moved_on"
    assert "is soaking at step 1" in late.message
    assert "approved by ann" in late.message
    assert late.extra["state"] == "soaking"
    assert (await state_of(plane, asking)).state is State.SOAKING


async def test_a_look_at_another_step_decides_nothing(plane: Plane, asking: str) -> None:
    """Who looked at an older page cannot decide what the gate asks now."""
    wrong = await says(plane, asking, approve(plane, ANN, step=3))
    assert wrong is not None
    assert (wrong.code, wrong.param) == ("step_moved_on", "step")
    gate = (await state_of(plane, asking)).gate
    assert gate is not None
    assert gate.state == "waiting"


async def test_an_approval_after_the_evidence_has_turned_bad(
    plane: Plane, asking: str, story: Any
) -> None:
    """The guard was first: the approver is told so, with its numbers."""
    assert await says(plane, asking, guard(plane)) is None
    late = await says(plane, asking, approve(plane, ANN))
    assert late is not None
    assert late.code == "step_moved_on"
    assert "by guard" in late.message
    assert "7 % failed" in late.message
    assert (await story.record()).weight_percent == 0


async def test_an_approval_is_void_once_the_evidence_turns_bad(
    plane: Plane, asking: str, story: Any
) -> None:
    """Approved, and then harmful before the conductor acted: nothing is raised."""
    assert await says(plane, asking, approve(plane, ANN)) is None
    await at_once(plane, asking, guard(plane), guard(plane))
    with pytest.raises(Refused, match="rolling_back"):
        await story.act("set_split", 1)
    record = await story.record()
    assert (record.state, record.cause, record.weight_percent) == (
        State.ROLLING_BACK, "candidate", 0,
    )  # fmt: skip


async def test_an_approval_after_its_deadline(plane: Plane, asking: str) -> None:
    """Too late is told with the time that it was due."""
    release = await state_of(plane, asking)
    await plane.clock.sleep(release.plan.approval.timeout_minutes * 60 + 1)
    late = await says(plane, asking, approve(plane, ANN))
    assert late is not None
    assert late.code == "step_moved_on"
    assert release.gate is not None
    assert f"deadline for this decision was {release.gate.deadline}" in late.message


async def test_promote_during_a_rollback(plane: Plane, story: Any) -> None:
    """What is rolling back cannot be promoted; the reason is that of the rollback."""
    await story.begin()
    await says(plane, story.release_id, guard(plane))
    late = await says(
        plane,
        story.release_id,
        lambda tx, release: people.promote(plane, tx, release, actor=ANN, full=True, note=""),
    )
    assert late is not None
    assert late.code == "release_changed"
    assert "rolling_back" in late.message
    assert "7 % failed" in late.message
    assert not (await state_of(plane, story.release_id)).promote_full


async def test_resume_twice_at_once(plane: Plane, story: Any) -> None:
    """One resume counts; the other is told that it was resumed, and by whom."""
    await story.begin()
    await says(
        plane,
        story.release_id,
        lambda tx, release: people.pause(plane, tx, release, actor=ANN, at_stable=False, note=""),
    )
    ends = await at_once(plane, story.release_id, resume(plane, ANN), resume(plane, BOB))
    (late,) = [refused for refused in ends if refused is not None]
    first = "ann" if ends[0] is None else "bob"
    assert late.code == "release_changed"
    assert f"resumed by {first}" in late.message
    assert (await state_of(plane, story.release_id)).state is State.SOAKING


async def test_a_pause_at_stable_on_a_paused_release_takes_the_weight(
    plane: Plane, story: Any
) -> None:
    """Taking away is never too late."""
    await story.begin()
    for at_stable in (False, True):
        await says(
            plane,
            story.release_id,
            lambda tx, release, at_stable=at_stable: people.pause(  # type: ignore[misc]
                plane, tx, release, actor=ANN, at_stable=at_stable, note=""
            ),
        )
    record = await story.record()
    assert (record.state, record.weight_percent) == (State.PAUSED, 0)


async def test_nothing_is_resumed_while_a_gradual_rollback_lowers_it(
    plane: Plane, story: Any
) -> None:
    """The weight that falls is not given back; who lowers it is told."""
    await story.begin()
    wanted = rollbacks.Wanted(gradual=rollbacks.Gradual(1, 60), reason="careful")
    async with plane.write() as tx:
        await rollbacks.roll_back(plane, tx, wanted, actor=BOB)
    late = await says(plane, story.release_id, resume(plane, ANN))
    assert late is not None
    assert "gradual rollback by bob" in late.message
    assert (await state_of(plane, story.release_id)).state is State.PAUSED


@pytest.mark.parametrize("how", ["queue", "reject", "supersede"])
async def test_two_releases_at_the_same_instant(plane: Plane, story: Any, how: str) -> None:
    """Both are put on record, or the second is refused, or it takes the first one's place."""
    plans = [story.plan(version_name=name, on_conflict=how) for name in ("v2", "v3")]
    made = await asyncio.gather(
        *(create(plane, plan, actor) for plan, actor in zip(plans, (ANN, BOB), strict=True)),
        return_exceptions=True,
    )
    async with plane.read() as tx:
        found = await document.in_states(tx, frozenset(State))
    first, second = found[0], found[1] if len(found) > 1 else None
    by = first.created_by["name"]
    if how == "reject":
        (refused,) = [one for one in made if isinstance(one, Refused)]
        assert second is None
        assert (refused.status, refused.code) == (409, "release_in_progress")
        assert f"{first.id} of {first.version}, begun by {by} at {first.created_at}" in str(refused)
        assert refused.extra["release_id"] == first.id
        return
    assert second is not None
    assert second.state is State.QUEUED
    if how == "supersede":
        assert first.state is State.SUPERSEDED
        assert first.reason is not None
        assert second.created_by["name"] in first.reason
        return
    assert first.state is State.QUEUED
    assert second.reason is not None
    assert first.id in second.reason


async def test_two_claims_at_once_are_one_turn(
    plane: Plane, story: Any, refused: Callable[[str], Any]
) -> None:
    """The older release begins, whoever asks first; the other waits and is told for whom."""
    first = await create(plane, story.plan(version_name="v2"), ANN)
    second = await create(plane, story.plan(version_name="v3"), BOB)

    def claim(run: str) -> Deed:
        return lambda tx, release: conduct.claim(plane, tx, release, flow_run_id=run)

    early = await says(plane, second.id, claim("run-b"))
    ends = await asyncio.gather(
        says(plane, second.id, claim("run-b")), says(plane, first.id, claim("run-a"))
    )
    assert early is not None
    assert ends[0] is not None
    assert ends[1] is None
    assert early.code == ends[0].code == "release_in_progress"
    assert f"{first.id} of v2, begun by ann" in ends[0].message
    async with plane.read() as tx:
        assert len(await document.in_states(tx, frozenset({State.PREPARING}))) == 1
    with refused("release_in_progress"):
        await create(plane, story.plan(version_name="v2"), BOB)


async def test_a_release_that_was_superseded_says_by_whom(plane: Plane, story: Any) -> None:
    """The running one loses its traffic at once, those in the queue their place."""
    await story.begin()
    waiting = await create(plane, story.plan(version_name="v3"), ANN)
    newest = await create(plane, story.plan(version_name="v4", on_conflict="supersede"), BOB)
    running = await story.record()
    assert (running.state, running.weight_percent) == (State.ROLLING_BACK, 0)
    assert running.reason == "superseded by a newer release of v4, begun by bob"
    assert (await state_of(plane, waiting.id)).state is State.SUPERSEDED
    async with plane.read() as tx:
        assert not await versions.is_quarantined(tx, (await candidate(tx, "v2")).config_hash)
        assert await turns.barred_until(plane, tx, replace_trigger(newest)) is None


async def candidate(tx: Tx, name: str) -> versions.StoredVersion:
    version = await versions.find(tx, name)
    assert version is not None
    return version


def replace_trigger(release: Document) -> Document:
    """The same release, begun by a schedule."""
    return release.model_copy(update={"trigger": "schedule"})


async def test_a_nightly_release_waits_for_a_persons(plane: Plane, story: Any) -> None:
    """It is queued with the reason, and resolves its base when its turn has come."""
    await story.begin()
    nightly = await create(
        plane, story.plan(version_name="v3", config_overrides=OTHER), Actor("nightly"), "schedule"
    )
    story_id = story.release_id
    async with plane.write() as tx:
        release = await document.load(tx, story_id)
        release.promote_full = True
        await document.save(tx, release, now=plane.clock.now())
    for step in (1, 2, 3):
        await story.act("set_split", step)
    await story.act("bake")
    await story.act("promote")
    async with plane.write() as tx:
        waiting = await document.load(tx, nightly.id)
        await conduct.claim(plane, tx, waiting, flow_run_id="night")
    begun = await state_of(plane, nightly.id)
    assert nightly.reason == f"queued behind release {story_id} of v2, which is soaking"
    assert (begun.state, begun.base_version) == (State.PREPARING, "v2")


async def test_a_second_release_of_the_new_stable_has_nothing_to_do(
    plane: Plane, story: Any
) -> None:
    """What became stable while a release waited ends it, before anything is touched."""
    waiting = await create(plane, story.plan(version_name="v9"), BOB)
    async with plane.write() as tx:
        config = await configs.current(tx)
        base = await versions.resolve(tx, config, "stable")
        await versions.create(
            tx, name="v9", base=base, overrides=waiting.plan.config_overrides,
            upstreams=plane.upstreams, now=plane.clock.now(), actor=ANN,
        )  # fmt: skip
        await configs.put(
            tx, replace(config, aliases={"stable": "v9"}, weights={"v9": 100.0}),
            now=plane.clock.now(), actor=ANN, reason="by hand",
        )  # fmt: skip
    story.release_id = waiting.id
    await story.claim()
    await story.act("create_version")
    record = await story.record()
    async with plane.read() as tx:
        config = await configs.current(tx)
    assert record.state is State.ROLLING_BACK
    assert record.reason == "v9 became stable while this release waited"
    assert config.weights == {"v9": 100.0}
    await end(plane, waiting.id)
    assert (await story.record()).state is State.SUPERSEDED


async def test_a_base_that_is_taken_away_takes_its_release_along(plane: Plane, story: Any) -> None:
    """A promotion that is undone ends the release that stands on it: its evidence is void."""
    await story.begin()
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        release.promote_full = True
        await document.save(tx, release, now=plane.clock.now())
    for step in (1, 2, 3):
        await story.act("set_split", step)
    await story.act("bake")
    await story.act("promote")
    promoted = story.release_id
    await story.create(story.plan(version_name="v3", config_overrides=OTHER))
    await story.claim()
    await story.act("create_version")
    await story.act("set_split", 0)
    assert await says(plane, promoted, abort(plane, BOB)) is None
    record = await story.record()
    async with plane.read() as tx:
        config = await configs.current(tx)
    assert (config.stable, config.weights) == ("v1", {"v1": 100.0})
    assert (record.state, record.weight_percent) == (State.ROLLING_BACK, 0)
    assert "its base v2 was taken out of traffic" in str(record.reason)
    undone = await state_of(plane, promoted)
    assert (undone.state, undone.cause) == (State.PROMOTED, "aborted")
    assert str(undone.reason).startswith("promoted, and taken back: aborted by bob")


async def test_a_quarantined_configuration_is_refused_under_another_name(
    plane: Plane, story: Any
) -> None:
    """The reason, who barred it and how to lift it are told; lifted, it may be released."""
    await story.begin()
    await says(plane, story.release_id, guard(plane))
    await end(plane, story.release_id)
    same = story.plan(version_name="v3")
    with pytest.raises(Refused) as caught:
        await create(plane, same, ANN)
    async with plane.write() as tx:
        made, _ = await versions.create(
            tx, name="v4", base=await candidate(tx, "v2"), overrides={},
            upstreams=plane.upstreams, now=plane.clock.now(), actor=ANN,
        )  # fmt: skip
        with pytest.raises(Refused, match="quarantined as 'v2'"):
            await splits.set_by_hand(plane, tx, {"stable": 90, "v4": 10}, actor=ANN, reason="try")
    assert caught.value.code == "config_not_allowed"
    for told in ("as 'v2'", "by guard: 7 % failed", "grayscale versions lift v3"):
        assert told in caught.value.message
    assert made.quarantined
    async with plane.write() as tx:
        await quarantine.lift(plane, tx, "v2", actor=ANN, reason="was the provider")
        assert not (await candidate(tx, "v4")).quarantined
    assert (await create(plane, same, ANN)).state is State.QUEUED


async def test_a_configuration_barred_while_its_release_waited_does_not_begin(
    plane: Plane, story: Any, refused: Callable[[str], Any]
) -> None:
    """What was fine when it was queued is looked at again when it begins."""
    waiting = await create(plane, story.plan(version_name="v3"), ANN)
    async with plane.write() as tx:
        base = await candidate(tx, "v1")
        await versions.create(
            tx, name="v2", base=base, overrides=waiting.plan.config_overrides,
            upstreams=plane.upstreams, now=plane.clock.now(), actor=ANN,
        )  # fmt: skip
        await quarantine.bar(plane, tx, "v2", actor=BOB, reason="leaks")
    story.release_id = waiting.id
    await story.claim()
    with refused("config_not_allowed"):
        await story.act("create_version")


async def test_stables_configuration_is_never_quarantined(plane: Plane, story: Any) -> None:
    """A candidate that changes nothing may be rolled back, but bars nobody from stable's own."""
    await story.create(story.plan(config_overrides={}, version_name="v2"))
    await story.claim()
    await story.act("create_version")
    await story.act("set_split", 0)
    await says(plane, story.release_id, guard(plane))
    async with plane.read() as tx:
        one, two = await candidate(tx, "v1"), await candidate(tx, "v2")
    assert one.config_hash == two.config_hash
    assert not one.quarantined
    assert not two.quarantined


async def test_only_harm_bars_a_configuration(plane: Plane, story: Any) -> None:
    """A person's abort takes the traffic away and leaves the configuration free."""
    await story.begin()
    await says(plane, story.release_id, abort(plane, ANN))
    async with plane.read() as tx:
        assert not (await candidate(tx, "v2")).quarantined


async def test_a_persons_word_bars_a_candidate_in_traffic(plane: Plane, story: Any) -> None:
    """Its release ends at once, and the reason names the person."""
    await story.begin()
    async with plane.write() as tx:
        await quarantine.bar(plane, tx, "v2", actor=BOB, reason="leaks")
        assert (await candidate(tx, "v2")).quarantined
    record = await story.record()
    assert (record.state, record.weight_percent) == (State.ROLLING_BACK, 0)
    assert record.reason == "'v2' quarantined by bob: leaks"


async def test_a_cooldown_bars_machines_and_never_people(plane: Plane, story: Any) -> None:
    """After a rollback a scheduled release waits, told until when; a person's passes it."""
    await story.begin()
    await says(plane, story.release_id, guard(plane))
    await end(plane, story.release_id)
    nightly = await create(
        plane, story.plan(version_name="v3", config_overrides=OTHER), Actor("nightly"), "schedule"
    )
    story.release_id = nightly.id
    with pytest.raises(Refused, match="the cooldown lasts until"):
        await story.claim()
    own = await create(plane, story.plan(version_name="v4", config_overrides=OTHER), ANN)
    story.release_id = own.id
    await story.claim()
    assert (await story.record()).state is State.PREPARING
    await says(plane, own.id, abort(plane, ANN))
    await end(plane, own.id)
    await plane.clock.sleep(nightly.plan.rollback_cooldown_seconds + 1)
    story.release_id = nightly.id
    await story.claim()
    assert (await story.record()).state is State.PREPARING


async def test_the_hourly_limit_counts_harm_alone(plane: Plane, story: Any) -> None:
    """Rollbacks that made room, or that a gate refused, are no harm; those of the guard are."""
    nightly = replace_trigger(await create(plane, story.plan(max_rollbacks_per_hour=2), ANN))

    async def rolled_back(cause: str) -> None:
        async with plane.write() as tx:
            await events.append(
                tx, event_type="release.rolling_back", now=plane.clock.now(), actor=RELAY,
                data={"cause": cause, "version": "v0", "reason": "because"},
            )  # fmt: skip
        await plane.clock.sleep(600)

    async def barred() -> str | None:
        async with plane.read() as tx:
            return await turns.barred_until(plane, tx, nightly)

    for cause in ("superseded", "rejected", "superseded", "candidate"):
        await rolled_back(cause)
    assert await barred() is None
    await rolled_back("aborted")
    assert "2 rollbacks in an hour, the plan allows 2; until " in str(await barred())
    await plane.clock.sleep(timedelta(hours=1).total_seconds() - 1200)
    assert await barred() is None


async def test_a_raise_that_nobody_asked_for_waits_out_the_cooldown(
    plane: Plane, story: Any
) -> None:
    """Taking away stays possible; a person's release, and a person's approval, pass."""
    await story.begin()
    await story.change(watched_seconds=1e6, verdict={"outcome": "healthy", "sentence": "fine"})
    async with plane.write() as tx:
        release = replace_trigger(await document.load(tx, story.release_id))
        await document.save(tx, release, now=plane.clock.now())
        await events.append(
            tx, event_type="release.rolling_back", now=plane.clock.now(), actor=RELAY,
            data={"cause": "candidate", "version": "v0", "reason": "because"},
        )  # fmt: skip
    with pytest.raises(Refused, match="the cooldown lasts until"):
        await story.act("set_split", 1)
    await plane.clock.sleep(301)
    await story.act("set_split", 1)
    assert (await story.record()).weight_percent == 25


async def test_an_abort_of_a_queued_release_touches_no_traffic(plane: Plane, story: Any) -> None:
    """Who takes back what has not begun leaves the running one alone."""
    await story.begin()
    waiting = await create(plane, story.plan(version_name="v3"), BOB)
    assert await says(plane, waiting.id, abort(plane, BOB)) is None
    assert (await state_of(plane, waiting.id)).state is State.ROLLED_BACK
    assert (await story.record()).weight_percent == 10
