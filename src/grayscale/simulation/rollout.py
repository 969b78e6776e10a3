"""One simulated release, from its first split to its end, as the product conducts it.

What follows a soak is asked of `grayscale.release.decide`, which the conductor asks too. A person
who is asked before a step says yes at once; one who is asked for lack of evidence ends the story.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from grayscale.judge import Interval, Outcome, Verdict
from grayscale.judge.values import Cause
from grayscale.plan.models import Plan
from grayscale.relay.breaker import Trip
from grayscale.release.decide import Action, Bake, Extend, Promote, SetSplit, Watch, decide
from grayscale.release.phases import State
from grayscale.release.record import (
    ApprovalView,
    ReleaseRecord,
    StepView,
    VerdictView,
    WorkersView,
)
from grayscale.release.soak_clock import UPSTREAM, of_verdict
from grayscale.simulation.breaker import BreakerWatch
from grayscale.simulation.callers import StickyTraffic
from grayscale.simulation.judging import NewJudge, OwnJudge
from grayscale.simulation.requests import Passed
from grayscale.simulation.traffic import IndependentTraffic, Traffic
from grayscale.simulation.world import Moment, World

ACTUATION_SECONDS = 2.0
"""From a harmful verdict to the last request that the candidate is given."""

ASKED_AFTER_SECONDS = 7200.0
"""Held for so long, a release ends here as a question to a person; a real one waits for a day."""

PATIENCE_SECONDS = 10.0
"""Trouble that may end by itself, unlike a sick upstream, holds when it has lasted longer."""


class End(StrEnum):
    """How a simulated release ends."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Ended:
    """A simulated release that is over.

    `worse_since` is when the candidate first was worse than stable (None: never), and
    `evidence_seconds` how long each step was watched until its first healthy verdict.
    `callers_failed` are the candidate's failures that the failover could not hide.
    """

    end: End
    seconds: float
    worse_since: float | None
    candidate_requests: int
    failed_requests: int
    callers_failed: int
    evidence_seconds: tuple[float | None, ...]
    cause: str
    sentence: str

    @property
    def detected_after(self) -> float | None:
        """Seconds from when it was worse to its rollback; None if it was none, or came before."""
        if self.end is not End.ROLLED_BACK or self.worse_since is None:
            return None
        return self.seconds - self.worse_since if self.seconds > self.worse_since else None


@dataclass(frozen=True, slots=True)
class Means:
    """Who watches: the judge, and the breaker of the relay's one worker, or none."""

    new_judge: NewJudge = OwnJudge
    breaker: bool = True


def run(plan: Plan, world: World, seed: int, *, means: Means | None = None) -> Ended:
    """Carry out one release of this plan in this world."""
    return Rollout(plan, world, seed, means or Means()).to_its_end()


