"""`/v1/admin/traffic/*` and `/v1/admin/config/history`."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from grayscale.plane import configs, metrics, splits, workers
from grayscale.plane.configs import Config
from grayscale.plane.idempotency import Answer
from grayscale.plane.plane import Plane
from grayscale.relay.admin import takeaways
from grayscale.relay.admin.context import Call, answer, check_config, write_once
from grayscale.store.database import Tx

_VERIFY_SECONDS = 2.0
_POLL_SECONDS = 0.02


async def set_split(call: Call) -> Response:
    """`POST /admin/traffic/config`: 200 when every live worker runs it, 202 otherwise."""
    split = configs.check_split(call.body.get("traffic_split"))
    reason = call.text("reason") or "not given"

    async def operation(tx: Tx) -> Answer:
        await check_config(call, tx)
        config = await splits.set_by_hand(call.plane, tx, split, actor=call.actor, reason=reason)
        return Answer(200, {**config_answer(config), "state_seq": config.state_seq})

    done, _ = await write_once(call, operation)
    body = dict(done.body)
    status, verified = await verified_on_workers(call.plane, int(body.pop("state_seq")))
    return answer({**body, "workers": verified}, status)


async def verified_on_workers(plane: Plane, state_seq: int) -> tuple[int, dict[str, Any]]:
    """Wait up to 2 s until every live worker runs a state: (200 or 202, the workers)."""
    deadline = plane.clock.monotonic() + _VERIFY_SECONDS
    while True:
        total, applied, lagging = await workers.applied(plane, state_seq)
        if applied == total or plane.clock.monotonic() >= deadline:
            status = 200 if applied == total else 202
            return status, {"total": total, "applied": applied, "lagging": lagging}
        await asyncio.sleep(_POLL_SECONDS)


async def in_force(plane: Plane, state_seq: int | None) -> None:
    """Wait, within the same limit, until what was just written can be used on every worker."""
    if state_seq is not None:
        await verified_on_workers(plane, state_seq)


def config_answer(config: Config) -> dict[str, Any]:
    """A config as the traffic calls show it."""
    return {
        "config_id": config.config_id,
        "previous_config_id": config.previous_config_id,
        "traffic_split": config.by_alias(),
        "aliases": dict(config.aliases),
    }


async def show_split(call: Call) -> Response:
    """`GET /admin/traffic/config`: the split in force."""
    async with call.plane.read() as tx:
        config = await configs.current(tx)
    total, applied, lagging = await workers.applied(call.plane, config.state_seq)
    verified = {"total": total, "applied": applied, "lagging": lagging}
    return answer({**config_answer(config), "workers": verified, **_braked(call, config)})


async def distribution(call: Call) -> Response:
    """`GET /admin/traffic/distribution`."""
    window = await metrics_window(call)
    versions = metrics.distribution(window)
    return answer({**window.head(), "versions": versions, **_braked(call, window.config)})


def _braked(call: Call, config: Config) -> dict[str, list[str]]:
    """The versions that were taken out of traffic, which is not on record yet; {} without any."""
    names = takeaways.unrecorded(call.snapshot, call.plane.brake, config.weights)
    return {"braked": names} if names else {}


async def metrics_window(call: Call) -> metrics.Window:
    """The window that a metrics call asks for, after this worker has flushed."""
    seconds = call.query_number("window_seconds", 300, low=1, high=metrics.MAX_WINDOW_SECONDS)
    await call.request.app.state.flush()
    return await metrics.window(call.plane, seconds)


async def history(call: Call) -> Response:
    """`GET /admin/config/history`, newest first."""
    limit = call.query_number("limit", 50, low=1, high=500)
    after = call.request.query_params.get("after")
    async with call.plane.read() as tx:
        start = await configs.find(tx, after) if after else None
        found = await configs.history(tx, before=start.seq if start else None, limit=limit + 1)
    return answer(
        {"data": [config.view() for config in found[:limit]], "has_more": len(found) > limit}
    )


async def errors(call: Call) -> Response:
    """`GET /admin/metrics/errors`."""
    window = await metrics_window(call)
    return answer({**window.head(), "versions": metrics.errors(window)})


async def latency(call: Call) -> Response:
    """`GET /admin/metrics/latency`."""
    window = await metrics_window(call)
    return answer({**window.head(), "versions": metrics.latency(window)})
