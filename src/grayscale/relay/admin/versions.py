"""`/v1/admin/versions`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from starlette.responses import Response

from grayscale.plane import configs, document, versions
from grayscale.plane.actor import Actor
from grayscale.plane.idempotency import Answer
from grayscale.plane.plane import Plane
from grayscale.relay.admin.context import Call, answer, bad_field, check_config, write_once
from grayscale.relay.admin.traffic import in_force
from grayscale.store.database import Tx


class _Word(Protocol):
    """What a person says about a version."""

    async def __call__(
        self, plane: Plane, tx: Tx, name: str, *, actor: Actor, reason: str
    ) -> versions.StoredVersion: ...


async def list_versions(call: Call) -> Response:
    """`GET /admin/versions` and `/admin/versions/list`."""
    async with call.plane.read() as tx:
        config = await configs.current(tx)
        stored = await versions.every(tx)
    return answer({"data": [version.view(config) for version in stored], "has_more": False})


async def show_version(call: Call) -> Response:
    """`GET /admin/versions/{name}`; an alias will do."""
    async with call.plane.read() as tx:
        config = await configs.current(tx)
        version = await versions.resolve(tx, config, call.request.path_params["name"])
    return answer(version.view(config))


async def create_version(call: Call) -> Response:
    """`POST /admin/versions`: 201, or 200 if it is there already."""
    name = call.text("name")
    if not name:
        raise bad_field("name", name, "must be given, such as 'v2.1.0-beta'")
    base_name = call.text("base_version", "stable") or "stable"
    overrides = call.body.get("config_overrides")
    overrides = {} if overrides is None else overrides
    if not isinstance(overrides, dict):
        raise bad_field("config_overrides", overrides, "must be an object (a JSON merge patch)")

    async def operation(tx: Tx) -> Answer:
        await check_config(call, tx)
        config = await configs.current(tx)
        base = await versions.resolve(tx, config, base_name)
        version, new = await versions.create(
            tx,
            name=name,
            base=base,
            overrides=overrides,
            upstreams=call.plane.upstreams,
            now=call.plane.clock.now(),
            actor=call.actor,
        )
        if new or config.beta is None:
            config = await _made_candidate(call, tx, config, version)
        return Answer(201 if new else 200, {**version.view(config), "state_seq": tx.bumped})

    done, _ = await write_once(call, operation)
    body = dict(done.body)
    await in_force(call.plane, body.pop("state_seq"))
    return answer(body, done.status)


def said(act: _Word) -> Callable[[Call], Awaitable[Response]]:
    """An endpoint for a person's word about a version: `{"reason"}`."""

    async def serve(call: Call) -> Response:
        reason = call.text("reason") or "not given"

        async def operation(tx: Tx) -> Answer:
            name = str(call.request.path_params["name"])
            version = await act(call.plane, tx, name, actor=call.actor, reason=reason)
            config = await configs.current(tx)
            return Answer(200, {**version.view(config), "state_seq": tx.bumped})

        done, _ = await write_once(call, operation)
        body = dict(done.body)
        await in_force(call.plane, body.pop("state_seq"))
        return answer(body, done.status)

    return serve


async def _made_candidate(
    call: Call, tx: Tx, config: configs.Config, version: versions.StoredVersion
) -> configs.Config:
    """The version becomes `beta`, unless a release is under way or it may have no traffic."""
    barred = version.quarantined or version.withdrawn or version.name == config.stable
    if barred or await document.active(tx) is not None:
        return config
    return await configs.put(
        tx,
        replace(config, aliases={**config.aliases, "beta": version.name}),
        now=call.plane.clock.now(),
        actor=call.actor,
        reason=f"version {version.name} created",
    )
