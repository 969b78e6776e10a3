"""A conductor that sleeps while its release soaks: the relay watches, and calls the next one."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest

from grayscale.clock import rfc3339
from grayscale.plane import conduct, document, people, takeaway
from grayscale.plane.actor import GUARD, Actor
from grayscale.plane.orders import Order
from grayscale.plane.plane import Plane
from grayscale.prefect_api import PrefectApi
from grayscale.relay.leader.reconciler import Reconciler
from grayscale.relay.leader.runs import LOOK_EVERY_SECONDS
from grayscale.release.phases import State
from grayscale.testing.clock import FakeClock
from tests.plane.fake_prefect import FakePrefect
from tests.plane.watching import FAST, Watch

Refusal = Callable[[str], AbstractContextManager[None]]
RUN = "run-1"
LONG: dict[str, Any] = {
    **FAST,
    "auto_promote": {"step_duration_seconds": 30.0},
    "lease": {"seconds": 10.0, "asleep_grace_seconds": 20.0, "sleep_above_seconds": 5.0},
}
ANN = Actor("ann")


class Night:
    """A release that soaks for longer than its lease, and nobody who drives it."""

    def __init__(self, story: Any, watch: Watch, prefect: FakePrefect, api: PrefectApi) -> None:
        self.story, self.watch, self.prefect = story, watch, prefect
        self.plane: Plane = story.plane
        self.reconciler = Reconciler(self.plane, api)
        self.config_id = ""

    async def begin(self, **changes: Any) -> None:
        """Up to the first split."""
        await self.story.create(self.story.plan(**{**LONG, **changes}))
        await self.story.claim(RUN)
        await self.story.act("create_version")
        await self.story.act("set_split", 0)
        self.config_id = (await self.story.record()).config_id
        await self.watch.second(self.config_id)

    async def sleep(self, revision: int = -1) -> None:
        """The conductor goes to sleep, and leaves its run suspended."""
        async with self.plane.write() as tx:
            release = await document.load(tx, self.story.release_id)
            known = release.revision if revision < 0 else revision
            order = Order("sleep", reason="soaks", flow_run_id=RUN)
            await conduct.act(
                self.plane, tx, release, order, fence=self.story.fence, revision=known
            )
        self.prefect.put(RUN, "PAUSED", form=True)

    async def seconds(self, count: int, **what: Any) -> None:
        """Time passes: the worker counts, the leader looks."""
        for _ in range(count):
            await self.watch.second(self.config_id, **what)

    async def called(self) -> bool:
        """Whether the leader has called a conductor, once it has looked."""
        assert isinstance(self.plane.clock, FakeClock)
        self.plane.clock.advance(LOOK_EVERY_SECONDS)
        await self.reconciler.run_once()
        return list(self.prefect.runs) != [RUN]

    async def says(self, deed: Any, **words: Any) -> None:
        """A person does something to the release."""
        async with self.plane.write() as tx:
            release = await document.load(tx, self.story.release_id)
            await deed(self.plane, tx, release, actor=ANN, **words)

    async def guard_acts(self) -> None:
        """The guard takes the candidate away."""
        async with self.plane.write() as tx:
            release = await document.load(tx, self.story.release_id)
            await takeaway.roll_back(
                self.plane, tx, release, actor=GUARD, reason="7 % failed", cause="candidate"
            )


@pytest.fixture
async def night(story: Any, watch: Watch) -> AsyncIterator[Night]:
    async with FakePrefect() as prefect, PrefectApi(prefect.api_url) as api:
        yield Night(story, watch, prefect, api)


async def test_while_it_soaks_nobody_is_called(night: Night) -> None:
    """Longer than a conductor's lease the weight stays, and the soak is counted."""
    await night.begin()
    await night.sleep()
    for _ in range(2):
        await night.seconds(9)
        assert not await night.called()
    record = await night.story.record()
    assert (record.state, record.weight_percent) == (State.SOAKING, 10)
    assert record.stage.watched_seconds >= 18


