"""A provider for tests and demos: a real HTTP server that speaks OpenAI's wire format.

In a test: `async with Upstream(Behaviour(error_rate=0.2)) as upstream: … upstream.base_url`.
As a process: `python -m grayscale.testing.upstreams --behaviour '{"latency_ms": 50}'`, which
prints `{"port": …}` when it is ready and ends on SIGTERM.

At run time: `GET` and `PUT /__behaviour` (the whole behaviour; the dice start anew), `GET` and
`DELETE /__requests` (the latest requests, oldest first).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import msgspec
from pydantic import ValidationError

from grayscale.testing import answers
from grayscale.testing.answers import ENDPOINTS, Endpoint
from grayscale.testing.behaviour import Behaviour, Dice, Fate, Fault, Manners
from grayscale.testing.loopback import Exchange, LoopbackServer
from grayscale.testing.said import Reply

__all__ = ["Behaviour", "Fault", "Manners", "Recorded", "Upstream", "main"]

_KEPT_REQUESTS = 500
_KEPT_BODY_BYTES = 256 * 1024
_HTML = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
_BROKEN_JSON = b'{"id": "chatcmpl-1", "object": "chat.completion", "choices": [{"ind'


@dataclass(slots=True)
class Recorded:
    """A request as the upstream saw it; a body over 256 KiB is kept in part."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    body_bytes: int
    model: str | None = None
    status: int | None = None
    client_gone: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the answer, or the attempt at one, is over."""

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key == wanted), None)

    def as_json(self) -> dict[str, Any]:
        """The form that GET /__requests gives."""
        return {
            "method": self.method,
            "path": self.path,
            "headers": self.headers,
            "body": self.body.decode("utf-8", "replace"),
            "body_bytes": self.body_bytes,
            "model": self.model,
            "status": self.status,
            "client_gone": self.client_gone,
        }


@dataclass(slots=True)
class _RefusalError(Exception):
    """An error answer decided before the dice are rolled."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class Upstream(LoopbackServer):
    """An OpenAI-compatible provider that behaves as it is told."""

    def __init__(self, behaviour: Behaviour | None = None, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.requests: deque[Recorded] = deque(maxlen=_KEPT_REQUESTS)
        self.total = 0
        self.behaviour = behaviour or Behaviour()

    @property
    def base_url(self) -> str:
        """What an OpenAI client is given: it ends in /v1."""
        return f"{self.origin}/v1"

    @property
    def behaviour(self) -> Behaviour:
        """The behaviour from now on; setting it starts the dice anew."""
        return self._behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._dice = Dice(behaviour.seed)

    async def handle(self, exchange: Exchange) -> None:
        """Answer an API call, or a call about this server itself."""
        if exchange.request.path.startswith("/__"):
            self._answer_about_itself(exchange)
            return
        recorded = self._record(exchange)
        try:
            await self._answer_api(exchange, recorded)
        except _RefusalError as refusal:
            headers = {**self._headers(), **refusal.headers}
            exchange.answer_json(refusal.status, refusal.body, headers=headers)
        except asyncio.CancelledError:
            recorded.client_gone = True
            raise
        finally:
            recorded.status = exchange.status
            recorded.ended.set()

    def _record(self, exchange: Exchange) -> Recorded:
        request = exchange.request
        recorded = Recorded(
            method=request.method,
            path=request.path,
            headers=request.headers,
            body=request.body[:_KEPT_BODY_BYTES],
            body_bytes=len(request.body),
        )
        self.requests.append(recorded)
        self.total += 1
        return recorded

    def _headers(self) -> dict[str, str]:
        return {"x-request-id": f"req_{self.total}", **self.behaviour.response_headers}

    async def _answer_api(self, exchange: Exchange, recorded: Recorded) -> None:
        self._check_key(exchange)
        request = exchange.request
        if (request.method, request.path) == ("GET", "/v1/models"):
            missing = self.behaviour.missing_models
            served = tuple(name for name in self.behaviour.served_models if name not in missing)
            exchange.answer_json(200, answers.model_list(served), headers=self._headers())
            return
        endpoint = ENDPOINTS.get(request.path)
        if endpoint is None or request.method != "POST":
            message = f"Invalid URL ({request.method} {request.path})"
            raise _RefusalError(404, answers.error(message=message, code="unknown_url"))
        body = _read_body(request.body, required=endpoint.required)
        recorded.model = body["model"]
        self._check_body(body)
        await self._answer_model(exchange, endpoint, body)

    def _check_key(self, exchange: Exchange) -> None:
        key = self.behaviour.api_key
        if key is not None and exchange.request.header("authorization") != f"Bearer {key}":
            body = answers.error(message="Incorrect API key provided.", code="invalid_api_key")
            raise _RefusalError(401, body)

    def _check_body(self, body: dict[str, Any]) -> None:
        model = body["model"]
        if model in self.behaviour.missing_models:
            message = f"The model `{model}` does not exist or you do not have access to it."
            raise _RefusalError(404, answers.error(message=message, code="model_not_found"))
        for name in self.behaviour.reject_parameters:
            if name in body:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                raise _RefusalError(
                    400, answers.error(message=message, code="unsupported_parameter", param=name)
                )

    async def _answer_model(
        self, exchange: Exchange, endpoint: Endpoint, body: dict[str, Any]
    ) -> None:
        manners = self.behaviour.towards(body["model"])
        fate = self._dice.roll(body["model"], manners)
        fault = manners.fault if fate.is_faulty else None
        if await self._fail_before_answer(exchange, fault):
            return
        if fate.is_error:
            await _sleep_ms(manners.error_latency_ms)
            raise _honest_error(manners)
        reply = Reply(
            number=self.total,
            model=body["model"],
            tokens=manners.tokens,
            prompt_bytes=len(exchange.request.body),
            request=body,
            look=fate.look,
        )
        if body.get("stream") is True and endpoint.stream is not None:
            await self._stream(exchange, endpoint.stream(reply), manners, fate, fault)
        else:
            await _sleep_ms(manners.latency_ms + fate.jitter * manners.latency_jitter_ms)
            await self._answer_whole(exchange, endpoint.json(reply), fault)

    async def _fail_before_answer(self, exchange: Exchange, fault: Fault | None) -> bool:
        if fault is Fault.REFUSE:
            exchange.hang_up()
        elif fault is Fault.HANG:
            await asyncio.Event().wait()
        elif fault is Fault.GARBAGE_HTML:
            exchange.answer(200, _HTML, headers={"content-type": "text/html", **self._headers()})
        elif fault is Fault.GARBAGE_JSON:
            headers = {"content-type": "application/json", **self._headers()}
            exchange.answer(200, _BROKEN_JSON, headers=headers)
        else:
            return False
        return True

    async def _answer_whole(
        self, exchange: Exchange, value: dict[str, Any], fault: Fault | None
    ) -> None:
        if fault is Fault.ERROR_FRAME:
            body = answers.error(message="The server had an error.", code="server_error")
            exchange.answer_json(200, body, headers=self._headers())
        elif fault is None:
            exchange.answer_json(200, value, headers=self._headers())
        else:
            whole = msgspec.json.encode(value)
            headers = {"content-type": "application/json", **self._headers()}
            exchange.answer(200, whole[: len(whole) // 2], headers=headers, claim_bytes=len(whole))
            await _break_off(exchange, fault)

    async def _stream(
        self,
        exchange: Exchange,
        frames: Iterable[bytes],
        manners: Manners,
        fate: Fate,
        fault: Fault | None,
    ) -> None:
        first_frame_ms = manners.latency_ms if manners.ttft_ms is None else manners.ttft_ms
        await _sleep_ms(first_frame_ms + fate.jitter * manners.latency_jitter_ms)
        exchange.begin_stream(
            headers={"content-type": "text/event-stream; charset=utf-8", **self._headers()}
        )
        for index, frame in enumerate(frames):
            if fault is not None and index == manners.cut_after_chunks:
                break
            if index:
                await _sleep_ms(manners.chunk_delay_ms)
            await exchange.send_chunk(frame)
        if fault is Fault.ERROR_FRAME:
            await exchange.send_chunk(answers.error_frame())
        elif fault is not None:
            await _break_off(exchange, fault)
            return
        exchange.end_stream()

    def _answer_about_itself(self, exchange: Exchange) -> None:
        request = exchange.request
        match request.method, request.path:
            case "GET", "/__behaviour":
                pass
            case "PUT", "/__behaviour":
                try:
                    self.behaviour = Behaviour.model_validate_json(request.body)
                except ValidationError as error:
                    exchange.answer_json(422, answers.error(message=str(error), code="behaviour"))
                    return
            case "GET", "/__requests":
                data = [recorded.as_json() for recorded in self.requests]
                exchange.answer_json(200, {"total": self.total, "data": data})
                return
            case "DELETE", "/__requests":
                self.requests.clear()
                self.total = 0
                exchange.answer_json(200, {"total": 0, "data": []})
                return
            case _:
                body = answers.error(message=f"No such control: {request.path}", code="unknown_url")
                exchange.answer_json(404, body)
                return
        exchange.answer_json(200, self.behaviour.model_dump(mode="json"))


def _read_body(raw: bytes, *, required: str) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"We could not parse the JSON body of your request: {error}"
        raise _RefusalError(400, answers.error(message=message, code=None)) from error
    if not isinstance(body, dict):
        raise _RefusalError(400, answers.error(message="The body must be an object.", code=None))
    if not isinstance(body.get("model"), str):
        message = "you must provide a model parameter"
        raise _RefusalError(400, answers.error(message=message, code=None, param="model"))
    if required not in body:
        message = f"Missing required parameter: '{required}'."
        code = "missing_required_parameter"
        raise _RefusalError(400, answers.error(message=message, code=code, param=required))
    return body


def _honest_error(manners: Manners) -> _RefusalError:
    status = manners.error_status
    headers = {}
    if manners.retry_after_seconds is not None:
        headers["retry-after"] = f"{manners.retry_after_seconds:g}"
    if status == 429:
        body = answers.error(
            message="Rate limit reached.", code="rate_limit_exceeded", kind="requests"
        )
    elif status >= 500:
        message = "The server had an error while processing your request."
        body = answers.error(message=message, code="server_error", kind="server_error")
    else:
        body = answers.error(message=f"Refused with status {status}.", code="invalid_value")
    return _RefusalError(status, body, headers)


async def _break_off(exchange: Exchange, fault: Fault) -> None:
    if fault is Fault.STALL_STREAM:
        await asyncio.Event().wait()
    exchange.hang_up()


async def _sleep_ms(duration_ms: float) -> None:
    if duration_ms > 0:
        await asyncio.sleep(duration_ms / 1000)


async def _serve(behaviour: Behaviour, *, port: int) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with Upstream(behaviour, port=port) as upstream:
        sys.stdout.write(msgspec.json.encode({"port": upstream.port}).decode() + "\n")
        sys.stdout.flush()
        await stopping.wait()


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if find_spec("uvloop") is None:
        return None
    from uvloop import new_event_loop  # noqa: PLC0415 (not there on every platform)

    return new_event_loop


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m grayscale.testing.upstreams")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--behaviour", default="{}", help="JSON; see Behaviour")
    options = parser.parse_args(arguments)
    try:
        behaviour = Behaviour.model_validate_json(options.behaviour)
    except ValidationError as error:
        parser.error(f"--behaviour: {error}")
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        runner.run(_serve(behaviour, port=options.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
