"""Releases: created from a plan, and shown."""

from __future__ import annotations

import secrets
from datetime import date
from typing import Any

from sqlalchemy import select

from grayscale.clock import rfc3339
from grayscale.errors import Refused
from grayscale.plan.models import Plan
from grayscale.plane import configs, conflicts, document, versions
from grayscale.plane.actor import Actor
from grayscale.plane.document import Document
from grayscale.plane.ids import new_id
from grayscale.plane.plane import Plane
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord, StepView, WorkersView
from grayscale.release.sleeping import asleep_until
from grayscale.store import schema
from grayscale.store.database import Tx
from grayscale.traffic.versions import apply_overrides, check_version_name

_WORKERS = select(schema.workers.c.id, schema.workers.c.applied_seq)


async def create(
    plane: Plane,
    tx: Tx,
    plan: Plan,
    *,
    actor: Actor,
    trigger: str = "person",
    origin_run_id: str | None = None,
) -> Document:
    """Write down a new release; raises Refused for a plan that this relay cannot carry out.

    A flow run opens one release, however often and however long afterwards it is tried again.
    """
    opened = await _opened_by(tx, origin_run_id)
    if opened is not None:
        return opened
    now = plane.clock.now()
    name = await _version_name(tx, plan, now.date())
    await _check_plan(plane, tx, plan, name)
    reason = await conflicts.settle(plane, tx, plan, name, actor=actor)
    release = Document(
        id=new_id("rel"),
        version=name,
        state=State.QUEUED,
        reason=reason,
        plan=plan,
        labels=dict(plan.labels),
        trigger=trigger,
        created_by=actor.to_json(),
        origin_run_id=origin_run_id,
        salt=secrets.token_hex(16),
        steps=_steps(plan),
        created_at=rfc3339(now),
    )
    await document.add(tx, release)
    await document.tell(plane, tx, release, "release.created", actor=actor)
    return release


def _steps(plan: Plan) -> tuple[StepView, ...]:
    return tuple(
        StepView(
            index=index,
            step_percent=percent,
            weight_percent=plan.weight_percent(index),
            required_seconds=plan.auto_promote.step_seconds,
        )
        for index, percent in enumerate(plan.steps_percent)
    )


async def _opened_by(tx: Tx, run_id: str | None) -> Document | None:
    if run_id is None:
        return None
    table = schema.releases
    by_run = table.c.document["origin_run_id"].as_string() == run_id
    row = await tx.one(select(table).where(by_run))
    return None if row is None else Document.model_validate(row["document"])


async def record(plane: Plane, tx: Tx, release: Document) -> ReleaseRecord:
    """The record as `GET /admin/releases/{id}` shows it."""
    config = await configs.current(tx)
    conductor = await document.conductor_of(tx, release.id)
    view = ReleaseRecord.model_validate(
        {
            **vars(release),
            "conductor": conductor,
            "workers": await _workers(tx, release),
            "weight_percent": config.weights.get(release.version, 0.0),
            "links": document.links(
                plane, release.id, conductor["flow_run_id"] or release.waiting_run_id
            ),
        }
    )
    until = asleep_until(view, plane.clock.now())
    leased = view.conductor.flow_run_id is not None or until is not None
    if leased and until is None:
        return view
    changes = {"asleep_until": until} if leased else {"lease_left_seconds": None}
    return view.model_copy(update={"conductor": view.conductor.model_copy(update=changes)})


async def listed(
    tx: Tx, *, state: str | None, before: int | None, limit: int
) -> list[tuple[int, Document]]:
    """Releases, newest first: pairs of sequence number and document."""
    table = schema.releases
    statement = select(table).order_by(table.c.seq.desc()).limit(limit)
    if state is not None:
        statement = statement.where(table.c.state == state)
    if before is not None:
        statement = statement.where(table.c.seq < before)
    rows = await tx.all(statement)
    return [(int(row["seq"]), Document.model_validate(row["document"])) for row in rows]


async def seq_of(tx: Tx, release_id: str) -> int | None:
    """The sequence number of a release, to list on from."""
    table = schema.releases
    row = await tx.one(select(table.c.seq).where(table.c.id == release_id))
    return int(row["seq"]) if row else None


async def _version_name(tx: Tx, plan: Plan, today: date) -> str:
    named = plan.resolve_version_name(today) or (await configs.current(tx)).beta
    if named is None:
        raise Refused(
            422,
            "invalid_plan",
            "plan.version_name: is missing, and there is no candidate (beta) to release; name the "
            "version, such as 'v2.1.0'",
            param="plan.version_name",
        )
    return check_version_name(named, param="plan.version_name")


async def _check_plan(plane: Plane, tx: Tx, plan: Plan, name: str) -> None:
    config = await configs.current(tx)
    base = await _base(tx, config, plan.base_version, "plan.base_version")
    for index, rule in enumerate(plan.rollback_rules):
        await _base(tx, config, rule.target_version, f"plan.rollback_rules.{index}.target_version")
    if name == config.stable:
        raise Refused(
            409,
            "version_exists",
            f"Version '{name}' is stable already; give the release another version_name",
            param="plan.version_name",
        )
    existing = await versions.find(tx, name)
    overrides = plan.config_overrides
    if existing is not None and not overrides:
        wanted = existing.config
    else:
        wanted = apply_overrides(base.config, overrides)
        versions.check_upstreams(wanted, plane.upstreams, param="plan.config_overrides")
    if existing is not None and existing.config_hash != wanted.config_hash:
        raise versions.exists_otherwise(name, param="plan.version_name")
    if existing is not None and existing.withdrawn:
        raise Refused(409, "version_withdrawn", f"Version '{name}' was withdrawn")
    if await versions.is_quarantined(tx, wanted.config_hash):
        raise await versions.barred(tx, name, wanted.config_hash, param="plan.version_name")


async def _base(tx: Tx, config: configs.Config, name: str, param: str) -> versions.StoredVersion:
    try:
        return await versions.resolve(tx, config, name)
    except Refused as refused:
        raise Refused(
            422, "version_not_found", f"{param}: {refused.message}", param=param
        ) from refused


async def _workers(tx: Tx, release: Document) -> WorkersView:
    rows = await tx.all(_WORKERS)
    lagging = [row["id"] for row in rows if row["applied_seq"] < release.state_seq]
    return WorkersView(total=len(rows), applied=len(rows) - len(lagging), lagging=lagging)


def summary(release: Document) -> dict[str, Any]:
    """A line of `GET /admin/releases`."""
    return {
        "id": release.id,
        "version": release.version,
        "state": release.state.value,
        "reason": release.reason,
        "cause": release.cause,
        "revision": release.revision,
        "current_step": release.current_step,
        "steps_percent": [step.step_percent for step in release.steps],
        "labels": release.labels,
        "created_at": release.created_at,
        "finished_at": release.finished_at,
    }
