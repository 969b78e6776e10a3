"""The reconciler against a real store and a Prefect on loopback."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from grayscale.plane import conduct, document, events, people
from grayscale.plane.actor import Actor
from grayscale.plane.orders import Order
from grayscale.plane.plane import Plane
from grayscale.prefect_api import PrefectApi
from grayscale.relay.leader.reconciler import Reconciler
from grayscale.relay.leader.runs import LOOK_EVERY_SECONDS, STARTS_WITHIN_SECONDS
from grayscale.release.ending import RUN_ENDS_AS
from grayscale.release.phases import State
from grayscale.testing.clock import FakeClock
from tests.plane.fake_prefect import FakePrefect
from tests.plane.watching import Watch

ASKING: dict[str, Any] = {"approval": {"before_steps": [10]}}
RUN = "run-1"


class World:
    """A release, its runs in Prefect, and a leader that looks."""

    def __init__(self, plane: Plane, story: Any, prefect: FakePrefect, api: PrefectApi) -> None:
        self.plane, self.story, self.prefect = plane, story, prefect
        self.reconciler = Reconciler(plane, api)
        self._api = api

    def another_leader(self) -> None:
        """Another worker leads from now on; it remembers nothing."""
        self.reconciler = Reconciler(self.plane, self._api)

    async def look(self, after: float = LOOK_EVERY_SECONDS) -> None:
        """Time passes, and the leader looks."""
        assert isinstance(self.plane.clock, FakeClock)
        self.plane.clock.advance(after)
        await self.reconciler.run_once()

    async def soaking(self) -> None:
        """A release at its first step; its conductor runs."""
        await self.story.begin()
        self.prefect.put(RUN, "RUNNING")

    async def asking(self) -> None:
        """A release that waits behind a form for its first approval."""
        await self.story.create(self.story.plan(**ASKING))
        await self.story.claim(RUN)
        await self.story.act("create_version")
        await self.story.act("ask")
        await self.sleep()
        self.prefect.put(RUN, "PAUSED", form=True)

    async def sleep(self) -> None:
        """The conductor shows a form and ends its process."""
        async with self.plane.write() as tx:
            release = await document.load(tx, self.story.release_id)
            await conduct.act(
                self.plane, tx, release, Order("wait", flow_run_id=RUN),
                fence=self.story.fence, revision=release.revision,
            )  # fmt: skip

    async def silent(self, seconds: int = 15) -> None:
        """The conductor has not been heard of."""
        async with self.plane.write() as tx:
            await document.put_conductor(tx, self.story.release_id, silent_seconds=seconds)

    async def state(self) -> State:
        """Where the release stands."""
        return State((await self.story.record()).state)

    async def over(self, ending: State) -> None:
        """A release that has ended just now, and whose conductor's run is still running."""
        story = self.story
        at_once = {"promotion_steps": [100]}
        unjudged = {"auto_promote": at_once, "health_check": {"enabled": False}}
        await story.create(story.plan(**unjudged, bake={"duration_minutes": 0}))
        await story.claim(RUN)
        self.prefect.put(RUN, "RUNNING")
        if ending is State.FAILED:
            await story.act("fail")
            return
        await story.act("create_version")
        await story.act("set_split", 0)
        await story.change(watched_seconds=1e6)
        if ending is State.PROMOTED:
            await story.act("bake")
            await story.act("promote")
            return
        async with self.plane.write() as tx:
            release = await document.load(tx, story.release_id)
            await people.abort(self.plane, tx, release, actor=Actor("ann"), note="")
        assert isinstance(self.plane.clock, FakeClock)
        await Watch(self.plane, self.plane.clock).second(None)

    def reports(self, count: int) -> list[str]:
        """The keys under which so many runs were called to report."""
        return [f"{self.story.release_id}:report{nth}" for nth in ("", "-2", "-3")[:count]]

    async def last_event(self, kind: str) -> dict[str, Any]:
        """The data of the newest event of a kind."""
        async with self.plane.read() as tx:
            log = [envelope for _, envelope in await events.listed(tx, limit=1000)]
        data: dict[str, Any] = [each["data"] for each in log if each["type"] == kind][-1]
        return data


