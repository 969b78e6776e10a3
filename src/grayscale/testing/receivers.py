"""Receivers of notices for tests: a Slack that answers as Slack does, and a webhook's far end."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

import msgspec

from grayscale.testing.loopback import Exchange, LoopbackServer, Request

_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """How a receiver fails: an HTTP status, Slack's `ok: false`, a hang, or a closed socket."""

    status: int = 500
    retry_after: str | None = None
    location: str | None = None
    slack_error: str | None = None
    body: bytes = b"failing as told"
    content_type: str = "text/plain"
    hang: bool = False
    hang_up: bool = False
    accept_first: bool = False
    """The message is taken (recorded as accepted) although the answer says otherwise."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request and whether it was accepted."""

    request: Request
    accepted: bool

    @property
    def json(self) -> Any:
        """The body as a value."""
        return msgspec.json.decode(self.request.body)


class _Receiver(LoopbackServer):
    """Records everything; fails for as long as it is told to."""

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.received: deque[Received] = deque(maxlen=_KEPT)
        self._failure: Failure | None = None
        self._failures_left: int | None = 0

    @property
    def accepted(self) -> list[Received]:
        """What was taken, oldest first."""
        return [received for received in self.received if received.accepted]

    def fail(self, failure: Failure, *, times: int | None = None) -> None:
        """Fail that often; None is until `recover`."""
        self._failure, self._failures_left = failure, times

    def recover(self) -> None:
        """Answer well again."""
        self._failure = None

    async def handle(self, exchange: Exchange) -> None:
        """Record, then answer or fail."""
        failure = self._next_failure()
        accepted = failure is None or failure.accept_first
        self.received.append(Received(exchange.request, accepted))
        if failure is None:
            self.welcome(exchange)
        else:
            await _fail(exchange, failure)

    def welcome(self, exchange: Exchange) -> None:
        """Answer well."""
        raise NotImplementedError

    def _next_failure(self) -> Failure | None:
        if self._failure is None or self._failures_left == 0:
            return None
        if self._failures_left is not None:
            self._failures_left -= 1
        return self._failure


class SlackReceiver(_Receiver):
    """Speaks `POST /api/chat.postMessage`; `base_url` is what slack-sdk is given."""

    def __init__(self, *, token: str, port: int = 0) -> None:
        super().__init__(port=port)
        self.token = token

    @property
    def base_url(self) -> str:
        """Ends in /api/, as Slack's does."""
        return f"{self.origin}/api/"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The bodies of the accepted messages."""
        return [received.json for received in self.accepted]

    def welcome(self, exchange: Exchange) -> None:
        """Answer as Slack does: 200 even for its own errors."""
        request = exchange.request
        problem = self._problem(request)
        if problem is not None:
            self.received[-1] = Received(request, accepted=False)
            exchange.answer_json(200, {"ok": False, "error": problem})
            return
        message = msgspec.json.decode(request.body)
        stamp = f"1735689600.{len(self.received):06d}"
        answer = {
            "ok": True,
            "channel": "C0123456789",
            "ts": stamp,
            "message": {"type": "message", "text": message.get("text", ""), "ts": stamp},
        }
        exchange.answer_json(200, answer)

    def _problem(self, request: Request) -> str | None:
        if (request.method, request.path) != ("POST", "/api/chat.postMessage"):
            return "unknown_method"
        if request.header("authorization") != f"Bearer {self.token}":
            return "invalid_auth"
        try:
            message = msgspec.json.decode(request.body)
        except msgspec.DecodeError:
            return "invalid_json"
        if not isinstance(message, dict) or not message.get("channel"):
            return "channel_not_found"
        return None if message.get("text") or message.get("blocks") else "no_text"


class WebhookReceiver(_Receiver):
    """Takes any POST and keeps its raw body and headers; `url` is where to post."""

    @property
    def url(self) -> str:
        """Where to post."""
        return f"{self.origin}/hook"

    def welcome(self, exchange: Exchange) -> None:
        """Answer 200."""
        exchange.answer(200, b"taken", headers={"content-type": "text/plain"})


async def _fail(exchange: Exchange, failure: Failure) -> None:
    if failure.hang:
        await asyncio.Event().wait()
    if failure.hang_up:
        exchange.hang_up()
        return
    headers = {}
    if failure.retry_after is not None:
        headers["retry-after"] = failure.retry_after
    if failure.location is not None:
        headers["location"] = failure.location
    if failure.slack_error is not None:
        exchange.answer_json(200, {"ok": False, "error": failure.slack_error}, headers=headers)
        return
    headers["content-type"] = failure.content_type
    exchange.answer(failure.status, failure.body, headers=headers)
