"""What a conductor can order: one function per verb, each checks its own conditions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from math import ceil

from grayscale.errors import Refused
from grayscale.plane import (
    asking,
    configs,
    document,
    holds,
    judging,
    releases,
    takeaway,
    turns,
    versions,
)
from grayscale.plane.actor import Actor
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.release.decide import Sleep, decide
from grayscale.release.phases import State
from grayscale.release.record import StepView
from grayscale.store.database import Tx
from grayscale.traffic.versions import affected_models

_MOVING = frozenset({State.SOAKING, State.BAKING})


@dataclass(frozen=True, slots=True)
class Order:
    """What a conductor asks for: a verb, the step it is about, and why."""

    verb: str
    step: int | None = None
    reason: str = ""
    flow_run_id: str | None = None


async def _create_version(
    plane: Plane, tx: Tx, release: Document, _order: Order, actor: Actor
) -> None:
    _only_in(release, State.PREPARING)
    config = await configs.current(tx)
    if release.version == config.stable:
        await takeaway.roll_back(
            plane, tx, release, actor=actor, cause="superseded", ending=State.SUPERSEDED,
            reason=f"{release.version} became stable while this release waited",
        )  # fmt: skip
        return
    base = await versions.resolve(tx, config, release.base_version or "stable")
    version = await versions.find(tx, release.version)
    if version is None or release.plan.config_overrides:
        version, _ = await versions.create(
            tx,
            name=release.version,
            base=base,
            overrides=release.plan.config_overrides,
            upstreams=plane.upstreams,
            now=plane.clock.now(),
            actor=actor,
        )
    if version.quarantined:
        raise await versions.barred(tx, version.name, version.config_hash)
    if version.withdrawn:
        raise Refused(409, "version_withdrawn", f"Version '{version.name}' was withdrawn")
    plane.brake.lift(version.brake_slot, plane.brake.value(version.brake_slot))
    release.version_created = True
    release.revision += 1
    await document.save(tx, release, now=plane.clock.now())


async def _set_split(plane: Plane, tx: Tx, release: Document, order: Order, actor: Actor) -> None:
    index = _step_of(release, order)
    following = 0 if release.current_step is None else release.current_step + 1
    restoring = index == release.current_step and release.stage is not None
    if restoring:
        _only_in(release, *_MOVING, State.HELD)
    else:
        if index != following:
            raise Refused(409, "step_moved_on", f"Step {index} does not come after the current one")
        _check_raise(release, f"step {index}")
        await _check_unbarred(plane, tx, release)
        if await holds.stopped_by_evidence(plane, tx, release):
            return
    version = await versions.find(tx, release.version)
    if version is None or plane.brake.banned(version.brake_slot):
        raise Refused(409, "release_changed", f"Version '{release.version}' is braked")
    reason = order.reason or f"step {index}"
    if not restoring:
        release.current_step = index
        release.put_gate(None)
        release.put_stage(state="running")
        if index:
            release.put_step(index - 1, state="done")
        release.promote_now = False
    state = State.BAKING if release.bake is not None else State.SOAKING
    release.move(state, reason=reason)
    await judging.begin(tx, release)
    await _put_split(plane, tx, release, version, actor=actor, reason=reason)
    await document.tell(plane, tx, release, "release.step_started", actor=actor)


async def _put_split(
    plane: Plane,
    tx: Tx,
    release: Document,
    version: versions.StoredVersion,
    *,
    actor: Actor,
    reason: str,
) -> None:
    before = await configs.current(tx)
    stable = await versions.resolve(tx, before, "stable")
    weight = release.steps[release.current_step or 0].weight_percent
    config = await configs.put(
        tx,
        replace(
            before,
            weights={before.stable: 100.0 - weight, version.name: weight},
            aliases={**before.aliases, "beta": version.name},
            release_id=release.id,
            step=release.current_step,
            salt=release.salt,
            affected=tuple(sorted(affected_models(stable.config, version.config))),
            sticky_by=release.plan.assignment.by,
            failover_percent=(
                int(release.plan.failover.budget_percent) if release.plan.failover.enabled else 0
            ),
        ),
        now=plane.clock.now(),
        actor=actor,
        reason=reason,
    )
    release.config_id, release.state_seq = config.config_id, config.state_seq


async def _extend(plane: Plane, tx: Tx, release: Document, order: Order, actor: Actor) -> None:
    stage = _stage(release)
    _only_in(release, *_MOVING)
    if stage.extensions >= release.plan.judge.max_extensions:
        raise Refused(409, "release_changed", "The soak was extended as often as the plan allows")
    release.put_stage(
        extensions=stage.extensions + 1,
        required_seconds=stage.required_seconds + _soak_seconds(release),
    )
    release.reason = order.reason
    release.revision += 1
    await document.tell(plane, tx, release, "release.extended", actor=actor, reason=order.reason)


async def _ask(plane: Plane, tx: Tx, release: Document, order: Order, actor: Actor) -> None:
    asked = asking.open_question(release)
    why = asked.why if asked else order.reason
    await asking.ask(plane, tx, release, why=why, actor=actor, asked=asked)


async def _wait(plane: Plane, tx: Tx, release: Document, order: Order, _actor: Actor) -> None:
    """The conductor goes to sleep behind a form: it holds no lease while a person thinks."""
    _only_in(release, State.AWAITING_APPROVAL, State.PAUSED)
    release.waiting_run_id = order.flow_run_id
    await document.put_conductor(tx, release.id, flow_run_id=None, silent_seconds=0)
    await document.save(tx, release, now=plane.clock.now())


async def _sleep(plane: Plane, tx: Tx, release: Document, order: Order, _actor: Actor) -> None:
    """The conductor goes until its step's deadline; its fence is worth nothing from now on."""
    action = decide(await releases.record(plane, tx, release))
    if not isinstance(action, Sleep):
        raise Refused(
            409, "release_changed", f"Release {release.id} cannot be left alone: {action.reason}"
        )
    conductor = await document.conductor_of(tx, release.id)
    release.waiting_run_id = order.flow_run_id
    await document.put_conductor(
        tx,
        release.id,
        flow_run_id=None,
        fence=int(conductor["fence"]) + 1,
        silent_seconds=0,
        lease_left_seconds=ceil(action.seconds + release.plan.lease.asleep_grace_seconds),
    )


