"""What the plan's rules do when they are broken, and what people are asked without evidence."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from grayscale.judge import Outcome, Verdict
from grayscale.judge.values import Cause
from grayscale.plane import configs, document, events, people, versions
from grayscale.plane.actor import Actor
from grayscale.plane.plane import Plane
from grayscale.relay.leader.rules import act_on_broken_rules
from grayscale.release.phases import State
from grayscale.settings import settings_from
from grayscale.store import schema
from tests.plane.conftest import SETTINGS
from tests.plane.watching import Watch, start

NOTICES = {
    "webhook": {"url": "http://127.0.0.1:9/hook", "secret": "whsec_" + "A" * 32},
    "email": {"smtp": "smtp://127.0.0.1:9", "from": "g@example.org", "to": ["a@example.org"]},
}
ONLY_MAIL = {"enabled": True, "channels": ["email"]}


def rule(action: str, **changes: Any) -> dict[str, Any]:
    """A rule on the error rate."""
    return {"name": "hot", "condition": "error_rate > 1", "action": action, **changes}


def broken(*names: str) -> Verdict:
    """An inconclusive verdict whose evidence lists these rules as broken."""
    arms = {"candidate": {"bad": 9, "all": 90}, "stable": {"bad": 1, "all": 810}}
    gates = {f"rule {name}": {"total": arms} for name in names}
    evidence = {"rules_broken": list(names), "gates": gates}
    return Verdict(Outcome.INCONCLUSIVE, Cause.NOT_ENOUGH_DATA, "unsure", evidence)


@pytest.fixture
def plane_that_tells(plane: Plane, story: Any) -> Plane:
    """With a webhook and a mailbox."""
    settings = settings_from({**SETTINGS, "notifications": NOTICES}, source="test")
    story.plane = replace(plane, settings=settings)
    return replace(plane, settings=settings)


async def act(plane: Plane, story: Any, verdict: Verdict) -> None:
    """One look at the rules."""
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await act_on_broken_rules(plane, tx, release, verdict)


async def told(plane: Plane) -> list[tuple[str, str]]:
    """Every notice: type of event and channel."""
    statement = (
        select(schema.events.c.type, schema.outbox.c.channel)
        .join(schema.outbox, schema.outbox.c.event_id == schema.events.c.id)
        .order_by(schema.outbox.c.seq)
    )
    async with plane.read() as tx:
        return [(row["type"], row["channel"]) for row in await tx.all(statement)]


async def test_an_alert_tells_once_and_keeps_the_traffic(
    story: Any, plane_that_tells: Plane
) -> None:
    """However often the judge finds the rule broken, there is one event, to the rule's channels."""
    plane = plane_that_tells
    await start(story, rollback_rules=[rule("alert", notification=ONLY_MAIL)])
    before = await told(plane)
    for _ in range(3):
        await act(plane, story, broken("hot"))
    record = await story.record()
    async with plane.read() as tx:
        log = [event for _, event in await events.listed(tx, release_id=record.id)]
    (event,) = [event for event in log if event["type"] == "release.rule_broken"]
    assert (await told(plane))[len(before) :] == [("release.rule_broken", "email")]
    assert (record.state, record.weight_percent) == (State.SOAKING, 10)
    assert (event["data"]["rule"], event["data"]["action"]) == ("hot", "alert")
    assert event["data"]["reason"] == (
        "rule hot (error_rate > 1) is broken: 9 of 90 candidate requests beyond it, 1 of 810 on "
        "stable"
    )


async def test_a_pause_keeps_the_weight_and_asks(story: Any, plane_that_tells: Plane) -> None:
    """The release waits for a person at its weight; resumed, the same rule does not stop it again."""
    plane = plane_that_tells
    await start(story, rollback_rules=[rule("pause", notification=ONLY_MAIL)])
    before = await told(plane)
    await act(plane, story, broken("hot"))
    paused = await story.record()
    await story.resume()
    await act(plane, story, broken("hot"))
    assert (paused.state, paused.weight_percent) == (State.PAUSED, 10)
    assert paused.reason.startswith("paused by guard: rule hot (error_rate > 1) is broken")
    assert (await told(plane))[len(before)] == ("release.paused", "email")
    assert (await story.record()).state is State.SOAKING


async def test_a_rule_that_tells_nobody_is_still_on_record(
    story: Any, plane_that_tells: Plane
) -> None:
    """`notification.enabled: false` sends nothing; the event log has it all the same."""
    plane = plane_that_tells
    silent = {"enabled": False, "channels": ["email"]}
    await start(story, rollback_rules=[rule("alert", notification=silent)])
    before = await told(plane)
    await act(plane, story, broken("hot"))
    async with plane.read() as tx:
        log = [event["type"] for _, event in await events.listed(tx)]
    assert await told(plane) == before
    assert log[-1] == "release.rule_broken"


