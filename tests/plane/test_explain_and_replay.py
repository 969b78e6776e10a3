"""What is on record of a release suffices to tell its story, and to judge it once more."""

import json
from typing import Any

import pytest
from sqlalchemy import update

from grayscale.judge.recorded import interval_from, interval_json
from grayscale.plane import document, events, intervals, people
from grayscale.plane.actor import Actor
from grayscale.plane.plane import Plane
from grayscale.release.phases import State
from grayscale.store import schema
from grayscale.story import History, explain, history_of, replay
from tests.plane.watching import Watch, start

LONG = {"auto_promote": {"step_duration_seconds": 600.0}}


async def history(story: Any, plane: Plane) -> History:
    """The release's history as a client gets it: everything through JSON once."""
    record = await story.record()
    async with plane.read() as tx:
        log = [event for _, event in await events.listed(tx, release_id=record.id, limit=1000)]
        looks = await intervals.listed(tx, record.id, limit=1000)
    return history_of(record, *json.loads(json.dumps([log, looks])))


async def a_bad_release(story: Any, watch: Watch) -> None:
    """Well for eight seconds, then one request in eight fails, until the guard acts."""
    config_id = await start(story, **LONG)
    for second in range(60):
        await watch.second(config_id, errors=0.0 if second < 8 else 0.12, stable=0.005)
        if (await story.record()).state is State.ROLLED_BACK:
            return