async def _bake(plane: Plane, tx: Tx, release: Document, order: Order, actor: Actor) -> None:
    _only_in(release, State.SOAKING, State.AWAITING_APPROVAL)
    if release.current_step != len(release.steps) - 1:
        raise Refused(409, "step_moved_on", "Only the last step is followed by the bake")
    _check_raise(release, "the bake")
    if await holds.stopped_by_evidence(plane, tx, release):
        return
    last = release.steps[-1]
    release.put_stage(state="done")
    if release.plan.bake.seconds > 0:  # else what permits the bake permits the promotion
        release.put_gate(None)
        release.promote_now = False
    release.bake = StepView(
        index=len(release.steps),
        step_percent=last.step_percent,
        weight_percent=last.weight_percent,
        required_seconds=release.plan.bake.seconds,
        state="running",
    )
    release.move(State.BAKING, reason=order.reason)
    await document.tell(plane, tx, release, "release.baking", actor=actor)


async def _promote(plane: Plane, tx: Tx, release: Document, order: Order, actor: Actor) -> None:
    _only_in(release, State.BAKING, State.AWAITING_APPROVAL)
    if release.bake is None:
        raise Refused(409, "step_moved_on", "The bake has not begun")
    _check_raise(release, "the promotion")
    if await holds.stopped_by_evidence(plane, tx, release):
        return
    version = await versions.find(tx, release.version)
    if version is None or plane.brake.banned(version.brake_slot):
        raise Refused(409, "release_changed", f"Version '{release.version}' is braked")
    release.put_stage(state="done")
    if release.state is State.AWAITING_APPROVAL:
        release.move(State.BAKING, reason=order.reason)
    release.move(State.PROMOTED, reason=order.reason)
    before = await configs.current(tx)
    config = await configs.put(
        tx,
        replace(
            before,
            weights={version.name: 100.0},
            aliases={"stable": version.name, "previous": before.stable},
            step=None,
            affected=None,
            salt="",
        ),
        now=plane.clock.now(),
        actor=actor,
        reason=order.reason,
    )
    release.config_id, release.state_seq = config.config_id, config.state_seq
    await versions.mark_promoted(tx, version.name, now=plane.clock.now())
    await document.put_conductor(tx, release.id, report_due=True)
    await document.save(tx, release, now=plane.clock.now())
    await document.tell(plane, tx, release, "release.promoted", actor=actor)