async def test_when_the_soak_is_over_a_run_is_called(night: Night) -> None:
    """One run, and it goes on with a new fence at the same step."""
    await night.begin()
    await night.sleep()
    await night.seconds(31)
    assert await night.called()
    assert list(night.prefect.by_key) == [f"{night.story.release_id}:2"]
    before = night.story.fence
    assert await night.story.claim("called-1") > before
    record = await night.story.record()
    assert (record.current_step, record.waiting_run_id) == (0, None)
    await night.story.act("set_split", 1)
    assert (await night.story.record()).weight_percent == 25


async def test_a_soak_whose_clock_stood_still_is_looked_at_in_time(night: Night) -> None:
    """At the step's deadline a run is called though the soak is not over: the lease goes on."""
    await night.begin()
    await night.sleep()
    await night.seconds(8, lagging=True)
    await night.seconds(16)
    assert not await night.called()
    await night.seconds(2)
    record = await night.story.record()
    assert (record.state, record.weight_percent) == (State.SOAKING, 10)
    assert record.stage.watched_seconds < 30
    assert await night.called()


async def test_the_record_says_who_sleeps_and_until_when(night: Night) -> None:
    """The next call's time, the run that people find in Prefect, and no conductor."""
    await night.begin()
    awake = (await night.story.record()).conductor
    await night.sleep()
    record = await night.story.record()
    assert (awake.flow_run_id, awake.asleep_until) == (RUN, None)
    assert record.conductor.flow_run_id is None
    assert (record.waiting_run_id, record.conductor.lease_left_seconds) == (RUN, 50)
    deadline = night.plane.clock.now() + timedelta(seconds=30)
    assert record.conductor.asleep_until == rfc3339(deadline)
    assert str(record.links["prefect"]).endswith(RUN)


async def test_a_decision_just_before_is_not_slept_through(night: Night, refused: Refusal) -> None:
    """Who goes to sleep on an outdated record is refused, and has to look again."""
    await night.begin()
    seen = await night.story.record()
    await night.says(people.promote, full=True, note="")
    with refused("release_changed"):
        await night.sleep(revision=seen.revision)


async def test_what_no_revision_tells_is_not_slept_through(night: Night, refused: Refusal) -> None:
    """A soak that ended meanwhile raises no revision: the relay looks itself before it says yes."""
    await night.begin()
    for _ in range(4):
        await night.seconds(8)
        await night.story.renew()
    with refused("release_changed"):
        await night.sleep()


@pytest.mark.parametrize("deed", ["pause", "promote", "resume"])
async def test_a_persons_decision_wakes_it(night: Night, deed: str) -> None:
    """What a person decides while the conductor sleeps is carried out by a new run at once."""
    await night.begin()
    await night.sleep()
    assert not await night.called()
    if deed == "promote":
        await night.says(people.promote, full=True, note="")
    else:
        await night.says(people.pause, at_stable=True, note="")
    if deed == "resume":
        await night.says(people.resume, note="")
    assert await night.called()


@pytest.mark.parametrize("deed", ["pause", "promote", "guard"])
async def test_what_happens_before_the_form_is_there_wakes_it(night: Night, deed: str) -> None:
    """After the relay's yes the conductor's run goes on for a moment: that hides nothing."""
    await night.begin()
    await night.sleep()
    night.prefect.put(RUN, "RUNNING")
    assert not await night.called()
    if deed == "pause":
        await night.says(people.pause, at_stable=False, note="")
    elif deed == "promote":
        await night.says(people.promote, full=True, note="")
    else:
        await night.guard_acts()
        await night.seconds(2)
        night.prefect.put(RUN, "PAUSED", form=True)
    assert await night.called()


async def test_the_guard_acts_while_it_sleeps(night: Night) -> None:
    """The relay carries the rollback to its end alone; a run is called to report it."""
    await night.begin()
    await night.sleep()
    await night.guard_acts()
    await night.seconds(2)
    assert (await night.story.record()).state is State.ROLLED_BACK
    assert await night.called()
    assert list(night.prefect.by_key) == [f"{night.story.release_id}:report"]


async def test_harm_is_seen_while_it_sleeps(night: Night) -> None:
    """The judge looks on: a candidate that fails is taken away with nobody awake."""
    await night.begin()
    await night.sleep()
    await night.seconds(20, errors=0.5)
    record = await night.story.record()
    assert (record.state, record.weight_percent) == (State.ROLLED_BACK, 0)