@pytest.fixture
async def world(plane: Plane, story: Any) -> AsyncIterator[World]:
    async with FakePrefect() as prefect, PrefectApi(prefect.api_url) as api:
        yield World(plane, story, prefect, api)


# ---------------------------------------------------------------- cancelled and deleted


@pytest.mark.parametrize("state", ["CANCELLED", "CANCELLING"])
async def test_cancelling_a_sleeping_run_ends_its_release(world: World, state: str) -> None:
    """No hook runs for a run that waits behind its form: the leader sees it and says who."""
    await world.asking()
    await world.look()
    world.prefect.put(RUN, state)
    await world.look()
    record = await world.story.record()
    told = await world.last_event("release.rolling_back")
    assert (record.state, record.cause) == (State.ROLLING_BACK, "aborted")
    assert record.reason == "aborted by somebody: its run 'v2 · run-1' was cancelled in Prefect"
    assert told["actor"] == {"name": "somebody", "via": "prefect", "verified": False}
    assert told["reason"] == record.reason


async def test_cancelling_a_run_whose_process_is_dead_ends_its_release(world: World) -> None:
    """The flow's own hook needs a worker; the leader does not: the candidate loses its traffic."""
    await world.soaking()
    assert (await world.story.record()).weight_percent == 10
    world.prefect.put(RUN, "CANCELLING")
    await world.look()
    record = await world.story.record()
    assert (record.state, record.weight_percent) == (State.ROLLING_BACK, 0)
    assert record.conductor.flow_run_id is None  # so that a run of its own reports the end


async def test_cancelling_a_run_that_was_called_ends_its_release(world: World) -> None:
    """Who cancels a run before it begins does not want another one."""
    await world.story.create()
    await world.look()
    world.prefect.put("called-1", "CANCELLED")
    await world.look()
    assert await world.state() is State.ROLLED_BACK
    await world.look()
    assert list(world.prefect.runs) == ["called-1"]


async def test_cancelling_the_run_that_opened_a_release_ends_it(world: World) -> None:
    """Between opening and claiming a release, its run stands for it too."""
    await world.story.create()
    async with world.plane.write() as tx:
        release = await document.load(tx, world.story.release_id)
        release.origin_run_id = RUN
        await document.save(tx, release, now=world.plane.clock.now())
    world.prefect.put(RUN, "CANCELLED")
    await world.look()
    assert await world.state() is State.ROLLED_BACK


async def test_deleting_a_run_ends_its_release(world: World) -> None:
    """A deleted run is as good as a cancelled one, whoever leads when that is seen."""
    await world.asking()
    await world.look()
    del world.prefect.runs[RUN]
    world.another_leader()
    await world.look()
    record = await world.story.record()
    assert record.state is State.ROLLING_BACK
    assert record.reason == "aborted by somebody: its run was deleted in Prefect"


async def test_an_abort_is_recorded_once(world: World) -> None:
    """Looking again at a cancelled run adds nothing."""
    await world.soaking()
    world.prefect.put(RUN, "CANCELLED")
    for _ in range(3):
        await world.look()
    async with world.plane.read() as tx:
        kinds = [envelope["type"] for _, envelope in await events.listed(tx)]
    assert kinds.count("release.rolling_back") == 1


async def test_deleting_a_run_that_was_over_is_tidying_up(world: World) -> None:
    """A run that has crashed stands for nothing: a new one goes on with the release."""
    await world.soaking()
    await world.look()
    world.prefect.put(RUN, "CRASHED")
    await world.look()
    del world.prefect.runs[RUN]
    await world.look()
    assert await world.state() is State.SOAKING
    assert "called-1" in world.prefect.runs


