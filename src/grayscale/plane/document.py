"""A release as the store keeps it: one document, moved along the edges of `release.phases`."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json
from sqlalchemy import Text, bindparam, cast, insert, select, update

from grayscale.clock import rfc3339
from grayscale.errors import Refused
from grayscale.plan.recorded import RecordedPlan
from grayscale.plane import configs, events
from grayscale.plane.actor import Actor
from grayscale.plane.plane import Plane
from grayscale.release.phases import ACTIVE, FINAL, State, may_follow
from grayscale.release.record import ApprovalView, StepView, VerdictView
from grayscale.store import schema
from grayscale.store.database import Tx

_SILENT = frozenset({"release.created", "release.extended"})

_releases, _conductors = schema.releases.c, schema.conductors.c
_TEXT = cast(_releases.document, Text).label("text")
_BY_ID = select(_TEXT).where(_releases.id == bindparam("release_id"))
_NEWEST_OF_VERSION = (
    select(_TEXT)
    .where(_releases.version == bindparam("version"))
    .order_by(_releases.seq.desc())
    .limit(1)
)
_IN_STATES = (
    select(_TEXT)
    .where(_releases.state.in_(bindparam("states", expanding=True)))
    .order_by(_releases.seq)
)
_SAVE = update(schema.releases).where(_releases.id == bindparam("release_id"))
_CONDUCTOR = select(schema.conductors).where(_conductors.release_id == bindparam("of"))
_PUT_CONDUCTOR = update(schema.conductors).where(_conductors.release_id == bindparam("of"))
_TEXTS_KEPT = 256
_REPORT_DUE = select(_conductors.release_id).where(_conductors.report_due.is_(True))


class Trouble(BaseModel):
    """What has been wrong for how long while the soak's clock should have run."""

    model_config = ConfigDict(frozen=True)

    what: str
    seconds: float


class Document(BaseModel):
    """All that is kept of a release beyond the columns that are searched.

    Its fields are set anew; what they hold is never changed, as copies share it.
    """

    model_config = ConfigDict(extra="ignore")

    id: str
    version: str
    state: State
    reason: str | None = None
    cause: str | None = None
    revision: int = 1
    seq: int = 1
    plan: RecordedPlan
    labels: dict[str, str] = Field(default_factory=dict)
    trigger: str = "person"
    created_by: dict[str, Any] = Field(default_factory=dict)
    origin_run_id: str | None = None
    base_version: str | None = None
    salt: str = ""
    current_step: int | None = None
    steps: tuple[StepView, ...]
    bake: StepView | None = None
    gate: ApprovalView | None = None
    verdict: VerdictView | None = None
    version_created: bool = False
    promote_full: bool = False
    promote_now: bool = False
    waiting_run_id: str | None = None
    resume_state: State | None = None
    ending: State | None = None
    config_id: str | None = None
    state_seq: int = 0
    deadline_at: str | None = None
    trouble: Trouble | None = None
    rules_acted: tuple[str, ...] = ()
    created_at: str = ""
    finished_at: str | None = None

    @property
    def stage(self) -> StepView | None:
        """Where the candidate is: a step, or the bake; None before the first split."""
        if self.bake is not None:
            return self.bake
        return None if self.current_step is None else self.steps[self.current_step]

    @property
    def goes_on_in(self) -> State:
        """Where it stands once nothing holds it: what a person has approved is still to be done."""
        if self.gate is not None and self.gate.state == "approved":
            return State.AWAITING_APPROVAL
        return State.BAKING if self.bake is not None else State.SOAKING

    def put_stage(self, **changes: Any) -> None:
        """Change the stage that is running."""
        if self.bake is not None:
            self.bake = self.bake.model_copy(update=changes)
        elif self.current_step is not None:
            self.put_step(self.current_step, **changes)

    def put_step(self, index: int, **changes: Any) -> None:
        """Change one step of the ramp."""
        changed = self.steps[index].model_copy(update=changes)
        self.steps = (*self.steps[:index], changed, *self.steps[index + 1 :])

    def put_gate(self, gate: ApprovalView | None) -> None:
        """Change the gate in front of what comes next, and show it on the step it leads to."""
        self.gate = gate
        following = 0 if self.current_step is None else self.current_step + 1
        if gate is not None and self.bake is None and following < len(self.steps):
            self.put_step(following, approval=gate)

    def drop_gate(self) -> None:
        """Take back a question that nobody has answered."""
        following = 0 if self.current_step is None else self.current_step + 1
        if self.bake is None and following < len(self.steps):
            self.put_step(following, approval=None)
        self.gate = None

    def move(self, state: State, *, reason: str | None, cause: str | None = None) -> None:
        """Go along one edge; raises Refused (409) where there is none."""
        if state is not self.state and not may_follow(self.state, state):
            raise Refused(
                409,
                "release_changed",
                f"Release {self.id} is {self.state.value}; it cannot become {state.value}",
            )
        self.state, self.reason, self.cause = state, reason, cause
        self.revision += 1


