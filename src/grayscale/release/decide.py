"""What a conductor does next: a pure function of the release's record.

No I/O, no clock, no Prefect. The relay checks every action again in its own transaction
(fence, revision, phase, verdict, approval), so that a wrong decision cannot raise a weight.
"""

from __future__ import annotations

from dataclasses import dataclass

from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord, StepView
from grayscale.release.soak_clock import of_verdict


@dataclass(frozen=True, slots=True)
class CreateVersion:
    """Create the plan's version (or find it) and make it the candidate."""

    reason: str


@dataclass(frozen=True, slots=True)
class SetSplit:
    """Give the candidate the weight of a step."""

    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Watch:
    """Keep the lease and look again: the step soaks, or the relay is carrying something out."""

    reason: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """As `Watch`, for so long that no process need wait: the relay watches alone meanwhile."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Extend:
    """Soak longer at the same weight, because the evidence is not there yet."""

    reason: str


@dataclass(frozen=True, slots=True)
class AskHuman:
    """Open the gate in front of the next step to people."""

    reason: str


@dataclass(frozen=True, slots=True)
class WaitForHuman:
    """Suspend until a person decides (`approval`) or resumes (`pause`)."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Bake:
    """The last step is over: watch the candidate at full weight once more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Promote:
    """Make the candidate the stable version."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left to do: report the end."""

    state: State
    reason: str


Action = (
    CreateVersion
    | SetSplit
    | Watch
    | Sleep
    | Extend
    | AskHuman
    | WaitForHuman
    | Bake
    | Promote
    | Finish
)


def decide(record: ReleaseRecord) -> Action:  # noqa: PLR0911 - one return per state
    """The one thing to do now."""
    match record.state:
        case State.QUEUED:
            return Watch("another release is under way")
        case State.PREPARING:
            return _prepare(record)
        case State.SOAKING | State.BAKING:
            return _watch_stage(record)
        case State.AWAITING_APPROVAL:
            return _gate(record)
        case State.PAUSED:
            return WaitForHuman("pause", record.reason or "paused by a person")
        case State.HELD:
            return _held(record)
        case State.ROLLING_BACK:
            return Watch("the relay is rolling back")
        case _:
            return Finish(record.state, record.reason or record.state.value)


def _prepare(record: ReleaseRecord) -> Action:
    if not record.version_created:
        return CreateVersion(f"create version {record.version}")
    return _enter_step(record, 0)


def _watch_stage(record: ReleaseRecord) -> Action:
    """A step or the bake: restore the weight, wait out the soak, then go by the verdict."""
    stage = _stage(record)
    if record.weight_percent < stage.weight_percent:
        return SetSplit(_last_step(record, stage), "give back the weight already judged")
    if record.promote_full:
        return _beyond(record, stage)
    if record.workers.applied < record.workers.total:
        return Watch("not every worker runs the split yet")
    if record.bake is not None and stage.required_seconds <= 0:
        return Promote("the plan asks for no bake")
    if stage.watched_seconds < stage.required_seconds and not record.promote_now:
        return _pass_time(record, stage, f"soaking at {stage.step_percent:g} %")
    return _by_verdict(record, stage)


def _by_verdict(record: ReleaseRecord, stage: StepView) -> Action:
    verdict = stage.verdict
    judged = record.plan.health_check.enabled
    if not judged or (verdict is not None and verdict.outcome == "healthy"):
        return _beyond(record, stage)
    if verdict is None or verdict.outcome == "harmful" or of_verdict(verdict.cause) is not None:
        return Watch("no verdict yet" if verdict is None else verdict.sentence)
    if stage.watched_seconds < stage.required_seconds:
        return Watch(f"no verdict yet that permits to leave {stage.step_percent:g} %")
    if stage.extensions < record.plan.judge.max_extensions:
        return Extend(verdict.sentence)
    return AskHuman(verdict.sentence)


def _beyond(record: ReleaseRecord, stage: StepView) -> Action:
    if record.bake is not None:
        return Promote("the bake is over and the gates are green")
    if stage.index + 1 < len(record.steps):
        return _enter_step(record, stage.index + 1)
    return Bake("every step is done")


def _enter_step(record: ReleaseRecord, index: int) -> Action:
    if record.gate is not None and record.gate.state == "approved":
        return SetSplit(index, f"approved by {record.gate.decided_by}")
    if record.plan.asks_before(index) and not record.promote_full:
        return AskHuman(f"the plan asks before {record.steps[index].step_percent:g} %")
    return SetSplit(index, "the gates are green" if index else "the first step")


def _gate(record: ReleaseRecord) -> Action:
    if record.gate is None or record.gate.state != "approved":
        return WaitForHuman("approval", record.reason or "a person is asked")
    reason = f"approved by {record.gate.decided_by}"
    if record.bake is not None:
        return Promote(reason)
    following = 0 if record.current_step is None else record.current_step + 1
    return SetSplit(following, reason) if following < len(record.steps) else Bake(reason)


def _held(record: ReleaseRecord) -> Action:
    if record.cause == "lease_expired" and record.stage is not None:
        step = _last_step(record, record.stage)
        return SetSplit(step, "a conductor is back: give back the weight already judged")
    if record.stage is None:
        return Watch(record.reason or "held")
    return _pass_time(record, record.stage, record.reason or "held")


def _pass_time(record: ReleaseRecord, stage: StepView, reason: str) -> Action:
    """Asleep if it takes long; nobody knows how long a hold takes, so the soak's length counts."""
    left = stage.required_seconds - stage.watched_seconds
    seconds = stage.required_seconds if record.state is State.HELD else left
    long = seconds > record.plan.lease.sleep_above_seconds
    return Sleep(reason, seconds) if long else Watch(reason)


def _last_step(record: ReleaseRecord, stage: StepView) -> int:
    return min(stage.index, len(record.steps) - 1)


def _stage(record: ReleaseRecord) -> StepView:
    if record.stage is None:
        raise ValueError(f"release {record.id} is {record.state}, but no step was ever set")
    return record.stage
