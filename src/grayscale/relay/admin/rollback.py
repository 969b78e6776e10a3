"""`/v1/admin/rollback*`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from starlette.responses import Response

from grayscale.errors import Refused
from grayscale.plane import configs, rollbacks, takeaway
from grayscale.plane.idempotency import Answer
from grayscale.plane.rollbacks import Wanted
from grayscale.relay.admin import takeaways
from grayscale.relay.admin.context import Call, answer, bad_field, check_config, head_of, write_once
from grayscale.relay.admin.traffic import config_answer, verified_on_workers
from grayscale.store import schema
from grayscale.store.database import Tx

_DRAIN_AT_MOST = 600


async def roll_back(call: Call) -> Response:
    """`POST /admin/rollback`: the brake first, then the store; 202 while that can't be written."""
    wanted, actor = _wanted(call), call.person
    pulled = await takeaways.pull_for_rollback(call.plane, call.snapshot, wanted)

    async def operation(tx: Tx) -> Answer:
        await check_config(call, tx)
        config = await rollbacks.roll_back(call.plane, tx, wanted, actor=actor)
        latest = await takeaway.latest_rollback(tx)
        rollback_id = latest["rollback_id"] if latest else None
        body = {"rollback_id": rollback_id, **config_answer(config), "reason": wanted.reason}
        return Answer(200, {**body, "state_seq": config.state_seq})

    what = f"the rollback to {wanted.config_id or wanted.target} by {actor.name}"
    try:
        written = await call.ledger.record(what, lambda: write_once(call, operation))
    except Refused:
        pulled.take_back()
        raise
    if written is None:
        return answer(takeaways.not_recorded(pulled), 202)
    done, replayed = written
    if replayed:
        pulled.take_back()
    body = dict(done.body)
    code, verified = await verified_on_workers(call.plane, int(body.pop("state_seq")))
    body |= {"recorded": True, "workers": verified, "status": await _status(call)}
    return answer(body, code)


async def status(call: Call) -> Response:
    """`GET /admin/rollback/status`."""
    return answer(await _status(call))


async def abort(call: Call) -> Response:
    """`POST /admin/rollback/abort`: a person's gradual rollback only; the weight stays."""

    async def operation(tx: Tx) -> Answer:
        await rollbacks.abort_gradual(call.plane, tx, actor=call.actor)
        return Answer(200, {})

    await write_once(call, operation)
    return answer(await _status(call))


def _wanted(call: Call) -> Wanted:
    headers = call.request.headers
    call.flag("force", default=False)
    drain = call.flag("drain_connections", default=True)
    timeout = call.body.get("drain_timeout_seconds", _DRAIN_AT_MOST)
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not 0 <= timeout <= _DRAIN_AT_MOST:
        remedy = f"must be a number of seconds from 0 to {_DRAIN_AT_MOST}"
        raise bad_field("drain_timeout_seconds", timeout, remedy)
    target_type = call.body.get("target_type", "version")
    config_id = None
    if target_type == "config_id":
        config_id = call.text("config_id")
        if not config_id:
            raise bad_field("config_id", config_id, "must name a config; see config/history")
    elif target_type != "version":
        raise bad_field("target_type", target_type, "must be 'version' or 'config_id'")
    gradual = call.body.get("gradual")
    if gradual is not None and not isinstance(gradual, dict):
        raise bad_field("gradual", gradual, "must be an object")
    return Wanted(
        target=head_of(headers, "x-rollback-target", "stable"),
        config_id=config_id,
        reason=_reason(head_of(headers, "x-rollback-reason", "not given")),
        drain_seconds=float(timeout) if drain else 0.0,
        gradual=None if gradual is None else rollbacks.parse_gradual(gradual),
    )


def _reason(text: str) -> str:
    if len(text) > 500 or not text.isprintable():
        raise Refused(
            422,
            "invalid_request",
            "X-Rollback-Reason: must be at most 500 printable characters",
            param="X-Rollback-Reason",
        )
    return text


async def _status(call: Call) -> dict[str, Any]:
    async with call.plane.read() as tx:
        latest = await takeaway.latest_rollback(tx)
        config = await configs.current(tx)
        rows = await tx.all(select(schema.workers.c.in_flight))
    candidate = config.weights.get(config.beta or "", 0.0)
    waiting = takeaways.unrecorded(call.snapshot, call.plane.brake)
    if config.beta in waiting:
        candidate = 0.0
    if latest is None:
        return {
            "rollback_id": None, "state": "idle", "from_config_id": None, "to_config_id": None,
            "candidate_weight_percent": candidate, "in_flight": 0, "started_at": None,
            "finished_at": None, "actor": None, "reason": None, "recorded": not waiting,
        }  # fmt: skip
    leaving = latest.get("leaving", [])
    return {
        "rollback_id": latest["rollback_id"],
        "state": latest["state"],
        "from_config_id": latest["from_config_id"],
        "to_config_id": latest["to_config_id"],
        "candidate_weight_percent": candidate,
        "in_flight": sum(int(row["in_flight"].get(n, 0)) for row in rows for n in leaving),
        "started_at": latest["started_at"],
        "finished_at": latest["finished_at"],
        "actor": latest["actor"],
        "reason": latest["reason"],
        "recorded": latest["recorded"] and not waiting,
    }