async def load(tx: Tx, release_id: str) -> Document:
    """A release by id or by version name (its newest); raises Refused (404)."""
    row = await tx.one(_BY_ID, release_id=release_id)
    if row is None:
        row = await tx.one(_NEWEST_OF_VERSION, version=release_id)
    if row is None:
        raise Refused(
            404,
            "release_not_found",
            f"Release '{release_id}' does not exist; see GET /v1/admin/releases",
            param="id",
        )
    return _read(row["text"])


def _read(text: str) -> Document:
    """A document as it is written: the leader alone reads each of them several times a second."""
    return _parsed(text).model_copy()


@lru_cache(maxsize=_TEXTS_KEPT)
def _parsed(text: str) -> Document:
    return Document.model_validate(from_json(text))


async def in_states(tx: Tx, states: frozenset[State]) -> list[Document]:
    """Every release in one of these states, oldest first."""
    rows = await tx.all(_IN_STATES, states=[state.value for state in states])
    return [_read(row["text"]) for row in rows]


async def active(tx: Tx) -> Document | None:
    """The one release that is under way, if there is one."""
    found = await in_states(tx, ACTIVE)
    return found[0] if found else None


async def add(tx: Tx, document: Document) -> None:
    """Write a new release."""
    await tx.run(
        insert(schema.releases).values(
            id=document.id,
            version=document.version,
            state=document.state.value,
            revision=document.revision,
            document=document,
        )
    )
    await tx.run(
        insert(schema.conductors).values(
            release_id=document.id,
            fence=0,
            lease_left_seconds=int(document.plan.lease.seconds),
            silent_seconds=0,
            wake_seq=1,
            report_due=False,
        )
    )


async def save(tx: Tx, document: Document, *, now: datetime) -> None:
    """Write a release back; a final one gets its time."""
    if document.state in FINAL and document.finished_at is None:
        document.finished_at = rfc3339(now)
    await tx.run(
        _SAVE,
        release_id=document.id,
        version=document.version,
        state=document.state.value,
        revision=document.revision,
        document=document,
    )


async def tell(
    plane: Plane,
    tx: Tx,
    document: Document,
    kind: str,
    *,
    actor: Actor,
    reason: str | None = None,
    extra: dict[str, Any] | None = None,
    channels: tuple[str, ...] | None = None,
) -> str:
    """Write the release's event, and a notice for each of the plan's channels."""
    config = await configs.current(tx)
    wanted = document.plan.notifications.channels if channels is None else channels
    named = [name for name in wanted if plane.settings.notifications.has(name)]
    slack = document.plan.notifications.slack
    hints = {"slack": slack.channel if slack is not None else None}
    conductor = await conductor_of(tx, document.id)
    return await events.append(
        tx,
        event_type=kind,
        now=plane.clock.now(),
        actor=actor,
        release_id=document.id,
        channels=() if kind in _SILENT else [(name, hints.get(name)) for name in named],
        data={
            "version": document.version,
            "state": document.state.value,
            "step_index": document.current_step,
            "weight_percent": config.weights.get(document.version, 0.0),
            "config_id": config.config_id,
            "reason": reason if reason is not None else document.reason,
            "cause": document.cause,
            "verdict": document.verdict.model_dump(mode="json") if document.verdict else None,
            "labels": document.labels,
            "links": links(plane, document.id, conductor["flow_run_id"]),
            **(extra or {}),
        },
    )


async def conductor_of(tx: Tx, release_id: str) -> dict[str, Any]:
    """The conductor's row: who drives, its fence, its lease."""
    row = await tx.one(_CONDUCTOR, of=release_id)
    if row is None:
        raise Refused(404, "release_not_found", f"Release '{release_id}' does not exist")
    return dict(row)


async def put_conductor(tx: Tx, release_id: str, **changes: Any) -> None:
    """Change the conductor's row."""
    await tx.run(_PUT_CONDUCTOR, of=release_id, **changes)


def links(plane: Plane, release_id: str, flow_run_id: str | None) -> dict[str, str | None]:
    """Where to look: the Prefect run and the release's record."""
    prefect = plane.settings.prefect
    ui = prefect.ui_url or prefect.api_url.removesuffix("/api")
    return {
        "prefect": f"{ui}/runs/flow-run/{flow_run_id}" if flow_run_id else None,
        "api": f"/v1/admin/releases/{release_id}",
    }


async def report_due(tx: Tx) -> list[str]:
    """Releases whose end a conductor has still to report in Prefect."""
    rows = await tx.all(_REPORT_DUE)
    return [str(row["release_id"]) for row in rows]