class Rollout:
    """One release under way: where it is, and what it has cost so far."""

    def __init__(self, plan: Plan, world: World, seed: int, means: Means) -> None:
        self._plan = plan
        self._world = world
        self._judge = means.new_judge(plan)
        self._breaker = BreakerWatch() if means.breaker else None
        self._trip: Trip | None = None
        self._interval_seconds = plan.judge.interval_seconds
        self._traffic = _traffic(plan, world, seed)
        self._steps = _steps_of(plan)
        self._bake: StepView | None = None
        self._stage = self._steps[0]
        self._looks = 0
        self._seconds = 0.0
        self._worse_since: float | None = None
        self._candidate_requests = self._failed_requests = self._callers_failed = 0
        self._evidence_seconds: list[float | None] = []

    def to_its_end(self) -> Ended:
        """Soak by soak until the release is promoted, rolled back, or a person is asked."""
        while True:
            verdict = self._soak()
            if self._harmful(verdict):
                return self._rolled_back(verdict)
            match self._decided(verdict):
                case SetSplit(step=step):
                    self._stage = self._steps[step]
                    self._traffic.new_split()
                case Bake():
                    self._stage = self._bake = _bake_of(self._plan, self._steps[-1])
                case Promote():
                    return self._ended(End.PROMOTED, verdict)
                case _:
                    return self._ended(End.ASKED, verdict)

    def _soak(self) -> Verdict:
        """Watch one step or the bake until harm is seen, or the soak and its extensions are over.

        While something other than the candidate is wrong the release is held: that is no soak.
        """
        once, held = self._stage.required_seconds, Held(self._interval_seconds)
        self._evidence_seconds.append(None)
        while True:
            verdict = self._look()
            if self._harmful(verdict):
                return verdict
            wrong = of_verdict(verdict.cause) if self._plan.health_check.enabled else None
            if held.after(wrong):
                if held.seconds >= ASKED_AFTER_SECONDS:
                    return verdict
                continue
            watched = self._stage.watched_seconds + self._interval_seconds
            self._stage = self._stage.model_copy(update={"watched_seconds": watched})
            if watched < self._stage.required_seconds:
                continue
            match self._decided(verdict):
                case Watch():
                    continue
                case Extend():
                    self._stage = _extended(self._stage, by_seconds=once)
                case _:
                    return verdict

    def _look(self) -> Verdict:
        """One interval of traffic, and what the judge says of it."""
        passed = self._pass(self._interval_seconds)
        if self._trip is not None:
            return Verdict(Outcome.HARMFUL, Cause.CANDIDATE, self._trip.reason, {})
        self._looks += 1
        watched = self._stage.watched_seconds + self._interval_seconds
        interval = Interval(
            id=self._looks,
            seconds=self._interval_seconds,
            step=self._stage.index,
            weight_percent=self._stage.weight_percent,
            step_seconds=watched,
            soak_done=watched >= self._stage.required_seconds,
            stable=passed.stable,
            candidate=passed.candidate,
            independent=passed.independent,
        )
        verdict = self._judge.look(interval)
        if verdict.outcome is Outcome.HEALTHY and self._evidence_seconds[-1] is None:
            self._evidence_seconds[-1] = watched
        return verdict

    def _pass(self, seconds: float) -> Passed:
        """Let time go by, with its traffic; a breaker that trips ends it early."""
        moment = Moment(self._seconds + seconds / 2, self._stage.weight_percent)
        if self._worse_since is None and self._world.worse(moment):
            self._worse_since = self._seconds
        passed, began = self._traffic.interval(moment, seconds=seconds), self._seconds
        self._seconds += seconds
        if self._breaker is not None:
            trip = self._breaker.look(passed, began=began, seconds=seconds)
            if trip is not None:
                self._trip, self._seconds = trip
        requests, failed, callers_failed = passed.cost(until=(self._seconds - began) / seconds)
        self._candidate_requests += requests
        self._failed_requests += failed
        self._callers_failed += callers_failed
        return passed

    def _rolled_back(self, verdict: Verdict) -> Ended:
        """The candidate is given requests until every worker has heard of it."""
        if self._trip is None:
            self._breaker = None
            self._pass(ACTUATION_SECONDS)
        return self._ended(End.ROLLED_BACK, verdict)

    def _harmful(self, verdict: Verdict) -> bool:
        """Whether the candidate is taken away; without health check the breaker alone does it."""
        judged = self._plan.health_check.enabled or self._trip is not None
        return verdict.outcome is Outcome.HARMFUL and judged

    def _decided(self, verdict: Verdict) -> Action:
        """What the conductor would do by the release's record."""
        view = VerdictView(outcome=verdict.outcome.value, sentence=verdict.sentence)
        stage = self._stage.model_copy(update={"verdict": view})
        steps = [stage if step.index == stage.index else step for step in self._steps]
        record = ReleaseRecord.model_construct(
            id="simulated",
            revision=0,
            seq=0,
            created_at="",
            version=self._plan.version_name,
            state=State.SOAKING if self._bake is None else State.BAKING,
            plan=self._plan,
            current_step=min(stage.index, len(steps) - 1),
            steps=steps,
            bake=None if self._bake is None else stage,
            gate=ApprovalView(state="approved"),
            workers=WorkersView(total=1, applied=1),
            weight_percent=stage.weight_percent,
        )
        return decide(record)

    def _ended(self, end: End, verdict: Verdict) -> Ended:
        return Ended(
            end=end,
            seconds=self._seconds,
            worse_since=self._worse_since,
            candidate_requests=self._candidate_requests,
            failed_requests=self._failed_requests,
            callers_failed=self._callers_failed,
            evidence_seconds=tuple(self._evidence_seconds),
            cause="breaker" if self._trip is not None else str(verdict.cause or ""),
            sentence=verdict.sentence,
        )


def _steps_of(plan: Plan) -> list[StepView]:
    return [
        StepView(
            index=index,
            step_percent=percent,
            weight_percent=plan.weight_percent(index),
            required_seconds=plan.auto_promote.step_seconds,
        )
        for index, percent in enumerate(plan.steps_percent)
    ]


def _bake_of(plan: Plan, last: StepView) -> StepView:
    changes = {"index": last.index + 1, "required_seconds": plan.bake.seconds}
    return last.model_copy(update=changes)


def _extended(stage: StepView, *, by_seconds: float) -> StepView:
    longer, times = stage.required_seconds + by_seconds, stage.extensions + 1
    return stage.model_copy(update={"required_seconds": longer, "extensions": times})


def _traffic(plan: Plan, world: World, seed: int) -> Traffic:
    rng = Random(seed)  # noqa: S311 - a seed is to give the same release again
    seconds, failover = plan.judge.interval_seconds, plan.failover
    percent = failover.budget_percent if failover.enabled else 0.0
    if world.callers is None:
        return IndependentTraffic(world, rng, interval_seconds=seconds, failover_percent=percent)
    return StickyTraffic(
        world, world.callers, rng, interval_seconds=seconds, failover_percent=percent
    )


class Held:
    """Whether the soak's clock stands, and for how long it has, by what the judge says is wrong.

    A sick upstream holds at once, other trouble when it lasts; the look at which it is over is
    no soak either.
    """

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._held = False
        self.seconds = 0.0

    def after(self, wrong: str | None) -> bool:
        """Whether the clock stood in this interval."""
        stood = self._held or wrong is not None
        self.seconds = self.seconds + self._interval_seconds if stood else 0.0
        lasts = self.seconds > max(3 * self._interval_seconds, PATIENCE_SECONDS)
        self._held = wrong == UPSTREAM or (wrong is not None and (self._held or lasts))
        return stood
