"""`/v1/admin/keys`."""

from __future__ import annotations

from pydantic import ValidationError
from starlette.responses import Response

from grayscale.plane import keys
from grayscale.plane.idempotency import Answer
from grayscale.relay.admin.context import Call, answer, bad_field, write_once
from grayscale.relay.admin.traffic import in_force
from grayscale.store.database import Tx


async def create(call: Call) -> Response:
    """`POST /admin/keys`: 201 with `key`, this once."""
    try:
        new = keys.NewKey.model_validate(call.body)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise bad_field(field, first.get("input"), first["msg"]) from error
    async with call.plane.write() as tx:  # never kept for replay: the answer holds the key
        created = await keys.create(tx, new, now=call.plane.clock.now(), actor=call.actor)
    await in_force(call.plane, tx.bumped)
    return answer(created, 201)


async def list_keys(call: Call) -> Response:
    """`GET /admin/keys`: prefix and last four characters, never the key."""
    async with call.plane.read() as tx:
        return answer({"data": await keys.listed(tx), "has_more": False})


async def revoke(call: Call) -> Response:
    """`DELETE /admin/keys/{id}`."""
    key_id = str(call.request.path_params["id"])

    async def operation(tx: Tx) -> Answer:
        await keys.revoke(tx, key_id, now=call.plane.clock.now(), actor=call.actor)
        return Answer(200, {"id": key_id, "revoked": True, "state_seq": tx.bumped})

    done, _ = await write_once(call, operation)
    body = dict(done.body)
    await in_force(call.plane, body.pop("state_seq"))
    return answer(body, done.status)