# ---------------------------------------------------------------- what must never abort


async def test_what_is_no_answer_of_prefects_aborts_nothing(world: World) -> None:
    """Errors, another server on the port, a proxy's page: the release stays as it is."""
    await world.asking()
    await world.look()
    gone, odd = {"detail": "Not Found"}, {"status": "cancelled"}
    for answer in ((500, {}), (404, gone), (401, {}), (200, odd), (200, ["CANCELLED"])):
        world.prefect.answers_with = answer
        for _ in range(2):
            await world.look()
        assert (await world.story.record()).waiting_run_id == RUN, answer
    assert await world.state() is State.AWAITING_APPROVAL


async def test_a_prefect_that_is_away_aborts_nothing(world: World) -> None:
    """While nothing answers the release waits on, and its run is read again afterwards."""
    await world.asking()
    await world.look()
    await world.prefect.stop()
    for _ in range(3):
        await world.look()
    await world.prefect.start()
    assert await world.state() is State.AWAITING_APPROVAL
    world.prefect.put(RUN, "CANCELLED")
    await world.look()
    assert await world.state() is State.ROLLING_BACK


@pytest.mark.parametrize("leader", ["the same", "another"])
async def test_a_prefect_that_lost_its_database_aborts_nothing(world: World, leader: str) -> None:
    """An empty Prefect deleted nobody's run: the release gets a new one, with a new form."""
    await world.asking()
    await world.look()
    world.prefect.lose_everything()
    if leader == "another":
        world.another_leader()
    for _ in range(2):
        await world.look()
    assert await world.state() is State.AWAITING_APPROVAL
    assert list(world.prefect.runs) == ["called-1"]


async def test_a_conductor_that_is_no_run_of_prefects_is_left_alone(world: World) -> None:
    """What Prefect never had, nobody deleted: whoever conducts by hand may go on."""
    await world.asking()
    await world.look()
    await world.story.claim("by hand")
    for _ in range(2):
        await world.look()
    assert await world.state() is State.AWAITING_APPROVAL
    assert list(world.prefect.runs) == [RUN]


async def test_a_superseded_run_does_not_abort(world: World) -> None:
    """What a person does to a run that another one replaced is not meant for the release."""
    await world.soaking()
    await world.silent()
    await world.look()
    await world.story.claim("called-1")
    world.prefect.put("called-1", "RUNNING")
    world.prefect.put(RUN, "CANCELLED")
    await world.look()
    del world.prefect.runs[RUN]
    await world.look()
    assert await world.state() is State.SOAKING


async def test_a_run_superseded_during_the_look_does_not_abort(world: World) -> None:
    """Between the look and the transaction another conductor may claim: then nothing is done."""
    await world.soaking()
    await world.silent()
    world.prefect.put(RUN, "CANCELLED")
    world.prefect.meanwhile = partial(world.story.claim, "run-2")
    await world.look()
    assert await world.state() is State.SOAKING


async def test_a_run_that_was_called_in_vain_does_not_abort(world: World) -> None:
    """A conductor that was only slow drives on: cancelling its replacement is tidying up."""
    await world.soaking()
    await world.silent()
    await world.look()
    await world.story.renew()
    world.prefect.put("called-1", "CANCELLED")
    await world.look()
    assert await world.state() is State.SOAKING


async def test_prefects_own_cancelling_is_nobodys_wish(world: World) -> None:
    """A run that Prefect had no slot for is called again."""
    await world.story.create()
    await world.look()
    world.prefect.put("called-1", "CANCELLED", message="Deployment concurrency limit reached.")
    await world.look()
    assert await world.state() is State.QUEUED
    assert "called-2" in world.prefect.runs


# ---------------------------------------------------------------- suspended


