"""A routed request to its end: one attempt, perhaps a stand-in, exactly one outcome each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from grayscale.errors import Refused
from grayscale.relay.arrival import Arrival
from grayscale.relay.asked import PLAIN_TEXT
from grayscale.relay.attempt import AttemptFailed, Opened, Whole, attempt, timed_out
from grayscale.relay.body import Call
from grayscale.relay.endpoints import Endpoint
from grayscale.relay.headers import RawHeaders, caller_headers, upstream_headers
from grayscale.relay.meter import Tally, Timing
from grayscale.relay.metering import Usage
from grayscale.relay.reply import Reply, error_body, refusal_headers
from grayscale.relay.routing import Choice, Route
from grayscale.relay.runtime import Runtime
from grayscale.relay.sse import EventScanner
from grayscale.relay.streaming import StreamRelay
from grayscale.relay.watch import Cause, Interrupted, Watch
from grayscale.traffic.counters import CellKey
from grayscale.traffic.outcomes import FAILURES, Assignment, Outcome

_FROM_UPSTREAM = (b"x-relay-error-source", b"upstream")
_OWN_TIMEOUTS = {
    Cause.FIRST_BYTE: "no first byte within the limit",
    Cause.IDLE: "no data within the limit",
    Cause.TOTAL: "the answer took longer than the limit",
}


@dataclass(slots=True)
class _Serving:
    """One version serving the request: its route, why it was chosen, and its counting."""

    route: Route
    assignment: Assignment
    body: bytes
    tally: Tally
    sent: float


class Exchange:
    """One request, from its routed call to the end of its answer."""

    def __init__(
        self,
        runtime: Runtime,
        transports: Mapping[str, httpx.AsyncBaseTransport],
        *,
        arrival: Arrival,
        call: Call,
        endpoint: Endpoint,
        reply: Reply,
        watch: Watch,
        config_id: str,
        failover_percent: float,
    ) -> None:
        self._runtime = runtime
        self._transports = transports
        self._arrival = arrival
        self._call = call
        self._endpoint = endpoint
        self._reply = reply
        self._watch = watch
        self._config_id = config_id
        self._failover_percent = failover_percent
        self._clock = runtime.clock.monotonic  # uvloop rounds its own to milliseconds
        self.usage: Usage | None = None

    async def run(self, choice: Choice) -> None:
        """Serve the request by the chosen version, or by its stand-in if that fails in time."""
        route, assignment, stand_in = choice.route, choice.assignment, choice.stand_in
        if stand_in is not None:
            self._runtime.failover.earn(self._failover_percent)
        rescues: Tally | None = None
        while True:
            serving = self._begin(route, assignment, choice, rescues)
            try:
                if await self._serve(serving, may_fail_over=stand_in is not None):
                    return
            finally:
                self._runtime.in_flight.remove(route.version, self._watch)
                serving.tally.gone(None)  # counts only if nothing else ended it
            if stand_in is None:
                raise RuntimeError("a request without a stand-in was to be served again")
            route, assignment, stand_in = stand_in, Assignment.FAILOVER, None
            rescues = serving.tally

    def _begin(
        self, route: Route, assignment: Assignment, choice: Choice, rescues: Tally | None
    ) -> _Serving:
        body = route.rewrite(self._call, model=route.target_model, endpoint=self._endpoint)
        key = CellKey(
            config_id=self._config_id,
            version=route.version,
            model=route.model,
            upstream=route.target.name,
            assignment=assignment.value,
            stream=self._call.stream,
        )
        tally = self._runtime.start(key, route.price, choice, rescues=rescues)
        self._runtime.in_flight.add(route.version, self._watch)
        return _Serving(route, assignment, body, tally, sent=self._clock())

    async def _serve(self, serving: _Serving, *, may_fail_over: bool) -> bool:
        """Whether the request has its answer; False if the stand-in is to serve it."""
        try:
            with self._watch:
                answer = await self._attempt(serving)
        except AttemptFailed as failure:
            return await self._fail(serving, failure, may_fail_over=may_fail_over)
        except Interrupted as news:
            return await self._stopped(serving, news.cause, may_fail_over=may_fail_over)
        if isinstance(answer, Opened):
            await self._stream(serving, answer)
        else:
            await self._answer(serving, answer)
        return True

    async def _attempt(self, serving: _Serving) -> Whole | Opened:
        route = serving.route
        deadlines = route.deadlines
        request = httpx.Request(
            "POST",
            route.target.urls[self._endpoint.path],
            headers=upstream_headers(
                self._arrival.headers,
                route.target.headers,
                request_id=self._arrival.request_id,
                content_length=len(serving.body),
            ),
            stream=httpx.ByteStream(serving.body),
            extensions={"timeout": deadlines.transport},
        )
        self._watch.expect(Cause.FIRST_BYTE, deadlines.first_byte_seconds)
        return await attempt(
            self._transports[route.target.name],
            request,
            watch=self._watch,
            idle_seconds=deadlines.idle_seconds,
            scanner=self._scanner(),
            asked=self._call.asked,
        )

    def _scanner(self) -> EventScanner | None:
        call = self._call
        if not call.stream:
            return None
        strips_usage = self._runtime.settings.metering == "usage" and not call.wants_usage
        return EventScanner(strips_usage=strips_usage, asked=call.asked or PLAIN_TEXT)

    async def _fail(
        self, serving: _Serving, failure: AttemptFailed, *, may_fail_over: bool
    ) -> bool:
        """Count the failure; answer it, unless the stand-in is to serve (then False)."""
        fails_over = (
            may_fail_over
            and failure.outcome in FAILURES
            and self._runtime.may_retry(serving.route.brake_slot, self._failover_percent)
        )
        serving.tally.failed(failure.outcome, failure.code, failed_over=fails_over)
        if fails_over:
            return False
        answer = failure.answer
        if isinstance(answer, Refused):
            await self._send(serving, answer.status, refusal_headers(answer), error_body(answer))
        else:
            headers = [*caller_headers(answer.headers), _FROM_UPSTREAM]
            await self._send(serving, answer.status, headers, answer.body)
        return True

    async def _stopped(self, serving: _Serving, cause: Cause, *, may_fail_over: bool) -> bool:
        """Out of time, the caller left, or the version was cut before anything was sent."""
        if cause in _OWN_TIMEOUTS:
            may_fail_over = may_fail_over and cause is not Cause.TOTAL
            failure = timed_out(_OWN_TIMEOUTS[cause])
            return await self._fail(serving, failure, may_fail_over=may_fail_over)
        serving.tally.gone(self._clock() - self._arrival.received)
        if cause is not Cause.CUT:
            self._reply.cut()
            return True
        if may_fail_over:
            return False
        message = "The version that was to answer was taken out of traffic; send the request again"
        refusal = Refused(503, "version_withdrawn", message, headers={"Retry-After": "1"})
        await self._send(serving, 503, refusal_headers(refusal), error_body(refusal))
        return True

    async def _answer(self, serving: _Serving, answer: Whole) -> None:
        self._spent(serving, answer.signals.usage)
        headers = caller_headers(answer.headers)
        if answer.outcome is Outcome.OK:
            serving.tally.ok(Timing(self._arrival.received, None, self._clock()), answer.signals)
        else:
            serving.tally.failed(answer.outcome, answer.status)
            headers.append(_FROM_UPSTREAM)
        await self._send(serving, answer.status, headers, answer.body)

    async def _send(self, serving: _Serving, status: int, headers: RawHeaders, body: bytes) -> None:
        self._label(serving, headers)
        await self._reply.whole(status, headers, body)

    async def _stream(self, serving: _Serving, opened: Opened) -> None:
        opened.headers = caller_headers(opened.headers)
        self._label(serving, opened.headers)
        idle_seconds = serving.route.deadlines.idle_seconds
        relay = StreamRelay(
            opened, self._reply, self._watch, clock=self._clock, idle_seconds=idle_seconds
        )
        try:
            end = await relay.run()
            self._spent(serving, opened.scanner.usage)
            if end.complete:
                timing = Timing(self._arrival.received, end.first_content, self._clock())
                serving.tally.ok(timing, opened.scanner.signals())
                await relay.drain()
            elif end.left or end.cut:
                waited = None if end.first_content else self._clock() - self._arrival.received
                serving.tally.gone(waited)
            else:
                cut_off = end.first_content is not None
                serving.tally.failed(Outcome.UPSTREAM_ERROR, end.code or 502, aborted=cut_off)
        finally:
            await opened.response.aclose()

    def _spent(self, serving: _Serving, usage: Usage | None) -> None:
        serving.tally.spent(usage)
        self.usage = usage

    def _label(self, serving: _Serving, headers: RawHeaders) -> None:
        """Say who served, and how long relay and upstream took."""
        self._reply.version = serving.route.version
        self._reply.config_id = self._config_id
        now = self._clock()
        upstream_ms = (now - serving.sent) * 1000
        relay_ms = (serving.sent - self._arrival.received) * 1000
        timing = b"relay;dur=%.2f, upstream;dur=%.2f" % (relay_ms, upstream_ms)
        headers.append((b"server-timing", timing))
