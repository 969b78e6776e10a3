"""One simulated release, from its first split to its end, as the product conducts it.

What follows a soak is asked of `grayscale.release.decide`, which the conductor asks too. A person
who is asked before a step says yes at once; one who is asked for lack of evidence ends the story.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from grayscale.judge import Arm, Interval, Outcome, Verdict
from grayscale.judge.values import Cause
from grayscale.plan.models import Plan
from grayscale.release.decide import Action, Bake, Extend, Promote, SetSplit, decide
from grayscale.release.phases import State
from grayscale.release.record import (
    ApprovalView,
    ReleaseRecord,
    StepView,
    VerdictView,
    WorkersView,
)
from grayscale.simulation.judging import NewJudge, OwnJudge
from grayscale.simulation.traffic import Traffic
from grayscale.simulation.world import Moment, World

ACTUATION_SECONDS = 2.0
"""From a harmful verdict to the last request that the candidate is given."""


class End(StrEnum):
    """How a simulated release ends."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Ended:
    """A simulated release that is over.

    `differed_at` is when the candidate first was anything but stable's twin (None: never), and
    `evidence_seconds` how long each step was watched until its first healthy verdict.
    """

    end: End
    seconds: float
    differed_at: float | None
    candidate_requests: int
    failed_requests: int
    evidence_seconds: tuple[float | None, ...]
    cause: str
    sentence: str

    @property
    def detected_after(self) -> float | None:
        """Seconds from the first difference to a rollback; None if it was none, or came before."""
        if self.end is not End.ROLLED_BACK or self.differed_at is None:
            return None
        return self.seconds - self.differed_at if self.seconds > self.differed_at else None


def run(plan: Plan, world: World, seed: int, *, new_judge: NewJudge = OwnJudge) -> Ended:
    """Carry out one release of this plan in this world."""
    return Rollout(plan, world, seed, new_judge=new_judge).to_its_end()


class Rollout:
    """One release under way: where it is, and what it has cost so far."""

    def __init__(self, plan: Plan, world: World, seed: int, *, new_judge: NewJudge) -> None:
        self._plan = plan
        self._world = world
        self._judge = new_judge(plan)
        self._interval_seconds = plan.judge.interval_seconds
        self._traffic = Traffic(world, _lots(seed), interval_seconds=self._interval_seconds)
        self._steps = _steps_of(plan)
        self._bake: StepView | None = None
        self._stage = self._steps[0]
        self._looks = 0
        self._seconds = 0.0
        self._differed_at: float | None = None
        self._candidate_requests = self._failed_requests = 0
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

        While the upstream is sick the release is held: that time is not soak.
        """
        once, watched, held = self._stage.required_seconds, 0.0, False
        self._evidence_seconds.append(None)
        while True:
            watched += 0.0 if held else self._interval_seconds
            verdict = self._look(watched)
            if self._harmful(verdict):
                return verdict
            held = verdict.cause is Cause.UPSTREAM and self._plan.health_check.enabled
            if held or watched < self._stage.required_seconds:
                continue
            self._stage = self._stage.model_copy(update={"watched_seconds": watched})
            if not isinstance(self._decided(verdict), Extend):
                return verdict
            self._stage = _extended(self._stage, by_seconds=once)

    def _look(self, watched: float) -> Verdict:
        """One interval of traffic, and what the judge says of it."""
        stable, candidate = self._pass(self._interval_seconds)
        self._looks += 1
        interval = Interval(
            id=self._looks,
            seconds=self._interval_seconds,
            step=self._stage.index,
            weight_percent=self._stage.weight_percent,
            step_seconds=watched,
            soak_done=watched >= self._stage.required_seconds,
            stable=stable,
            candidate=candidate,
        )
        verdict = self._judge.look(interval)
        if verdict.outcome is Outcome.HEALTHY and self._evidence_seconds[-1] is None:
            self._evidence_seconds[-1] = watched
        return verdict

    def _pass(self, seconds: float) -> tuple[Arm, Arm]:
        """Let time go by, with its traffic."""
        moment = Moment(self._seconds + seconds / 2, self._stage.weight_percent)
        if self._differed_at is None and self._world.differs(moment):
            self._differed_at = self._seconds
        stable, candidate = self._traffic.interval(moment, seconds=seconds)
        self._seconds += seconds
        self._candidate_requests += candidate.requests
        self._failed_requests += candidate.errors
        return stable, candidate

    def _rolled_back(self, verdict: Verdict) -> Ended:
        """The candidate is given requests until every worker has heard of it."""
        self._pass(ACTUATION_SECONDS)
        return self._ended(End.ROLLED_BACK, verdict)

    def _harmful(self, verdict: Verdict) -> bool:
        """Whether the guard acts; a plan without health check leaves that to people."""
        return verdict.outcome is Outcome.HARMFUL and self._plan.health_check.enabled

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
            differed_at=self._differed_at,
            candidate_requests=self._candidate_requests,
            failed_requests=self._failed_requests,
            evidence_seconds=tuple(self._evidence_seconds),
            cause=str(verdict.cause or ""),
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


def _lots(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - a seed is to give the same release again