async def test_the_same_plan_gives_the_same_verdicts(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """Judged again from what is on record, every verdict is the recorded one, number by number."""
    await a_bad_release(story, watch)
    past = await history(story, plane)
    again = replay(past)
    assert len(past.looks) > 8
    assert past.looks[-1].harmful
    assert again.identical
    assert (again.differences, again.steps[0].would_be) == ((), "harmful")
    assert again.harm == again.recorded_harm
    assert "in the same interval" in again.conclusion


@pytest.mark.parametrize("foreign", [{"format": 0}, {"gates": [], "totals": [1, 2]}])
async def test_a_state_of_another_build_is_made_anew(
    story: Any, watch: Watch, plane: Plane, foreign: dict[str, Any]
) -> None:
    """A relay that is updated in mid-release goes on as if it had judged from the beginning."""
    config_id = await start(story, **LONG)
    for second in range(40):
        await watch.second(config_id, errors=0.02 if second < 20 else 0.12, stable=0.005)
        if second == 10:
            async with plane.write() as tx:
                await tx.run(update(schema.judging).values(state={"judge": foreign}))
    past = await history(story, plane)
    assert len(past.looks) > 12
    assert past.looks[-1].harmful
    assert replay(past).identical


async def test_a_forged_interval_is_found_out(story: Any, watch: Watch, plane: Plane) -> None:
    """One failure less in one interval, and the verdicts are not the recorded ones any more."""
    await a_bad_release(story, watch)
    record = await story.record()
    async with plane.read() as tx:
        looks = await intervals.listed(tx, record.id, limit=1000)
    failing = next(look for look in looks if look["interval"]["candidate"]["errors"])
    failing["interval"]["candidate"]["errors"] -= 1
    assert not replay(history_of(record, [], looks)).identical


async def test_a_bolder_plan_rolls_back_earlier(story: Any, watch: Watch, plane: Plane) -> None:
    """The replay says when another plan would have acted, how much earlier, and by which gate."""
    await a_bad_release(story, watch)
    past = await history(story, plane)
    bold = replay(past, story.plan(judge={"alpha": 0.5}))
    assert bold.harm is not None
    assert bold.recorded_harm is not None
    assert bold.harm.interval < bold.recorded_harm.interval
    earlier = bold.recorded_harm.interval - bold.harm.interval
    assert f", {earlier} s earlier, at 10 %, by gate " in bold.conclusion
    assert "recorded: rolled back at" in bold.conclusion
    last = bold.differences[-1]
    assert (last.first, last.last) == (bold.harm.interval, bold.recorded_harm.interval - 1)
    assert (last.would_be, last.recorded.split()[0]) == ("harmful", "inconclusive")


async def test_a_lax_plan_would_have_gone_on(story: Any, watch: Watch, plane: Plane) -> None:
    """Where another plan would not have acted, that is said, and what its step ended with."""
    await a_bad_release(story, watch)
    lax = story.plan(
        judge={"alpha": 1e-12},
        health_check={"error_threshold_percent": 90.0, "latency_threshold_ms": 600_000.0},
    )
    again = replay(await history(story, plane), lax)
    assert again.harm is None
    assert again.conclusion.startswith("This plan would not have rolled back; recorded: rolled")
    assert again.steps[0].recorded == "harmful"
    assert again.steps[0].would_be != "harmful"


async def test_what_another_plans_rules_would_have_done(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """A rule that alerts is told with the interval that breaks it."""
    await a_bad_release(story, watch)
    rule = {"name": "codes", "condition": "error_code IN [500]", "action": "alert"}
    again = replay(await history(story, plane), story.plan(rollback_rules=[rule]))
    assert [turn.what for turn in again.rules] == ["rule codes (alert)"]


async def test_a_plan_that_judges_nothing(story: Any, watch: Watch, plane: Plane) -> None:
    """With the health check off there is nothing to replay, and no end is invented."""
    await a_bad_release(story, watch)
    past = await history(story, plane)
    off = replay(past, story.plan(health_check={"enabled": False}))
    assert "judges nothing" in off.conclusion
    nothing = replay(History(past.record, (), ()))
    assert nothing.conclusion.startswith("Nothing was judged yet")


async def test_the_story_of_a_rollback(story: Any, watch: Watch, plane: Plane) -> None:
    """First how it ended and why, then the gate and how its evidence grew, then the rest."""
    await a_bad_release(story, watch)
    told = explain(await history(story, plane))
    assert told.headline.startswith("v2 was rolled back at 2026-")
    assert "candidate requests failed" in told.why
    assert told.advice == f"The same plan once more: grayscale retry {story.release_id}"
    assert told.evidence is not None
    assert told.evidence.gate.startswith("error")
    assert told.evidence.crossed == told.evidence.points[-1].interval
    assert told.evidence.points[-1].e_value >= told.evidence.needed == 20
    assert [step.state for step in told.steps] == ["ended"]
    sentences = [moment.sentence for moment in told.timeline]
    assert sentences[0].startswith("ann created the release: 10 % → 25 %")
    assert sentences[1].startswith("takes 10 %")
    assert sentences[-2] == "guard took the traffic back."
    assert sentences[-1] == "every worker serves stable alone."


async def test_the_story_of_a_soak_that_was_stopped(story: Any, watch: Watch, plane: Plane) -> None:
    """What stopped the clock is told with its time, and who decided what with the words used."""
    config_id = await start(story, **LONG)
    for lagging in (False, False, False, True, True, True, False):
        await watch.second(config_id, lagging=lagging)
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        actor = Actor("bob", via="prefect-form", verified=False)
        await people.pause(plane, tx, release, actor=actor, at_stable=False, note="lunch")
    await watch.second(config_id)
    told = explain(await history(story, plane))
    (step,) = told.steps
    assert told.headline.startswith("v2 is paused at 10 %")
    assert told.why == "paused by bob: lunch"
    assert [(stop.what, stop.seconds) for stop in step.stops] == [("split", 3), ("paused", 1)]
    assert "The clock stood still: the split was not verified 3 s, paused 1 s." in step.sentence
    assert step.candidate_requests * 10 == step.candidate_requests + step.stable_requests
    assert [moment.sentence for moment in told.decisions] == [
        "bob (name not verified) paused it at 10 %: lunch."
    ]


async def test_intervals_are_recorded_whole(story: Any, watch: Watch, plane: Plane) -> None:
    """An interval read back is the interval that was judged, to the last bucket."""
    config_id = await start(story, **LONG)
    for _ in range(3):
        await watch.second(config_id, bucket=120)
    looks = (await history(story, plane)).looks
    for look in looks:
        assert interval_from(json.loads(json.dumps(interval_json(look.interval)))) == look.interval
    assert sum(sum(look.interval.candidate.latency_counts) for look in looks) == 3 * 20


async def test_a_stricter_plan_against_what_ended_otherwise(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """Where no judge ended the release, the replay says what did, and names no time between."""
    config_id = await start(story, **LONG, health_check={"enabled": False})
    for _ in range(8):
        await watch.second(config_id, errors=0.3)
    soaking = replay(await history(story, plane), story.plan())
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.abort(plane, tx, release, actor=Actor("ann"), note="enough")
    for _ in range(2):
        await watch.second(None)
    aborted = replay(await history(story, plane), story.plan())
    for again, ended in ((soaking, "soaking"), (aborted, "rolled back (aborted)")):
        assert again.harm is not None
        assert again.conclusion.startswith("This plan would have rolled back at 00:00:")
        assert again.conclusion.endswith(f", at 10 %, by {again.harm.what}; recorded: {ended}.")
        assert "earlier" not in again.conclusion
