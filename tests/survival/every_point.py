"""Every side effect of a release, harmed before and after: the release ends as if nothing was.

Three stories: one that is extended, asks a person through a form, bakes and is promoted; one
whose candidate turns out harmful at its second step; and one whose conductor sleeps. Each is
lived once undisturbed, which lists its side effects; then once per side effect, edge and harm.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from grayscale.plane import audit
from tests.survival.conductor import ASLEEP
from tests.survival.invariants import FINAL
from tests.survival.processes import Edge, Effects, Fault, Harm
from tests.survival.virtual import run_virtually
from tests.survival.world import Traffic, World, plan_of

LONGEST_SECONDS = 900
STORIES: dict[str, dict[str, Any]] = {
    "promoted": {},
    "harmful": {"approval": {}},
    "asleep": {"approval": {}, "lease": {"sleep_above_seconds": 8}},
}
_THINKS_SECONDS = 3.0
_OF_A_KIND = {"look": 2, "renew": 3}
_EDGES = {
    Harm.KILL: (Edge.BEFORE, Edge.AFTER),
    Harm.FREEZE: (Edge.BEFORE, Edge.AFTER),
    Harm.LOSE: (Edge.BEFORE, Edge.AFTER),
    Harm.FAIL: (Edge.BEFORE,),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One story with one fault; None is the undisturbed one."""

    story: str
    fault: Fault | None = None

    @property
    def arguments(self) -> str:
        """How to live it again."""
        if self.fault is None:
            return f"--story {self.story}"
        fault = self.fault
        place = f"--point {fault.number} --edge {fault.edge} --harm {fault.harm}"
        return f"--story {self.story} {place}"


@dataclass(frozen=True, slots=True)
class Lived:
    """What is left of a story."""

    state: str
    told: tuple[tuple[object, ...], ...]
    weights: tuple[tuple[tuple[str, float], ...], ...]
    effects: tuple[str, ...]
    struck: str
    problems: tuple[str, ...]


def live(case: Case) -> Lived:
    """Live a story, in virtual time."""
    return run_virtually(_live(case))


@cache
def undisturbed(story: str) -> Lived:
    """What should be left of it, whatever happens."""
    return live(Case(story))


def points(story: str) -> list[tuple[int, str]]:
    """A story's side effects; of looks and renewals, which repeat, the first few."""
    met: dict[str, int] = {}
    found = []
    for number, label in enumerate(undisturbed(story).effects):
        met[label] = met.get(label, 0) + 1
        if met[label] <= _OF_A_KIND.get(label, LONGEST_SECONDS):
            found.append((number, label))
    return found


def cases(story: str, *, every: bool) -> Iterator[Case]:
    """Every point with every harm; or those that a test has time for."""
    for number, label in points(story):
        for harm, edges in _EDGES.items():
            if every or _in_time(story, label, harm):
                for edge in edges:
                    yield Case(story, Fault(number, edge, harm))


def _in_time(story: str, label: str, harm: Harm) -> bool:
    """Crashes everywhere; freezes too where the release's fate is decided."""
    decided = story == "promoted" and label in {"claim", "act set_split", "approve", "act promote"}
    return harm is Harm.KILL or (decided and harm is Harm.FREEZE)


def problems_of(case: Case) -> list[str]:
    """What went differently from the undisturbed story, or never may go so."""
    wanted, got = undisturbed(case.story), live(case)
    found = list(got.problems)
    if got.state != wanted.state:
        found.append(f"it ended {got.state}, not {wanted.state}")
    if got.told != wanted.told:
        found.append(f"its events are {got.told}, not {wanted.told}")
    if got.weights != wanted.weights:
        found.append(f"the weights went {got.weights}, not {wanted.weights}")
    if case.fault is not None and not got.struck:
        found.append("the fault never struck")
    return [f"{got.struck}: {problem}" for problem in found]


async def _live(case: Case) -> Lived:
    world = World(
        Effects(case.fault), traffic=Traffic(requests=0 if case.story == "promoted" else 600)
    )
    await world.begin(plan_of(**STORIES[case.story]))
    try:
        person = asyncio.create_task(_person(world))
        turns = asyncio.create_task(_turn_the_tide(world, case.story))
        ended = await _until_over(world)
        person.cancel()
        turns.cancel()
        return await _left(world, ended=ended)
    finally:
        await world.stop()


async def _person(world: World) -> None:
    """Answers each form some seconds after it is shown."""
    while True:
        for run in list(world.prefect.runs.values()):
            if run.form not in {None, ASLEEP}:
                await asyncio.sleep(_THINKS_SECONDS)
                if run.form is not None:
                    world.prefect.answer(run, {"approve": True, "approved_by": "kim"})
        await asyncio.sleep(1)


async def _turn_the_tide(world: World, story: str) -> None:
    """No requests until the first step was extended; or good ones until the second step."""
    for _ in range(2 * LONGEST_SECONDS):
        await asyncio.sleep(0.5)
        if story == "harmful" and world.release["current_step"] == 1:
            world.traffic.sick_share = 0.5
        if story == "promoted" and any(step["extensions"] for step in world.release["steps"]):
            world.traffic.requests = 600


async def _until_over(world: World) -> bool:
    for _ in range(LONGEST_SECONDS):
        await asyncio.sleep(1)
        reported = all(run.state != "SCHEDULED" for run in world.prefect.runs.values())
        owed = world.store.sql("SELECT 1 FROM conductors WHERE report_due")
        over = world.release["state"] in FINAL and world.told and reported and not owed
        if over and not world.prefect.alive:
            return True
    return False


async def _left(world: World, *, ended: bool) -> Lived:
    log = [json.loads(text) for (text,) in world.store.sql("SELECT envelope FROM events")]
    problems = [] if ended else [f"no end within {LONGEST_SECONDS} s"]
    problems += _notices(world) + _runs(world) + world.witness.broken + world.unforeseen
    report = await audit.verify(world.store)
    if not report.ok:
        problems.append(f"the log is broken at {report.broken_at}: {report.problem}")
    return Lived(
        state=world.release["state"],
        told=tuple(_told(event) for event in log if event["type"] != "release.extended"),
        weights=tuple(tuple(sorted(weights.items())) for weights in world.witness.history),
        effects=tuple(world.effects.seen),
        struck=world.effects.struck,
        problems=tuple(problems),
    )


def _told(event: dict[str, Any]) -> tuple[object, ...]:
    data = event["data"]
    return event["type"], data.get("state"), data.get("step_index"), data.get("weight_percent")


def _notices(world: World) -> list[str]:
    """Each notice has one id, and arrives once; twice at most where its sender was harmed."""
    written = [row[0] for row in world.store.sql("SELECT event_id FROM outbox ORDER BY seq")]
    told = world.inbox.told
    problems = []
    if list(dict.fromkeys(told)) != written:
        problems.append(f"notices arrived as {told}, not as {written}")
    most = 2 if world.effects.struck.startswith("leader") else 1
    if any(told.count(notice) > most for notice in written):
        problems.append(f"{len(told)} notices arrived of {len(written)}")
    return problems


def _runs(world: World) -> list[str]:
    """The end is reported, and no other one; a run without a process stays as it was."""
    runs = world.prefect.runs.values()
    names = [run.state_name for run in runs if run.state == "COMPLETED"]
    reports = {name for name in names if name != "Superseded"}
    wanted = {"promoted": "Completed", "rolled_back": "RolledBack"}[world.release["state"]]
    return [] if reports == {wanted} else [f"runs end as {names}"]
