"""A deterministic simulator: one seed is one release through bad luck, in virtual time.

Everything that tests.survival.world calls real is real here too: the same plane on the same
tables, judge, leader, reconciler, admin application and conductor; the seed draws what befalls
them. Until calm comes: killed, frozen and cut-off processes (and others in their place), delays,
doubled conductors, a Prefect that is away, clocks that jump by an hour, callers that stay away,
a candidate that turns bad, people who approve, reject, pause, resume, promote and abort at any
time, and twice. After it: somebody answers every form, and the release must come to an end.
"""

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from grayscale.notices.delivery import LONGEST_WAIT_SECONDS
from grayscale.plane import audit
from tests.survival.chaos import Chaos
from tests.survival.conductor import ASLEEP
from tests.survival.invariants import FINAL
from tests.survival.processes import Process
from tests.survival.store import MemoryDatabase
from tests.survival.virtual import run_virtually
from tests.survival.world import CANDIDATE, LOOK_SECONDS, Traffic, World, plan_of

_CALM_FROM_SECONDS = (4.0, 26.0)
_TROUBLE_EVERY_SECONDS = 4.0
_END_WITHIN_SECONDS = 900
_REPLACED_WITHIN_SECONDS = 8.0
_HOUR = 3600.0


@dataclass(slots=True)
class Ended:
    """How a seed came out; `log` is what befell it."""

    seed: int
    state: str
    seconds: float
    problems: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


def simulate(seed: int) -> Ended:
    """Live a seed."""
    return run_virtually(Simulation(seed).run())


def problems_of(seed: int) -> list[str]:
    """What went wrong in it."""
    return simulate(seed).problems


