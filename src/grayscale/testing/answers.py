"""OpenAI's wire format, written by hand: what a test upstream says, without how it behaves."""

from __future__ import annotations

import base64
import hashlib
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from grayscale.testing.said import Reply, ToolCall

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"
_DIMENSIONS = 8


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
    said = reply.said
    message: Json = {
        "role": "assistant",
        "content": said.text if said.refusal_text is None and said.call is None else None,
        "refusal": said.refusal_text,
        "annotations": [],
    }
    if said.call is not None:
        message["tool_calls"] = [_tool_call(reply, said.call)]
    choice = {
        "index": 0, "message": message, "logprobs": None, "finish_reason": said.finish_reason,
    }  # fmt: skip
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
    said = reply.said
    # With include_usage every earlier chunk carries `"usage": null`, as OpenAI's do.
    tail: Json = {"usage": None} if reply.include_usage else {}

    def chunk(delta: Json, finish_reason: str | None = None) -> bytes:
        choice = {
            "index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason,
        }  # fmt: skip
        return _data({**head, "choices": [choice], **tail})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for word in said.content:
        yield chunk({"content": word})
    for word in said.refusal:
        yield chunk({"refusal": word})
    if said.call is not None:
        opened = {**_tool_call(reply, ToolCall(said.call.name, ())), "index": 0}
        yield chunk({"tool_calls": [opened]})
        for piece in said.call.argument_pieces:
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    yield chunk({}, said.finish_reason)
    if reply.include_usage:
        yield _data({**head, "choices": [], "usage": _usage(reply)})
    yield DONE


def _tool_call(reply: Reply, call: ToolCall) -> Json:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": f"call_{reply.number}", "type": "function", "function": function}


def _completion(reply: Reply) -> Json:
    choice: Json = {"index": 0, "text": reply.said.text, "logprobs": None}
    choice["finish_reason"] = _completion_end(reply)
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
    ending = [("", _completion_end(reply))]
    for text, finish_reason in [*((word, None) for word in reply.said.content), *ending]:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
        yield _data({**head, "choices": [choice]})
    if reply.include_usage:
        yield _data({**head, "choices": [], "usage": _usage(reply)})
    yield DONE


def _completion_end(reply: Reply) -> str:
    """This surface has no field for a refusal."""
    return "content_filter" if reply.said.refusal else reply.said.finish_reason


def _embeddings(reply: Reply) -> Json:
    as_base64 = reply.request.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(text, as_base64=as_base64)}
        for index, text in enumerate(_inputs(reply.request.get("input")))
    ]
    usage = {"prompt_tokens": reply.prompt_tokens, "total_tokens": reply.prompt_tokens}
    return {"object": "list", "data": data, "model": reply.model, "usage": usage}


def _response(reply: Reply, *, in_progress: bool = False) -> Json:
    status = "in_progress" if in_progress else _status(reply)
    return {
        "id": f"resp_{reply.number}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": reply.request.get("instructions"),
        "metadata": {},
        "model": reply.model,
        "output": [] if in_progress else [_item(reply)],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None if in_progress else _response_usage(reply),
    }


def _status(reply: Reply) -> str:
    return "incomplete" if reply.said.truncated else "completed"


def _item(reply: Reply) -> Json:
    """The one item of a response's output: a call, or a message of one part."""
    said = reply.said
    if said.call is not None:
        return {
            "id": f"fc_{reply.number}",
            "type": "function_call",
            "call_id": f"call_{reply.number}",
            "name": said.call.name,
            "arguments": said.call.arguments,
            "status": "completed",
        }
    part: Json = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
    if said.refusal_text is not None:
        part = {"type": "refusal", "refusal": said.refusal_text}
    return {
        "id": f"msg_{reply.number}",
        "type": "message",
        "status": _status(reply),
        "role": "assistant",
        "content": [part],
    }


def _response_stream(reply: Reply) -> Iterator[bytes]:
    item = _item(reply)
    is_call = reply.said.call is not None
    blank: Json = {"arguments": ""} if is_call else {"content": []}
    opened = {**item, **blank, "status": "in_progress"}
    started = {"response": _response(reply, in_progress=True)}
    events: list[tuple[str, Json]] = [
        ("response.created", started),
        ("response.in_progress", started),
        ("response.output_item.added", {"output_index": 0, "item": opened}),
        *(_call_events(reply, item) if is_call else _part_events(reply, item)),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        (f"response.{_status(reply)}", {"response": _response(reply)}),
    ]
    for sequence_number, (kind, body) in enumerate(events):
        event = {"type": kind, "sequence_number": sequence_number, **body}
        yield b"event: " + kind.encode() + b"\n" + _data(event)


def _part_events(reply: Reply, item: Json) -> Iterator[tuple[str, Json]]:
    """A message's text, or its refusal, piece by piece."""
    place: Json = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    part, said = item["content"][0], reply.said
    kind, field = ("refusal", "refusal") if said.refusal else ("output_text", "text")
    more: Json = {} if said.refusal else {"logprobs": []}
    yield "response.content_part.added", {**place, "part": {**part, field: ""}}
    for piece in said.refusal or said.content:
        yield f"response.{kind}.delta", {**place, "delta": piece, **more}
    yield f"response.{kind}.done", {**place, field: part[field], **more}
    yield "response.content_part.done", {**place, "part": part}


def _call_events(reply: Reply, item: Json) -> Iterator[tuple[str, Json]]:
    place: Json = {"item_id": item["id"], "output_index": 0}
    kind = "response.function_call_arguments"
    for piece in reply.said.call.argument_pieces if reply.said.call is not None else ():
        yield f"{kind}.delta", {**place, "delta": piece}
    yield f"{kind}.done", {**place, "name": item["name"], "arguments": item["arguments"]}


def _usage(reply: Reply) -> Json:
    answered = reply.said.tokens
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": answered,
        "total_tokens": reply.prompt_tokens + answered,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _response_usage(reply: Reply) -> Json:
    answered = reply.said.tokens
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


def _data(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


ENDPOINTS = {
    "/v1/chat/completions": Endpoint("messages", _chat, _chat_stream),
    "/v1/completions": Endpoint("prompt", _completion, _completion_stream),
    "/v1/embeddings": Endpoint("input", _embeddings, None),
    "/v1/responses": Endpoint("input", _response, _response_stream),
}
