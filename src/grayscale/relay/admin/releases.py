"""`/v1/admin/releases*`: what people and conductors do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.responses import Response

from grayscale.errors import Refused
from grayscale.plan.loading import plan_from_mapping
from grayscale.plane import conduct, document, events, people, releases, takeaway
from grayscale.plane.actor import Actor
from grayscale.plane.document import Document
from grayscale.plane.idempotency import Answer
from grayscale.plane.orders import Order
from grayscale.relay.admin import takeaways
from grayscale.relay.admin.context import Call, answer, bad_field, write_once
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord
from grayscale.store.database import Tx

_FLOW_RUN_KEY = "flow-run:"
_WAIT_POLL_SECONDS = 0.1


async def create(call: Call) -> Response:
    """`POST /admin/releases {"plan": …}`."""
    data = call.body.get("plan")
    if not isinstance(data, dict):
        raise bad_field("plan", data, "must be an object: the release plan")
    trigger = call.text("trigger", "person")
    if trigger not in ("person", "schedule"):
        raise bad_field("trigger", trigger, "must be 'person' or 'schedule'")
    plan = plan_from_mapping(data)
    key = call.request.headers.get("idempotency-key", "")
    run_id = key.removeprefix(_FLOW_RUN_KEY) if key.startswith(_FLOW_RUN_KEY) else None

    async def operation(tx: Tx) -> Answer:
        release = await releases.create(
            call.plane, tx, plan, actor=call.actor, trigger=trigger, origin_run_id=run_id
        )
        return Answer(201, await _view(call, tx, release))

    done, _ = await write_once(call, operation)
    return answer(done.body, done.status)


async def list_releases(call: Call) -> Response:
    """`GET /admin/releases?state=&limit=&after=`, newest first."""
    limit = call.query_number("limit", 50, low=1, high=500)
    state = call.request.query_params.get("state")
    if state is not None and state not in set(State):
        raise bad_field("state", state, f"must be one of {', '.join(State)}")
    after = call.request.query_params.get("after")
    async with call.plane.read() as tx:
        before = await releases.seq_of(tx, after) if after else None
        found = await releases.listed(tx, state=state, before=before, limit=limit + 1)
    data = [releases.summary(release) for _, release in found[:limit]]
    return answer({"data": data, "has_more": len(found) > limit})


async def show(call: Call) -> Response:
    """`GET /admin/releases/{id}`; a version name means its newest release."""
    return answer(await _look(call))


async def show_events(call: Call) -> Response:
    """`GET …/{id}/events`, oldest first."""
    limit = call.query_number("limit", 200, low=1, high=1000)
    after = call.request.query_params.get("after")
    async with call.plane.read() as tx:
        release = await document.load(tx, _id(call))
        start = await events.seq_of(tx, after) if after else 0
        found = await events.listed(tx, after=start, limit=limit + 1, release_id=release.id)
    data = [envelope for _, envelope in found[:limit]]
    return answer({"data": data, "has_more": len(found) > limit})


async def wait(call: Call) -> Response:
    """`GET …/{id}/wait?for=final|person&timeout_seconds=`: the record, then or at the latest."""
    seconds = call.query_number("timeout_seconds", 30, low=0, high=600)
    what = call.request.query_params.get("for", "final")
    if what not in ("final", "person"):
        raise bad_field("for", what, "must be 'final' or 'person'")
    deadline = call.plane.clock.monotonic() + seconds
    while True:
        async with call.plane.read() as tx:
            release = await document.load(tx, _id(call))
            arrived = release.state.final or (what == "person" and _asks_a_person(release))
            if arrived or call.plane.clock.monotonic() >= deadline:
                return answer(await _view(call, tx, release))
        if await call.request.is_disconnected():
            return answer({}, 499)
        await asyncio.sleep(_WAIT_POLL_SECONDS)


def _asks_a_person(release: Document) -> bool:
    """Whether somebody has to decide; a gate that was decided is only waiting to be taken up."""
    if release.state is State.AWAITING_APPROVAL:
        return release.gate is None or release.gate.state == "waiting"
    return release.state is State.PAUSED


async def claim(call: Call) -> Response:
    """`POST …/{id}/claim {"flow_run_id"}`."""
    run_id = call.text("flow_run_id")
    if not run_id:
        raise bad_field("flow_run_id", run_id, "must name the Prefect flow run")

    async def operation(tx: Tx) -> Answer:
        release = await document.load(tx, _id(call))
        fence = await conduct.claim(call.plane, tx, release, flow_run_id=run_id)
        return Answer(
            200,
            {
                "fence": fence,
                "lease_seconds": release.plan.lease.seconds,
                "release": await _view(call, tx, release),
            },
        )

    done, _ = await write_once(call, operation)
    return answer(done.body, done.status)


async def renew(call: Call) -> Response:
    """`POST …/{id}/renew` with X-Relay-Fence."""
    fence = _header_number(call, "X-Relay-Fence")
    async with call.plane.write() as tx:
        release = await document.load(tx, _id(call))
        await conduct.renew(tx, release, fence=fence)
        return answer(await _view(call, tx, release))


async def act(call: Call) -> Response:
    """`POST …/{id}/act {"verb", "step", "reason"}` with fence, revision and Idempotency-Key."""
    verb = call.text("verb")
    if not verb:
        raise bad_field("verb", verb, "must be given")
    order = Order(
        verb=verb,
        step=call.whole("step"),
        reason=call.text("reason") or "",
        flow_run_id=call.text("flow_run_id"),
    )
    fence = _header_number(call, "X-Relay-Fence")
    revision = _header_number(call, "If-Match")

    async def operation(tx: Tx) -> Answer:
        release = await document.load(tx, _id(call))
        takeaways.refuse_the_ended(call.plane, release.id)
        await conduct.act(call.plane, tx, release, order, fence=fence, revision=revision)
        return Answer(200, await _view(call, tx, release))

    done, replayed = await write_once(call, operation)
    return answer(await _look(call) if replayed else done.body, done.status)


_Deed = Callable[[Call, Tx, Document], Awaitable[Document | None]]


def deed(action: _Deed) -> Callable[[Call], Awaitable[Response]]:
    """An endpoint for something that people do to a release."""

    async def serve(call: Call) -> Response:
        async def operation(tx: Tx) -> Answer:
            release = await document.load(tx, _id(call))
            changed = await action(call, tx, release)
            return Answer(200, await _view(call, tx, changed or release))

        done, _ = await write_once(call, operation)
        return answer(done.body, done.status)

    return serve


async def approve(call: Call, tx: Tx, release: Document) -> None:
    """`approve {"step", "note"}`."""
    await people.approve(
        call.plane, tx, release, actor=_decider(call), step=call.whole("step"), note=_note(call)
    )


async def reject(call: Call, tx: Tx, release: Document) -> None:
    """`reject {"step", "note"}`."""
    await people.reject(
        call.plane, tx, release, actor=_decider(call), step=call.whole("step"), note=_note(call)
    )


async def pause(call: Call, tx: Tx, release: Document) -> None:
    """`pause {"at_stable", "note"}`."""
    at_stable = call.flag("at_stable", default=False)
    await people.pause(
        call.plane, tx, release, actor=call.person, at_stable=at_stable, note=_note(call)
    )


async def resume(call: Call, tx: Tx, release: Document) -> None:
    """`resume {"note"}`."""
    await people.resume(call.plane, tx, release, actor=call.person, note=_note(call))


async def retry(call: Call, tx: Tx, release: Document) -> Document:
    """`retry`: a new release with the same plan."""
    return await people.retry(call.plane, tx, release, actor=call.actor)


async def promote(call: Call, tx: Tx, release: Document) -> None:
    """`promote {"full", "note"}`."""
    full = call.flag("full", default=False)
    await people.promote(call.plane, tx, release, actor=call.actor, full=full, note=_note(call))


async def abort(call: Call) -> Response:
    """`abort {"note"}`: the brake first, then the store; 202 while that cannot be written."""
    actor, note = call.person, _note(call)
    drain = call.flag("drain_connections", default=True)
    pulled = await takeaways.pull_for_release(call.plane, call.snapshot, _id(call), cut=not drain)

    async def operation(tx: Tx) -> Answer:
        release = await document.load(tx, _id(call))
        seconds = takeaway.DRAIN_SECONDS if drain else 0.0
        await people.abort(call.plane, tx, release, actor=actor, note=note, drain_seconds=seconds)
        shown = (await _view(call, tx, release)).model_dump(mode="json")
        return Answer(200, {**shown, "recorded": True})

    what = f"the abort of {_id(call)} by {actor.name}"
    try:
        done = await call.ledger.record(what, lambda: write_once(call, operation))
    except Refused:
        pulled.take_back()
        raise
    if done is None:
        return answer({"id": _id(call), **takeaways.not_recorded(pulled)}, 202)
    return answer(done[0].body, done[0].status)


def _decider(call: Call) -> Actor:
    form = call.text("via") == "prefect-form"
    if not call.key.allows("approve") and not (form and call.key.allows("conduct")):
        raise Refused(
            403,
            "insufficient_scope",
            f"Key '{call.key.name}' may not approve (it has: {', '.join(sorted(call.key.scopes))})",
        )
    return call.person


def _note(call: Call) -> str:
    note = call.text("note") or ""
    if len(note) > 2000:
        raise bad_field("note", note, "must have at most 2000 characters")
    return note


def _id(call: Call) -> str:
    return str(call.request.path_params["id"])


def _header_number(call: Call, name: str) -> int:
    text = call.request.headers.get(name, "").strip('"')
    if not text.isascii() or not text.isdigit():
        raise bad_field(name, text, "the header must be a whole number")
    return int(text)


async def _look(call: Call) -> ReleaseRecord:
    async with call.plane.read() as tx:
        return await _view(call, tx, await document.load(tx, _id(call)))


async def _view(call: Call, tx: Tx, release: Document) -> ReleaseRecord:
    record = await releases.record(call.plane, tx, release)
    braked = takeaways.is_braked(call.snapshot, call.plane.brake, record)
    return record.model_copy(update={"braked": braked})
