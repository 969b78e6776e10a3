"""A release as everybody sees it: the answer of `GET /admin/releases/{id}` (API.md, Releases)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from grayscale.plan.recorded import RecordedPlan
from grayscale.release.phases import State


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ApprovalView(_View):
    """The gate in front of a step: who was asked until when, and what they said.

    Where the evidence did not suffice, `why` holds its numbers and the `suggestion`, and
    `wait_seconds` is how long the requests that are missing will take to come.
    """

    state: Literal["waiting", "approved", "rejected"]
    asked_at: str | None = None
    deadline: str | None = None
    why: str | None = None
    suggestion: str | None = None
    wait_seconds: float | None = None
    decided_at: str | None = None
    decided_by: str | None = None
    via: str | None = None
    verified: bool | None = None
    note: str | None = None


class VerdictView(_View):
    """The judge's last answer."""

    outcome: Literal["healthy", "harmful", "inconclusive"]
    cause: str | None = None
    sentence: str = ""
    evidence: dict[str, Any] = Field(default_factory=dict)


class StepView(_View):
    """One weight of the ramp; `approval` is the gate that was, or is, in front of this step.

    `unwatched` says what stopped the soak's clock, and for how many seconds: `stale_metrics`,
    `split`, `upstream`, `lease`, `paused`, `approval`. Requests and `observed_percent` are those
    of the whole step, while its own split was in force.
    """

    index: int
    step_percent: float
    weight_percent: float
    observed_percent: float | None = None
    state: Literal["pending", "running", "done"] = "pending"
    watched_seconds: float = 0.0
    required_seconds: float = 0.0
    unwatched: dict[str, float] = Field(default_factory=dict)
    stable_requests: int = 0
    candidate_requests: int = 0
    extensions: int = 0
    verdict: VerdictView | None = None
    approval: ApprovalView | None = None


class ConductorView(_View):
    """Who drives the release right now; while it sleeps nobody does, until then at the latest."""

    flow_run_id: str | None = None
    fence: int = 0
    lease_left_seconds: float | None = None
    asleep_until: str | None = None


class WorkersView(_View):
    """How many live workers run the release's current config: the split is verified when all do."""

    total: int = 0
    applied: int = 0
    lagging: list[str] = Field(default_factory=list)


class ReleaseRecord(_View):
    """The whole record. `current_step` is None until the first split is set.

    `bake` has the index after the last step and is None before it begins. `gate` is the approval
    in front of whatever comes next (a step, the bake, the promotion), if one was asked for here.
    `weight_percent` is what the candidate has on record; `braked` says that it was taken out of
    traffic since, and that this is not on record yet. `seq` is the number that the next decision's
    Idempotency-Key carries (`<release>:<seq>:<verb>`).
    """

    id: str
    version: str
    state: State
    reason: str | None = None
    cause: str | None = None
    revision: int
    seq: int
    plan: RecordedPlan
    labels: dict[str, str] = Field(default_factory=dict)
    current_step: int | None = None
    steps: list[StepView]
    bake: StepView | None = None
    gate: ApprovalView | None = None
    verdict: VerdictView | None = None
    conductor: ConductorView = ConductorView()
    workers: WorkersView = WorkersView()
    weight_percent: float = 0.0
    braked: bool = False
    config_id: str | None = None
    version_created: bool = False
    promote_full: bool = False
    promote_now: bool = False
    trigger: str = "person"
    base_version: str | None = None
    waiting_run_id: str | None = None
    created_at: str
    finished_at: str | None = None
    links: dict[str, str | None] = Field(default_factory=dict)

    @property
    def stage(self) -> StepView | None:
        """Where the candidate is: a step, or the bake; None before the first split."""
        if self.bake is not None:
            return self.bake
        return None if self.current_step is None else self.steps[self.current_step]
