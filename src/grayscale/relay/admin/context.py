"""What every admin call goes through: key, scope, body, idempotency, errors in one shape."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from grayscale.errors import GrayscaleError, Refused, StoreLost, StoreUnavailable
from grayscale.plan import PlanError
from grayscale.plane import configs, idempotency, snapshots
from grayscale.plane.actor import NOBODY_KNOWN, PREFECT_DOORS, Actor
from grayscale.plane.idempotency import Answer
from grayscale.plane.plane import Plane
from grayscale.relay.admin.takeaways import Ledger
from grayscale.relay.auth import authenticate
from grayscale.relay.reply import error_body, refusal_headers
from grayscale.relay.runtime import Runtime
from grayscale.store.database import Tx
from grayscale.traffic.snapshot import Key, Snapshot

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
_LONGEST_NAME = 128
Handler = Callable[["Call"], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated admin call."""

    plane: Plane
    request: Request
    key: Key
    body: dict[str, Any]

    @property
    def snapshot(self) -> Snapshot | None:
        """The state that this worker serves by: known without the store."""
        runtime: Runtime = self.request.app.state.runtime
        return runtime.snapshot

    @property
    def ledger(self) -> Ledger:
        """This worker's takeaways that are not on record yet."""
        ledger: Ledger = self.request.app.state.ledger
        return ledger

    @property
    def actor(self) -> Actor:
        """Who calls: the key's name."""
        return Actor(self.key.name, via="api")

    @property
    def person(self) -> Actor:
        """Who decides: the key's owner, or whose word a flow hands in.

        Such a name is a claim, and cut to what fits: an abort is never refused for a name.
        """
        via = self.text("via")
        if via not in PREFECT_DOORS:
            return self.actor
        claimed = self.text("by") or self.text("approved_by") or ""
        claimed = "".join(filter(str.isprintable, claimed)).strip()[:_LONGEST_NAME] or NOBODY_KNOWN
        return Actor(claimed, via=via, verified=False)

    def text(self, name: str, default: str | None = None) -> str | None:
        """A text field of the body; Refused (422) if it is something else."""
        value = self.body.get(name, default)
        if value is not None and not isinstance(value, str):
            raise bad_field(name, value, "must be text")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """A yes-or-no field of the body."""
        value = self.body.get(name, default)
        if not isinstance(value, bool):
            raise bad_field(name, value, "must be true or false")
        return value

    def whole(self, name: str) -> int | None:
        """A whole-number field of the body, or None."""
        value = self.body.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise bad_field(name, value, "must be a whole number")
        return value

    def query_number(self, name: str, default: int, *, low: int, high: int) -> int:
        """A whole number of the query string within bounds; Refused (422) otherwise."""
        text = self.request.query_params.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.lstrip("-").isdigit() or not low <= int(text) <= high:
            raise bad_field(name, text, f"must be a whole number from {low} to {high}")
        return int(text)


def bad_field(name: str, value: object, remedy: str) -> Refused:
    """422 naming the field, the value and what to do."""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return Refused(422, "invalid_request", f"{name}: {remedy} (got {shown})", param=name)


def answer(body: object, status: int = 200) -> Response:
    """A JSON answer; models are shown as they are."""
    content = to_json(body, inf_nan_mode="null")
    return Response(content, status_code=status, media_type="application/json")


def refusal(refused: Refused) -> Response:
    """An error answer in API.md's shape."""
    response = Response(error_body(refused), status_code=refused.status)
    response.raw_headers.extend(refusal_headers(refused))
    return response


def translated(error: GrayscaleError) -> Refused:
    """What a caller is told about an error of ours."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, PlanError):
        problems = [asdict(problem) for problem in error.problems]
        param = problems[0].get("field") if problems else None
        return Refused(422, "invalid_plan", str(error), param=param, extra={"problems": problems})
    code = "store_lost" if isinstance(error, StoreLost) else "store_unavailable"
    if isinstance(error, StoreLost | StoreUnavailable):
        return Refused(503, code, str(error), headers={"Retry-After": "1"})
    return Refused(500, "internal_error", str(error))


async def authenticated(plane: Plane, request: Request, scope: str) -> Key:
    """The call's key; Refused 401 without a good one, 403 without the scope (`a|b`: either).

    The worker's snapshot answers, so that an abort needs no store; a key that is too new for it
    is looked up in the store.
    """
    key = await _known_key(plane, request)
    if not any(key.allows(one) for one in scope.split("|")):
        raise Refused(
            403,
            "insufficient_scope",
            f"Key '{key.name}' has no scope {scope.replace('|', ' or ')} "
            f"(it has: {', '.join(sorted(key.scopes))})",
        )
    return key


async def _known_key(plane: Plane, request: Request) -> Key:
    runtime: Runtime = request.app.state.runtime
    now = plane.clock.now()
    try:
        if runtime.snapshot is not None:
            return authenticate(request.headers.raw, runtime.snapshot, now)
    except Refused:
        pass
    fresh = await snapshots.load(plane)
    return authenticate(request.headers.raw, fresh, now)


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON object of the body; an empty body is an empty object."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise Refused(
                413, "request_too_large", f"The body is over {MAX_BODY_BYTES} bytes; send less"
            )
    if not raw.strip():
        return {}
    try:
        data = json.loads(bytes(raw), parse_constant=_no_constant)
        json.dumps(data, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise Refused(422, "invalid_json", f"The body is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise Refused(422, "invalid_json", "The body must be a JSON object")
    return data


async def write_once(
    call: Call, operation: Callable[[Tx], Awaitable[Answer]]
) -> tuple[Answer, bool]:
    """Carry out a write once per Idempotency-Key; returns the answer and whether it is a replay."""
    key = call.request.headers.get("idempotency-key")
    wanted = idempotency.fingerprint(call.request.method, call.request.url.path, call.body)
    async with call.plane.write() as tx:
        if key is not None:
            stored = await idempotency.replay(tx, key, wanted)
            if stored is not None:
                return stored, True
        done = await operation(tx)
        if key is not None:
            now = call.plane.clock.now()
            await idempotency.keep(tx, key, wanted, done, now=now)
    return done, False


async def check_config(call: Call, tx: Tx) -> None:
    """`If-Match` with a config_id: Refused (412) if another config is in force."""
    wanted = call.request.headers.get("if-match")
    if wanted is None:
        return
    config = await configs.current(tx)
    if wanted.strip('"') != config.config_id:
        raise Refused(
            412,
            "config_changed",
            f"The config in force is {config.config_id}, not {wanted}; look again",
            extra={"config": config.view()},
        )


def endpoint(
    plane: Plane, scope: str, handler: Handler
) -> Callable[[Request], Awaitable[Response]]:
    """A Starlette endpoint that checks key and scope, reads the body and translates errors."""

    async def serve(request: Request) -> Response:
        try:
            key = await authenticated(plane, request, scope)
            body = {} if request.method in ("GET", "HEAD") else await read_body(request)
            return await handler(Call(plane, request, key, body))
        except GrayscaleError as error:
            return refusal(translated(error))
        except Exception:  # noqa: BLE001 - the request boundary: raised, it ends the connection
            _log.exception("%s %s failed", request.method, request.url.path)
            return refusal(Refused(500, "internal_error", "The relay failed; it was logged"))

    return serve


def head_of(headers: Mapping[str, str], name: str, default: str) -> str:
    """A header as text (UTF-8, as curl sends it), or its default if it is missing or empty."""
    raw = headers.get(name, "").encode("latin-1")
    try:
        return raw.decode("utf-8").strip() or default
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip() or default


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