class Simulation:
    """One release in a world of bad luck."""

    def __init__(
        self,
        seed: int,
        *,
        database: Callable[[sqlite3.Connection], MemoryDatabase] = MemoryDatabase,
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.chaos = Chaos(rng=self.rng, share=self.rng.choice([0.0, 0.05, 0.15, 0.3]))
        self.calm_at = self.rng.uniform(*_CALM_FROM_SECONDS)
        self.world = World(self.chaos, Traffic(requests=600), database)

    async def run(self) -> Ended:
        """From the release's creation to its end."""
        world = self.world
        await world.begin(plan_of(**self._plan()))
        ended = Ended(self.seed, "", 0.0, log=self.chaos.log)
        try:
            trouble = Process("trouble").start(self._trouble())
            await asyncio.sleep(self.calm_at)
            trouble.cancel()
            self._calm_down()
            ended.problems += await self._come_to_an_end()
            ended.problems += await self._check()
        finally:
            ended.problems += [*world.witness.broken, *world.unforeseen]
            ended.state, ended.seconds = world.release["state"], world.clock.monotonic()
            await world.stop()
        return ended

    def _plan(self) -> dict[str, object]:
        lease = {
            "seconds": self.rng.choice([10, 30, 90]),
            "sleep_above_seconds": 6,
            "on_expiry": self.rng.choice(["hold_at_stable", "hold_at_stable", "roll_back"]),
        }
        return {
            "auto_promote": {
                "promotion_steps": self.rng.choice([[10, 100], [10, 50, 100], [100]]),
                "step_duration_seconds": self.rng.choice([4, 8]),
            },
            "approval": self.rng.choice([{}, {"before_steps": [100]}]),
            "bake": {"duration_seconds": self.rng.choice([0, 4])},
            "lease": lease,
        }

    # ---------------------------------------------------------------- bad luck

    async def _trouble(self) -> None:
        """Something happens every few seconds."""
        troubles = [
            self._person, self._person, self._person, self._clock_jumps, self._second_conductor,
            self._prefect_blinks, self._callers, self._candidate_turns,
        ]  # fmt: skip
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / _TROUBLE_EVERY_SECONDS))
            self._replace_the_dead()
            if self.rng.random() < 0.5:
                await self.rng.choice(troubles)()

    def _note(self, what: str) -> None:
        self.chaos.log.append(f"{self.world.clock.monotonic():7.2f} {what}")

    async def _person(self) -> None:
        """Somebody says something, whether it fits or not; now and then twice."""
        saying = self.rng.choices(
            ["approve", "form", "resume", "pause", "promote", "reject", "abort"],
            [4, 4, 3, 2, 1, 0.3, 0.3],
        )[0]
        for _ in range(self.rng.choice([1, 1, 2])):
            if saying == "form":
                self._answer_forms()
            else:
                await self._say(saying)

    async def _say(self, verb: str) -> None:
        body = {"at_stable": self.rng.random() < 0.5} if verb == "pause" else {}
        if verb == "promote":
            body = {"full": self.rng.random() < 0.5}
        answer = await self.world.api("POST", f"{self.world.release_id}/{verb}", body)
        self._note(f"a person: {verb} -> {answer.status_code}")

    def _answer_forms(self, *, kindly: bool = False) -> None:
        for run in list(self.world.prefect.runs.values()):
            if run.form is None or run.form == ASLEEP:
                continue
            yes = kindly or self.rng.random() < 0.9
            said: dict[str, object] = {"approve": yes, "approved_by": "kim"}
            if run.form.startswith("pause"):
                said = {"action": "resume" if yes else "abort", "by": "kim"}
            self._note(f"a person answers {run.id}'s form: {'yes' if yes else 'no'}")
            self.world.prefect.answer(run, said)

    async def _clock_jumps(self) -> None:
        self.world.clock.wall_shift_seconds += self.rng.choice([-_HOUR, _HOUR])
        self._note("the wall clock jumps by an hour")

    async def _second_conductor(self) -> None:
        self._note("a second run of the release begins")
        self.world.prefect.add(self.world.release_id)

    async def _prefect_blinks(self) -> None:
        self.world.prefect.away = not self.world.prefect.away

    async def _callers(self) -> None:
        self.world.traffic.requests = self.rng.choice([0, 60, 600, 600])

    async def _candidate_turns(self) -> None:
        self.world.traffic.sick_share = self.rng.choice([0.0, 0.0, 0.01, 0.5])
        self._note(f"{self.world.traffic.sick_share:.0%} of {CANDIDATE}'s requests fail")

    def _replace_the_dead(self) -> None:
        for name, process in list(self.world.relay.items()):
            if not process.alive and self.rng.random() < LOOK_SECONDS / _REPLACED_WITHIN_SECONDS:
                self.world.restart(name)

    # ---------------------------------------------------------------- calm

    def _calm_down(self) -> None:
        self._note("calm")
        self.chaos.calm = True
        self.world.prefect.away = False
        self.world.clock.wall_shift_seconds = 0.0
        self.world.traffic.requests = 600
        for name, process in list(self.world.relay.items()):
            if not process.alive:
                self.world.restart(name)

    async def _come_to_an_end(self) -> list[str]:
        for second in range(_END_WITHIN_SECONDS + int(LONGEST_WAIT_SECONDS)):
            await asyncio.sleep(1)
            final = self.world.release["state"] in FINAL
            if final and self.world.told:
                return []
            if second >= _END_WITHIN_SECONDS and not final:
                break
            if second % 2 == 0:
                self._answer_forms(kindly=True)
        state = self.world.release["state"]
        return [f"no end within {second} s of calm: {state}"]

    async def _check(self) -> list[str]:
        """What must be true of the whole story."""
        world = self.world
        log = [json.loads(row[0]) for row in world.store.sql("SELECT envelope FROM events")]
        kinds = [event["type"] for event in log]
        ordered = [e for e in log if e["type"] == "split.changed" and _by_conductor(e)]
        decided = kinds.count("release.step_started") + kinds.count("release.promoted")
        keys = [row[0] for row in world.store.sql("SELECT key FROM idempotency")]
        acts = [key for key in keys if key.endswith((":set_split", ":promote"))]
        problems = []
        if not len(ordered) == decided == len(acts):
            problems.append(f"{len(acts)} decisions made {len(ordered)} splits, {decided} events")
        if kinds.count("release.promoted") > 1:
            problems.append("it was promoted twice")
        written = [row[0] for row in world.store.sql("SELECT event_id FROM outbox ORDER BY seq")]
        if list(dict.fromkeys(world.inbox.told)) != written:
            problems.append(f"notices {world.inbox.told} were written as {written}")
        doubled = len(world.inbox.told) - len(set(world.inbox.told))
        if doubled > self._strikes_at_leaders():
            problems.append(f"{doubled} notices arrived again: {world.inbox.told}")
        if not (await audit.verify(world.store)).ok:
            problems.append("the audit log is broken")
        return problems

    def _strikes_at_leaders(self) -> int:
        """What befell those who tell people: each may make one notice arrive twice."""
        return sum(" leader-" in line for line in self.chaos.log)


def _by_conductor(event: dict[str, dict[str, dict[str, object]]]) -> bool:
    return event["data"]["actor"]["via"] == "conductor"
