"""A stream on its way to the caller: whole events, an honest end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grayscale.errors import Refused
from grayscale.relay.attempt import Opened
from grayscale.relay.reply import Reply, error_event
from grayscale.relay.sse import EventTooLong
from grayscale.relay.upstream import UpstreamFailure, UpstreamTimeout
from grayscale.relay.watch import Cause, Interrupted, Watch

_LAST_WORD_SECONDS = 1.0
_TIMEOUTS = frozenset({Cause.IDLE, Cause.TOTAL, Cause.FIRST_BYTE})


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended: complete, left by its caller, cut by us, or failed with a code."""

    complete: bool = False
    left: bool = False
    cut: bool = False
    code: int | None = None
    first_content: float | None = None


class StreamRelay:
    """Passes one opened stream on to its caller."""

    def __init__(
        self,
        opened: Opened,
        reply: Reply,
        watch: Watch,
        *,
        clock: Callable[[], float],
        idle_seconds: float,
    ) -> None:
        self._opened = opened
        self._scanner = opened.scanner
        self._reply = reply
        self._watch = watch
        self._idle_seconds = idle_seconds
        self._first_content: float | None = None
        self._clock = clock

    async def run(self) -> StreamEnd:
        """Pass everything on, and end the answer as the upstream ended: never better."""
        last, refusal = b"", None
        try:
            with self._watch:
                last = await self._pump()
        except Interrupted as news:
            if news.cause in {Cause.CALLER_GONE, Cause.CALLER_STALLED}:
                self._reply.cut()
                return self._ended(left=True)
            refusal = _interrupted(news.cause)
        except EventTooLong:
            refusal = _broken("it sent an endless event")
        except UpstreamTimeout:
            refusal = _interrupted(Cause.IDLE)
        except UpstreamFailure:
            refusal = _broken("the connection was lost")
        return await self._finish(last, refusal)

    async def drain(self) -> None:
        """Read what follows the ending, so that the upstream's connection can be used again."""
        self._watch.expect(Cause.IDLE, _LAST_WORD_SECONDS)
        try:
            with self._watch:
                async for _ in self._opened.chunks:
                    pass
        except (Interrupted, UpstreamFailure):
            pass

    async def _pump(self) -> bytes:
        """Pass on all but the last piece, which goes out with the ending."""
        scanner = self._scanner
        await self._reply.begin(self._opened.status, self._opened.headers)
        out = self._opened.first
        if not scanner.has_ended():
            await self._pass_on(out)
            async for chunk in self._opened.chunks:
                out = scanner.feed(chunk)
                if scanner.has_ended():
                    break
                if out:
                    await self._pass_on(out)
            else:
                out = scanner.finish()
        if self._first_content is None and scanner.content_seen:
            self._first_content = self._clock()
        return out

    async def _pass_on(self, out: bytes) -> None:
        if self._first_content is None and self._scanner.content_seen:
            self._first_content = self._clock()
        self._watch.expect(Cause.CALLER_STALLED, self._idle_seconds)
        await self._reply.write(out)
        self._watch.expect(Cause.IDLE, self._idle_seconds)

    async def _finish(self, last: bytes, refusal: Refused | None) -> StreamEnd:
        scanner = self._scanner
        if refusal is None and scanner.error is not None:
            last += scanner.error_event
            if scanner.done:  # a failure that the surface has an ending for
                await self._end(last)
            else:
                await self._last_word(last)
            return self._ended(code=502)
        if refusal is None and scanner.done:
            complete = await self._end(last)
            return self._ended(complete=complete, left=not complete)
        refusal = refusal or _broken("it stopped in the middle")
        await self._last_word(last + error_event(refusal))
        return self._ended(cut=refusal.code == "version_withdrawn", code=refusal.status)

    def _ended(
        self,
        *,
        complete: bool = False,
        left: bool = False,
        cut: bool = False,
        code: int | None = None,
    ) -> StreamEnd:
        return StreamEnd(complete, left, cut, code, self._first_content)

    async def _end(self, last: bytes) -> bool:
        self._watch.expect(Cause.CALLER_STALLED, self._idle_seconds)
        try:
            with self._watch:
                await self._reply.end(last)
        except Interrupted:
            self._reply.cut()
            return False
        return True

    async def _last_word(self, data: bytes) -> None:
        self._watch.expect(Cause.CALLER_STALLED, _LAST_WORD_SECONDS)
        try:
            with self._watch:
                await self._reply.write(data)
        except Interrupted:
            pass
        self._reply.cut()


def _interrupted(cause: Cause) -> Refused:
    if cause in _TIMEOUTS:
        return Refused(504, "upstream_timeout", "The upstream stopped sending; the answer is cut")
    message = "The version that was answering was taken out of traffic; send the request again"
    return Refused(503, "version_withdrawn", message)


def _broken(why: str) -> Refused:
    return Refused(502, "upstream_error", f"The upstream's answer is cut: {why}")