async def test_the_leader_acts_on_what_the_judge_finds(story: Any, watch: Watch) -> None:
    """A rule that the counters break is on record before the rollback that comes of them."""
    config_id = await start(story, rollback_rules=[rule("alert")])
    for _ in range(6):
        await watch.second(config_id, errors=0.5)
    async with watch.plane.read() as tx:
        log = [event["type"] for _, event in await events.listed(tx, release_id=story.release_id)]
    assert log.index("release.rule_broken") < log.index("release.rolling_back")


async def test_the_gate_tells_the_numbers_and_a_way_out(
    story: Any, watch: Watch, plane_that_tells: Plane
) -> None:
    """After the last extension the gate, the record's reason and the notice say what is missing."""
    plane = plane_that_tells
    config_id = await start(story, judge={"interval_seconds": 1.0, "max_extensions": 0})
    for _ in range(7):
        await watch.second(config_id, requests=2)
    await story.act("ask")
    record = await story.record()
    async with plane.read() as tx:
        log = [event for _, event in await events.listed(tx, release_id=record.id)]
    asked = log[-1]
    assert record.gate is not None
    assert record.gate.why == record.reason == asked["data"]["reason"]
    assert "true failure rate could still be" in record.gate.why
    assert "raise the weight (approving goes on to 25 %)" in record.gate.suggestion
    assert record.gate.wait_seconds == pytest.approx(24, abs=8)  # 48 of 60, at two a second
    assert (await told(plane))[-1][0] == asked["type"] == "release.approval_requested"


async def test_a_plans_own_gate_asks_for_what_the_plan_says(story: Any) -> None:
    """Where the evidence is there, the gate has no numbers to add."""
    await start(story)
    await story.change(watched_seconds=1e6, verdict={"outcome": "healthy", "sentence": "fine"})
    await story.act("ask")
    gate = (await story.record()).gate
    assert (gate.why, gate.suggestion, gate.wait_seconds) == ("because", None, None)


async def test_without_a_bake_the_last_step_is_followed_by_promotion(story: Any) -> None:
    """`bake.duration_minutes: 0`: what permitted the bake permits the promotion."""
    await start(
        story, bake={"duration_minutes": 0}, auto_promote={"promotion_steps": [100]},
        traffic_split=None,
    )  # fmt: skip
    await story.change(watched_seconds=1e6, verdict={"outcome": "healthy", "sentence": "fine"})
    await story.act("bake")
    await story.act("promote")
    assert (await story.record()).state is State.PROMOTED


async def test_who_moves_on_past_the_last_soak_moves_on_past_no_bake(
    story: Any, plane: Plane
) -> None:
    """Without a bake, a person's word that the soak is long enough permits the promotion too."""
    await start(
        story, bake={"duration_minutes": 0}, auto_promote={"promotion_steps": [100]},
        traffic_split=None,
    )  # fmt: skip
    await story.change(watched_seconds=1.0, verdict={"outcome": "healthy", "sentence": "fine"})
    async with plane.write() as tx:
        release = await document.load(tx, story.release_id)
        await people.promote(plane, tx, release, actor=Actor("ann"), full=False, note="")
        await document.save(tx, release, now=plane.clock.now())
    await story.act("bake")
    await story.act("promote")
    assert (await story.record()).state is State.PROMOTED


@pytest.mark.parametrize(("named", "stable"), [("v0", "v0"), ("v9", "v1"), ("stable", "v1")])
async def test_a_rule_names_where_its_rollback_goes(
    story: Any, watch: Watch, plane: Plane, named: str, stable: str
) -> None:
    """A rule's `target_version` becomes stable if it has been so before; any other is not trusted."""
    async with plane.write() as tx:
        for name in ("v0", "v9"):
            overrides = {"parameters": {"user": name}}
            await versions.create(
                tx, name=name, base=await versions.find(tx, "v1"), overrides=overrides,
                upstreams=plane.upstreams, now=plane.clock.now(), actor=Actor("ann"),
            )  # fmt: skip
        await versions.mark_promoted(tx, "v0", now=plane.clock.now())
    config_id = await start(
        story, rollback_rules=[rule("rollback_to_version", target_version=named)]
    )
    for _ in range(6):
        await watch.second(config_id, errors=0.5)
    async with plane.read() as tx:
        config = await configs.current(tx)
    assert (await story.record()).state is State.ROLLED_BACK
    assert config.weights == {stable: 100}