async def test_suspending_the_conductor_pauses_its_release(world: World) -> None:
    """Suspend is a person's pause: weight kept, the old run fenced out, a new one called at once."""
    await world.soaking()
    world.prefect.put(RUN, "PAUSED")
    await world.look()
    record = await world.story.record()
    assert (record.state, record.weight_percent) == (State.PAUSED, 10)
    assert record.reason == "paused by somebody: its run 'v2 · run-1' was suspended in Prefect"
    assert (await world.last_event("release.paused"))["actor"]["via"] == "prefect"
    with pytest.raises(Exception, match="outdated"):
        await world.story.renew()
    await world.story.claim("called-1")


async def test_a_form_is_no_pause(world: World) -> None:
    """A run that suspended itself behind a form waits for the form's answer."""
    await world.asking()
    for _ in range(3):
        await world.look()
    assert await world.state() is State.AWAITING_APPROVAL
    assert list(world.prefect.runs) == [RUN]


async def test_a_queued_release_cannot_be_paused(world: World) -> None:
    """A called run that is suspended before it begins is waited for."""
    await world.story.create()
    await world.look()
    world.prefect.put("called-1", "PAUSED")
    for _ in range(2):
        await world.look()
    assert await world.state() is State.QUEUED
    assert list(world.prefect.runs) == ["called-1"]


async def test_suspending_a_paused_release_shows_its_form_again(world: World) -> None:
    """Paused twice is paused once; the form moves to a run that can show it."""
    await world.soaking()
    async with world.plane.write() as tx:
        release = await document.load(tx, world.story.release_id)
        await people.pause(
            world.plane, tx, release, actor=Actor("ann"), at_stable=False, note="lunch"
        )
    world.prefect.put(RUN, "PAUSED")
    await world.look()
    assert (await world.story.record()).reason == "paused by ann: lunch"
    assert list(world.prefect.runs) == [RUN, "called-1"]


# ---------------------------------------------------------------- ended otherwise


@pytest.mark.parametrize("state", ["CRASHED", "FAILED", "COMPLETED"])
async def test_a_form_that_is_gone_is_shown_again(world: World, state: str) -> None:
    """However a waiting run ended without a decision, a new one is called to ask."""
    await world.asking()
    await world.look()
    world.prefect.put(RUN, state)
    await world.look()
    assert await world.state() is State.AWAITING_APPROVAL
    assert list(world.prefect.runs) == [RUN, "called-1"]
    assert (await world.story.record()).waiting_run_id is None


async def test_an_answered_form_whose_run_never_comes_is_taken_up(world: World) -> None:
    """After the answer the run starts; if its worker dies just then, another run takes over."""
    await world.asking()
    world.prefect.put(RUN, "PENDING")
    await world.look()
    await world.look(STARTS_WITHIN_SECONDS - 1)
    assert list(world.prefect.runs) == [RUN]
    await world.look()
    assert list(world.prefect.runs) == [RUN, "called-1"]


async def test_a_called_run_that_never_starts_is_called_again(world: World) -> None:
    """One that waits for a worker is waited for; one that began and died unnoticed is not."""
    await world.story.create()
    await world.look()
    await world.look(600)
    assert list(world.prefect.runs) == ["called-1"]
    world.prefect.put("called-1", "RUNNING")
    await world.look()
    await world.look(STARTS_WITHIN_SECONDS)
    assert list(world.prefect.runs) == ["called-1", "called-2"]


async def test_a_dead_conductor_is_replaced_once_prefect_knows(world: World) -> None:
    """A crash that Prefect reports need not be waited out, and the dead one is fenced out."""
    await world.soaking()
    world.prefect.put(RUN, "CRASHED")
    await world.look()
    await world.story.claim("called-1")
    assert await world.state() is State.SOAKING


async def test_a_silent_conductor_gets_one_successor(world: World) -> None:
    """However often the leader looks, one awakening is one run."""
    await world.soaking()
    for _ in range(2):
        await world.look()
    assert list(world.prefect.runs) == [RUN]
    await world.silent()
    for _ in range(3):
        await world.look(1)
    assert list(world.prefect.runs) == [RUN, "called-1"]


