"""OpenAI's wire format, written by hand: what a test upstream says, without how it behaves."""

from __future__ import annotations

import base64
import hashlib
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"
_WORDS = (
    "light",
    "turns",
    "up",
    "by",
    "ten",
    "percent",
    "and",
    "stays",
    "while",
    "it",
    "is",
    "well",
)
_DIMENSIONS = 8


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer before it has a format: who answers, to what, how long."""

    number: int
    model: str
    tokens: int
    prompt_bytes: int
    request: Json

    @property
    def words(self) -> list[str]:
        """The text token by token; it names the model that really answered."""
        opening = ["This", " is", f" {self.model}", ":"]
        filler = (f" {word}" for word in _cycle(_WORDS))
        return [*opening, *islice(filler, max(0, self.tokens - len(opening)))]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.words)

    @property
    def prompt_tokens(self) -> int:
        """About four bytes to a token."""
        return self.prompt_bytes // 4 + 1

    @property
    def include_usage(self) -> bool:
        """Whether the caller asked for the usage chunk."""
        options = self.request.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route's two forms; `stream` is None where the API knows none. `required` is its field."""

    required: str
    json: Callable[[Reply], Json]
    stream: Callable[[Reply], Iterator[bytes]] | None


def error(
    *, message: str, code: str | None, kind: str = "invalid_request_error", param: str | None = None
) -> Json:
    """OpenAI's error body."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_frame() -> bytes:
    """The error that arrives inside a 200 stream."""
    body = error(message="The server had an error.", code="server_error", kind="server_error")
    return _data(body)


def model_list(models: tuple[str, ...]) -> Json:
    """The body of GET /v1/models."""
    data = [
        {"id": model, "object": "model", "created": 1_735_689_600, "owned_by": "grayscale-testing"}
        for model in models
    ]
    return {"object": "list", "data": data}


def _chat(reply: Reply) -> Json:
    message: Json = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {
        "id": f"chatcmpl-{reply.number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": reply.model,
        "choices": [choice],
        "usage": _usage(reply),
        "service_tier": "default",
    }


def _chat_stream(reply: Reply) -> Iterator[bytes]:
    head: Json = {
        "id": f"chatcmpl-{reply.number}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": reply.model,
        "service_tier": "default",
    }
    # With include_usage every earlier chunk carries `"usage": null`, as OpenAI's do.
    tail: Json = {"usage": None} if reply.include_usage else {}

    def chunk(delta: Json, finish_reason: str | None = None) -> bytes:
        choice = {
            "index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason,
        }  # fmt: skip
        return _data({**head, "choices": [choice], **tail})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for word in reply.words:
        yield chunk({"content": word})
    yield chunk({}, "stop")
    if reply.include_usage:
        yield _data({**head, "choices": [], "usage": _usage(reply)})
    yield DONE


def _completion(reply: Reply) -> Json:
    choice = {"index": 0, "text": reply.text, "logprobs": None, "finish_reason": "stop"}
    return {
        "id": f"cmpl-{reply.number}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": reply.model,
        "choices": [choice],
        "usage": _usage(reply),
    }


def _completion_stream(reply: Reply) -> Iterator[bytes]:
    head: Json = {
        "id": f"cmpl-{reply.number}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": reply.model,
    }
    ending = [("", "stop")]
    for text, finish_reason in [*((word, None) for word in reply.words), *ending]:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
        yield _data({**head, "choices": [choice]})
    if reply.include_usage:
        yield _data({**head, "choices": [], "usage": _usage(reply)})
    yield DONE


def _embeddings(reply: Reply) -> Json:
    as_base64 = reply.request.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(text, as_base64=as_base64)}
        for index, text in enumerate(_inputs(reply.request.get("input")))
    ]
    usage = {"prompt_tokens": reply.prompt_tokens, "total_tokens": reply.prompt_tokens}
    return {"object": "list", "data": data, "model": reply.model, "usage": usage}


def _response(reply: Reply, *, status: str = "completed") -> Json:
    is_done = status == "completed"
    return {
        "id": f"resp_{reply.number}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": reply.request.get("instructions"),
        "metadata": {},
        "model": reply.model,
        "output": [_response_item(reply, text=reply.text, status="completed")] if is_done else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": _response_usage(reply) if is_done else None,
    }


def _response_stream(reply: Reply) -> Iterator[bytes]:
    place: Json = {"item_id": f"msg_{reply.number}", "output_index": 0, "content_index": 0}
    item = _response_item(reply, text=reply.text, status="completed")
    part = item["content"][0]
    opened = {**item, "content": [], "status": "in_progress"}
    events: list[tuple[str, Json]] = [
        ("response.created", {"response": _response(reply, status="in_progress")}),
        ("response.in_progress", {"response": _response(reply, status="in_progress")}),
        ("response.output_item.added", {"output_index": 0, "item": opened}),
        ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
    ]
    events += [
        ("response.output_text.delta", {**place, "delta": word, "logprobs": []})
        for word in reply.words
    ]
    events += [
        ("response.output_text.done", {**place, "text": reply.text, "logprobs": []}),
        ("response.content_part.done", {**place, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": _response(reply)}),
    ]
    for sequence_number, (kind, body) in enumerate(events):
        event = {"type": kind, "sequence_number": sequence_number, **body}
        yield b"event: " + kind.encode() + b"\n" + _data(event)


def _response_item(reply: Reply, *, text: str, status: str) -> Json:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": f"msg_{reply.number}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [part],
    }


def _usage(reply: Reply) -> Json:
    answered = len(reply.words)
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": answered,
        "total_tokens": reply.prompt_tokens + answered,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _response_usage(reply: Reply) -> Json:
    answered = len(reply.words)
    return {
        "input_tokens": reply.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answered,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": reply.prompt_tokens + answered,
    }


def _inputs(value: object) -> list[str]:
    """The texts to embed: a string, strings, token numbers or lists of token numbers."""
    if isinstance(value, list) and not all(isinstance(item, int) for item in value):
        return [str(item) for item in value]
    return [str(value)]


def _vector(text: str, *, as_base64: bool) -> str | list[float]:
    digest = hashlib.blake2b(text.encode(), digest_size=_DIMENSIONS).digest()
    numbers = [byte / 127.5 - 1 for byte in digest]
    if as_base64:
        return base64.b64encode(struct.pack(f"<{_DIMENSIONS}f", *numbers)).decode()
    return numbers


def _cycle(words: tuple[str, ...]) -> Iterator[str]:
    while True:
        yield from words


def _data(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


ENDPOINTS = {
    "/v1/chat/completions": Endpoint("messages", _chat, _chat_stream),
    "/v1/completions": Endpoint("prompt", _completion, _completion_stream),
    "/v1/embeddings": Endpoint("input", _embeddings, None),
    "/v1/responses": Endpoint("input", _response, _response_stream),
}
