"""A person approves on the evidence of a moment; what the judge sees after it is heard too."""

from typing import Any

import pytest

from grayscale.plane import document, people
from grayscale.plane.actor import Actor
from grayscale.plane.plane import Plane
from grayscale.release.decide import SetSplit, decide
from grayscale.release.phases import State
from grayscale.release.record import VerdictView
from tests.plane.watching import Watch, start

ASKS: dict[str, Any] = {
    "auto_promote": {"step_duration_seconds": 5.0},
    "approval": {"before_steps": [25]},
}
DAY_SECONDS = 86_400


async def asked(story: Any, watch: Watch) -> str:
    """A release whose first step went well, and whose plan asks before the second."""
    config_id = await start(story, **ASKS)
    for _ in range(8):
        await watch.second(config_id)
    await story.act("ask")
    return config_id


async def approve(story: Any) -> None:
    """Ann says yes."""
    async with story.plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.approve(story.plane, tx, release, actor=Actor("ann"), step=0, note="")


async def both_sick(watch: Watch, config_id: str) -> None:
    """The provider fails for some seconds."""
    for _ in range(6):
        await watch.second(config_id, errors=0.5, stable=0.5)


async def well_again(story: Any, watch: Watch, config_id: str) -> None:
    """The provider's failures are over, and forgotten two minutes later."""
    for _ in range(180):
        if (await story.record()).state is not State.HELD:
            return
        await watch.second(config_id)


async def test_an_approved_raise_is_held_while_both_are_sick(story: Any, watch: Watch) -> None:
    """Both versions fall sick between yes and raise: held; over, it goes on and nobody is asked."""
    config_id = await asked(story, watch)
    await approve(story)
    await both_sick(watch, config_id)
    await story.act("set_split", 1)
    held = await story.record()
    await well_again(story, watch, config_id)
    after = await story.record()
    assert (held.state, held.cause, held.weight_percent) == (State.HELD, "upstream", 10)
    assert held.current_step == 0
    assert after.state is State.AWAITING_APPROVAL
    assert decide(after) == SetSplit(1, "approved by ann")
    await story.act("set_split", 1)
    assert (await story.record()).weight_percent == 25


async def test_a_pause_of_such_a_hold_forgets_no_approval(
    story: Any, watch: Watch, plane: Plane
) -> None:
    """Paused and resumed, what was approved is still to be done."""
    config_id = await asked(story, watch)
    await approve(story)
    await both_sick(watch, config_id)
    await story.act("set_split", 1)
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.pause(plane, tx, release, actor=Actor("ann"), at_stable=False, note="")
    await story.resume()
    assert decide(await story.record()) == SetSplit(1, "approved by ann")


async def test_who_approves_during_the_hold_has_seen_it(story: Any, watch: Watch) -> None:
    """Asked after a day whether to go on nevertheless, a person's yes is not held up again."""
    config_id = await start(story)
    await both_sick(watch, config_id)
    assert (await story.record()).cause == "upstream"
    watch.clock.advance(DAY_SECONDS)
    await watch.second(config_id, errors=0.5, stable=0.5)
    await approve(story)
    await story.act("set_split", 1)
    assert (await story.record()).weight_percent == 25


async def test_a_held_release_is_not_raised(story: Any, watch: Watch, refused: Any) -> None:
    """An approval opens its gate, and not a hold or a pause that came after it."""
    config_id = await asked(story, watch)
    await approve(story)
    await both_sick(watch, config_id)
    await story.act("set_split", 1)
    with refused("release_changed"):
        await story.act("set_split", 1)


@pytest.mark.parametrize("verb", ["set_split", "bake", "promote"])
async def test_evidence_of_harm_beats_an_approval(story: Any, plane: Plane, verb: str) -> None:
    """A verdict that the guard has not acted on yet is acted on by whoever would raise."""
    once = {"promotion_steps": [100] if verb != "set_split" else [10, 100]}
    await story.create(story.plan(auto_promote=once))
    await story.claim()
    await story.act("create_version")
    await story.act("set_split", 0)
    await story.change(watched_seconds=1e6, verdict={"outcome": "healthy"})
    if verb == "promote":
        await story.act("bake")
    await story.act("ask")
    await approve(story)
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        release.verdict = VerdictView(outcome="harmful", cause="candidate", sentence="It fails.")
        await document.save(tx, release, now=plane.clock.now())
    await story.act(verb, 1)
    record = await story.record()
    assert (record.state, record.cause) == (State.ROLLING_BACK, "candidate")
    assert (record.weight_percent, record.reason) == (0, "It fails.")