async def test_a_queued_release_says_why_it_waits(world: World) -> None:
    """With Prefect away a release waits and says so; later it begins by itself."""
    await world.story.create()
    await world.prefect.stop()
    await world.look()
    assert str((await world.story.record()).reason).startswith("prefect_unreachable: ")
    await world.prefect.start()
    await world.look()
    assert (await world.story.record()).reason == "a conductor was called"


@pytest.mark.parametrize("ending", [State.PROMOTED, State.ROLLED_BACK, State.FAILED])
async def test_an_end_that_nobody_reported_is_reported_once(world: World, ending: State) -> None:
    """A conductor that dies right after the end has said nothing: another run does, once."""
    await world.over(ending)
    for _ in range(5):
        await world.look()
    assert list(world.prefect.runs) == [RUN, "called-1"]
    assert list(world.prefect.by_key) == world.reports(1)
    world.prefect.put("called-1", "COMPLETED", name=RUN_ENDS_AS[ending])
    await world.look()
    world.prefect.looks.clear()
    await world.look(60)
    assert (list(world.prefect.by_key), world.prefect.looks) == (world.reports(1), [])


@pytest.mark.parametrize("ending", [State.PROMOTED, State.ROLLED_BACK])
async def test_an_end_that_its_conductor_reports_is_not_reported_again(
    world: World, ending: State
) -> None:
    """A living conductor is given the time to say so, and what it says is read from Prefect."""
    await world.over(ending)
    await world.look()
    world.prefect.put(RUN, "COMPLETED", name=RUN_ENDS_AS[ending])
    for _ in range(3):
        await world.look(20)
    assert list(world.prefect.runs) == [RUN]


@pytest.mark.parametrize("name", ["Superseded", "Completed"])
async def test_another_end_is_no_report(world: World, name: str) -> None:
    """A conductor whose fence was outdated has ended, and said nothing of the release's end."""
    await world.over(State.ROLLED_BACK)
    world.prefect.put(RUN, "COMPLETED", name=name)
    await world.look()
    assert list(world.prefect.by_key) == world.reports(1)


async def test_a_report_is_called_for_again_but_not_for_ever(world: World) -> None:
    """A run that was called to report and died is replaced, twice; leaders may change meanwhile."""
    await world.over(State.ROLLED_BACK)
    world.prefect.put(RUN, "CRASHED")
    for called in range(1, 4):
        await world.look()
        world.prefect.put(f"called-{called}", "RUNNING")
        await world.look()
        await world.look(STARTS_WITHIN_SECONDS)
    for _ in range(3):
        await world.look(600)
    assert list(world.prefect.by_key) == world.reports(3)


async def test_another_leader_finds_the_run_that_was_called_to_report(world: World) -> None:
    """What the last leader has called is found again, not called twice."""
    await world.over(State.ROLLED_BACK)
    world.prefect.put(RUN, "CRASHED")
    await world.look()
    world.another_leader()
    await world.look()
    world.prefect.put("called-1", "COMPLETED", name="RolledBack")
    for _ in range(3):
        await world.look()
    assert list(world.prefect.by_key) == world.reports(1)


async def test_a_report_waits_for_prefect(world: World) -> None:
    """With Prefect away nothing is reported, and nothing forgotten."""
    await world.over(State.ROLLED_BACK)
    await world.prefect.stop()
    for _ in range(3):
        await world.look(20)
    await world.prefect.start()
    world.prefect.put(RUN, "CRASHED")
    await world.look()
    assert list(world.prefect.by_key) == world.reports(1)


async def test_prefect_is_asked_politely(world: World) -> None:
    """A waiting release costs one look in five seconds, however often the leader ticks."""
    await world.asking()
    await world.look()
    world.prefect.looks.clear()
    for _ in range(20):
        await world.look(1)
    assert len(world.prefect.looks) == 20 / LOOK_EVERY_SECONDS