async def _fail(plane: Plane, tx: Tx, release: Document, order: Order, actor: Actor) -> None:
    if release.state is State.PREPARING and release.current_step is None:
        release.move(State.FAILED, reason=order.reason, cause="conductor")
        await document.put_conductor(tx, release.id, report_due=True)
        await document.save(tx, release, now=plane.clock.now())
        await document.tell(plane, tx, release, "release.failed", actor=actor)
        return
    await takeaway.roll_back(
        plane, tx, release, actor=actor, reason=order.reason, cause="conductor",
        ending=State.FAILED,
    )  # fmt: skip


_Verb = Callable[[Plane, Tx, Document, Order, Actor], Awaitable[None]]
VERBS: dict[str, _Verb] = {
    "create_version": _create_version,
    "set_split": _set_split,
    "extend": _extend,
    "ask": _ask,
    "wait": _wait,
    "sleep": _sleep,
    "bake": _bake,
    "promote": _promote,
    "fail": _fail,
}


def _check_raise(release: Document, what: str) -> None:
    """No weight rises without a verdict or a person (rule 1, second half)."""
    approved = release.gate is not None and release.gate.state == "approved"
    if approved or release.promote_full:
        _only_in(release, State.PREPARING, State.AWAITING_APPROVAL, *_MOVING)
        return
    following = 0 if release.current_step is None else release.current_step + 1
    if (
        release.bake is None
        and following < len(release.steps)
        and release.plan.asks_before(following)
    ):
        raise Refused(409, "release_changed", f"A person must approve {what} first")
    stage = release.stage
    if stage is None:
        _only_in(release, State.PREPARING)
        return
    if release.bake is not None and release.plan.bake.seconds <= 0:
        stage = release.steps[-1]
    _only_in(release, *_MOVING)
    soaked = stage.watched_seconds >= stage.required_seconds or release.promote_now
    healthy = stage.verdict is not None and stage.verdict.outcome == "healthy"
    if not soaked or not (healthy or not release.plan.health_check.enabled):
        raise Refused(
            409,
            "release_changed",
            f"Not ready for {what}: {stage.watched_seconds:g} of {stage.required_seconds:g} s "
            f"watched, verdict {stage.verdict.outcome if stage.verdict else 'none'}",
        )


async def _check_unbarred(plane: Plane, tx: Tx, release: Document) -> None:
    """Cooldown and hourly limit bar what no person asked for."""
    if release.promote_full or (release.gate is not None and release.gate.state == "approved"):
        return
    barred = await turns.barred_until(plane, tx, release)
    if barred is not None:
        raise Refused(409, "release_changed", f"Release {release.id} may not be raised: {barred}")


def _only_in(release: Document, *states: State) -> None:
    if release.state not in states:
        raise Refused(
            409,
            "release_changed",
            f"Release {release.id} is {release.state.value}, not "
            f"{' or '.join(state.value for state in states)}",
        )


def _step_of(release: Document, order: Order) -> int:
    if order.step is None or not 0 <= order.step < len(release.steps):
        raise Refused(
            422,
            "unknown_step",
            f"step: {order.step!r} is not a step of the plan (0 to {len(release.steps) - 1})",
            param="step",
        )
    return order.step


def _stage(release: Document) -> StepView:
    if release.stage is None:
        raise Refused(409, "release_changed", "No step has begun yet")
    return release.stage


def _soak_seconds(release: Document) -> float:
    if release.bake is not None:
        return release.plan.bake.seconds
    return release.plan.auto_promote.step_seconds