async def test_a_held_release_sleeps_on(night: Night) -> None:
    """A sick upstream stops the clock and wakes nobody; when it is over the soak goes on."""
    await night.begin()
    await night.sleep()
    await night.seconds(5, errors=0.5, stable=0.5)
    assert (await night.story.record()).state is State.HELD
    assert not await night.called()


async def test_a_question_to_people_needs_a_new_form(night: Night) -> None:
    """Held for a day while nobody is awake: a run is called that shows the approval's form."""
    await night.begin()
    await night.sleep()
    await night.seconds(5, errors=0.5, stable=0.5)
    night.watch.clock.advance(86_401)
    await night.seconds(1, errors=0.5, stable=0.5)
    assert (await night.story.record()).state is State.AWAITING_APPROVAL
    assert await night.called()


@pytest.mark.parametrize("state", ["CANCELLED", "CANCELLING", "deleted"])
async def test_cancelling_the_run_that_sleeps_ends_the_release(night: Night, state: str) -> None:
    """The run that is left behind is the handle by which people stop the release in Prefect."""
    await night.begin()
    await night.sleep()
    assert not await night.called()
    if state == "deleted":
        del night.prefect.runs[RUN]
    else:
        night.prefect.put(RUN, state)
    await night.called()
    record = await night.story.record()
    assert (record.state, record.cause, record.weight_percent) == (
        State.ROLLING_BACK,
        "aborted",
        0,
    )


async def test_a_handle_that_is_lost_is_replaced(night: Night) -> None:
    """A run that crashed between the relay's yes and its form is followed by another one."""
    await night.begin()
    await night.sleep()
    night.prefect.put(RUN, "CRASHED")
    assert await night.called()
    assert (await night.story.record()).state is State.SOAKING


async def test_who_sleeps_holds_no_fence(night: Night, refused: Refusal) -> None:
    """A conductor that said it sleeps can do nothing more, however late it comes."""
    await night.begin()
    await night.sleep()
    with refused("stale_fence"):
        await night.story.renew()
    with refused("stale_fence"):
        await night.story.act("extend", 0)


async def test_nobody_comes_when_called(night: Night) -> None:
    """Past deadline and grace the lease is out: stable has the traffic, until one comes."""
    await night.begin(health_check={"enabled": False}, judge={"interval_seconds": 10.0})
    await night.sleep()
    await night.seconds(45)
    assert (await night.story.record()).weight_percent == 10
    await night.seconds(5)
    held = await night.story.record()
    assert (held.state, held.cause, held.weight_percent) == (State.HELD, "lease_expired", 0)
    assert await night.called()
    await night.story.claim("called-1")
    await night.story.act("set_split", 0)
    assert (await night.story.record()).weight_percent == 10


async def test_a_stopped_conductor_that_goes_on_has_no_effect(
    night: Night, refused: Refusal
) -> None:
    """Stopped for twice its lease and continued, it is refused even where nobody took over."""
    await night.begin()
    seen = await night.story.record()
    await night.seconds(20)
    held = await night.story.record()
    assert (held.state, held.cause) == (State.HELD, "lease_expired")
    with refused("stale_fence"):
        await night.story.renew()
    for verb, step in (("set_split", 0), ("set_split", 1), ("promote", None), ("sleep", None)):
        for revision in (seen.revision, -1):
            with refused("stale_fence"):
                await night.story.act(verb, step, revision=revision)
    after = await night.story.record()
    assert (after.state, after.weight_percent, after.seq) == (State.HELD, 0, held.seq)


async def test_a_hold_that_outlasts_the_sleep_calls_the_next_conductor(night: Night) -> None:
    """In time before the lease is out; with nobody left to call, the candidate loses its weight."""
    await night.begin()
    for _ in range(2):
        await night.seconds(7, lagging=True)
        await night.story.renew()
    await night.sleep()
    await night.seconds(20, lagging=True)
    assert not await night.called()
    await night.seconds(12, lagging=True)
    assert await night.called()
    record = await night.story.record()
    assert (record.state, record.cause, record.weight_percent) == (State.HELD, "split", 10)
    await night.seconds(18, lagging=True)
    out = await night.story.record()
    assert (out.state, out.cause, out.weight_percent) == (State.HELD, "lease_expired", 0)
