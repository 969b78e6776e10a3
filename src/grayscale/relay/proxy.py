"""The way of a proxied request: who, how much, what, which version; then its exchange."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial

import httpx
from starlette.types import Receive, Scope, Send

from grayscale.errors import Refused
from grayscale.relay.arrival import Arrival, Intake, read_head
from grayscale.relay.auth import authenticate, require
from grayscale.relay.body import Call, read_call
from grayscale.relay.endpoints import Endpoint
from grayscale.relay.exchange import Exchange
from grayscale.relay.model_list import list_models
from grayscale.relay.protocol import CONNECTION, RelayProtocol
from grayscale.relay.reply import Reply
from grayscale.relay.routing import Ask, Choice, Routing, unknown_model
from grayscale.relay.runtime import Runtime
from grayscale.relay.watch import Cause, Interrupted, Watch
from grayscale.traffic.snapshot import Key

_log = logging.getLogger(__name__)
_BYTES_PER_TOKEN = 4  # a first guess, settled when the upstream has said


class Proxy:
    """Serves callers; reads only the runtime, never the store."""

    def __init__(
        self, runtime: Runtime, transports: Mapping[str, httpx.AsyncBaseTransport]
    ) -> None:
        self._runtime = runtime
        self._transports = transports
        self._running = 0

    async def call(self, scope: Scope, receive: Receive, send: Send, endpoint: Endpoint) -> None:
        """Serve one `POST` to a proxied path."""
        arrival = read_head(scope, self._runtime.clock.monotonic())
        connection: RelayProtocol = scope[CONNECTION]
        watch = Watch(total_seconds=self._runtime.limits.total_seconds)
        reply = Reply(send, connection, arrival.request_id, self._runtime.health)
        intake = Intake(receive, arrival, self._runtime.limits, watch)
        self._running += 1
        try:
            connection.watch_caller(partial(watch.interrupt, Cause.CALLER_GONE))
            await self._serve(arrival, intake, endpoint, reply, watch)
        except Refused as refusal:
            await _refuse(refusal, reply, intake)
        except Interrupted as news:
            await _leave(news.cause, reply)
        except Exception:  # noqa: BLE001 - the request boundary
            _log.exception("request %s failed in the relay", arrival.request_id.decode())
            await _apologise(reply)
        finally:
            self._running -= 1
            watch.close()
            connection.unwatch_caller()

    async def models(self, scope: Scope, send: Send) -> None:
        """Serve `GET /v1/models`."""
        arrival = read_head(scope, 0.0)
        reply = Reply(send, scope[CONNECTION], arrival.request_id, self._runtime.health)
        try:
            routing, key = self._admit(arrival)
            await list_models(routing, key, arrival, reply)
        except Refused as refusal:
            await reply.refuse(refusal)

    async def _serve(
        self, arrival: Arrival, intake: Intake, endpoint: Endpoint, reply: Reply, watch: Watch
    ) -> None:
        runtime = self._runtime
        if self._running > runtime.limits.in_flight:
            raise _overloaded(runtime.limits.in_flight)
        routing, key = self._admit(arrival)
        with watch:
            raw = await intake.read()
        call = read_call(raw, endpoint)
        choice = self._choose(routing, key, arrival, call)
        watch.limit_total(choice.route.deadlines.total_seconds)
        guessed = call.size_bytes / _BYTES_PER_TOKEN
        runtime.rates.spend(key, guessed)
        exchange = Exchange(
            runtime,
            self._transports,
            arrival=arrival,
            call=call,
            endpoint=endpoint,
            reply=reply,
            watch=watch,
            config_id=routing.snapshot.config_id,
            failover_percent=routing.snapshot.failover_percent,
        )
        await exchange.run(choice)
        if exchange.usage is not None:
            runtime.rates.spend(key, exchange.usage.total - guessed)

    def _admit(self, arrival: Arrival) -> tuple[Routing, Key]:
        """The routing and the key of a request that may go on; raises Refused."""
        runtime = self._runtime
        routing = runtime.routing
        if routing is None:
            message = "The relay has no configuration yet; its control store cannot be read"
            raise Refused(503, "store_unavailable", message, headers={"Retry-After": "1"})
        key = authenticate(arrival.headers, routing.snapshot, runtime.clock.now())
        require(key, "invoke")
        runtime.rates.admit(key, workers=runtime.workers, now=runtime.clock.monotonic())
        return routing, key

    def _choose(self, routing: Routing, key: Key, arrival: Arrival, call: Call) -> Choice:
        ask = Ask(
            model=call.model,
            key_id=key.id,
            sticky_key=arrival.sticky_key or call.sticky_key,
            pinned=arrival.pinned,
            may_operate=key.allows("operate"),
        )
        choice = routing.choose(ask, self._runtime.is_banned)
        if key.models is not None and choice.route.model not in key.models:
            raise unknown_model(call.model, key.models)
        return choice


async def _refuse(refusal: Refused, reply: Reply, intake: Intake) -> None:
    """Answer no; a body that is still coming is read if small, else the connection closes."""
    if reply.started:
        reply.cut()
        return
    await intake.discard_small()
    if intake.finished:
        await reply.refuse(refusal)
        return
    reply.closing = True
    await reply.refuse(refusal, more=True)
    await intake.linger()
    await reply.end()


async def _leave(cause: Cause, reply: Reply) -> None:
    if cause is Cause.BODY and not reply.started:
        reply.closing = True
        message = "The body did not arrive in time; send it within the limit"
        await reply.refuse(Refused(408, "body_timeout", message))
    else:
        reply.cut()


async def _apologise(reply: Reply) -> None:
    if reply.started:
        reply.cut()
    else:
        await reply.refuse(Refused(500, "internal_error", "The relay failed; it was logged"))


def _overloaded(most: int) -> Refused:
    return Refused(
        503,
        "overloaded",
        f"This worker is serving {most} requests already; try again in a second",
        headers={"Retry-After": "1", "retry-after-ms": "1000"},
    )
