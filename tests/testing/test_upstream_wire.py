"""The test upstream speaks OpenAI's wire format: judged by OpenAI's own client."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from grayscale.testing.behaviour import Behaviour
from grayscale.testing.upstreams import Upstream


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(Behaviour(tokens=6, served_models=("gpt-4.1", "gpt-5"))) as running:
        yield running


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        api_key="sk-test", base_url=upstream.base_url, max_retries=0, timeout=5
    ) as running:
        yield running


async def test_chat_names_the_model_that_answered(client: openai.AsyncOpenAI) -> None:
    """A whole chat answer carries the model in its text, and usage that adds up."""
    answer = await client.chat.completions.create(
        model="gpt-4.1", messages=[{"role": "user", "content": "hello"}]
    )
    assert answer.model == "gpt-4.1"
    assert "gpt-4.1" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 6


async def test_chat_stream_is_the_whole_answer_in_pieces(client: openai.AsyncOpenAI) -> None:
    """A stream's pieces join to the text of the whole answer, without usage unless asked for."""
    whole = await client.chat.completions.create(
        model="gpt-4.1", messages=[{"role": "user", "content": "hello"}]
    )
    stream = await client.chat.completions.create(
        model="gpt-4.1", messages=[{"role": "user", "content": "hello"}], stream=True
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


async def test_usage_chunk_comes_last_with_no_choices(client: openai.AsyncOpenAI) -> None:
    """With include_usage one more chunk carries the usage and no choices."""
    stream = await client.chat.completions.create(
        model="gpt-4.1",
        messages=[{"role": "user", "content": "hello"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 6
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_stream_ends_with_done(upstream: Upstream) -> None:
    """The last frame of a chat stream is `[DONE]`, and each frame is one `data:` line."""
    body = {"model": "m", "messages": [], "stream": True}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{upstream.base_url}/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    frames = answer.text.removesuffix("\n\n").split("\n\n")
    assert all(frame.startswith("data: ") for frame in frames)
    assert frames[-1] == "data: [DONE]"


async def test_completions_in_both_forms(client: openai.AsyncOpenAI) -> None:
    """The old completions endpoint answers whole and as a stream, alike."""
    whole = await client.completions.create(model="gpt-4.1", prompt="hello")
    stream = await client.completions.create(model="gpt-4.1", prompt="hello", stream=True)
    text = "".join([chunk.choices[0].text async for chunk in stream])
    assert "gpt-4.1" in text
    assert text == whole.choices[0].text
    stream = await client.completions.create(
        model="gpt-4.1", prompt="hello", stream=True, stream_options={"include_usage": True}
    )
    last = [chunk async for chunk in stream][-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 6


async def test_embeddings_in_both_encodings(client: openai.AsyncOpenAI) -> None:
    """Base64, which the client asks for by itself, decodes to the numbers of the plain form."""
    decoded = await client.embeddings.create(model="e", input=["one", "two"])
    plain = await client.embeddings.create(model="e", input=["one", "two"], encoding_format="float")
    assert [item.index for item in decoded.data] == [0, 1]
    assert decoded.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert decoded.data[0].embedding != decoded.data[1].embedding
    assert len((await client.embeddings.create(model="e", input="one")).data) == 1
    assert len((await client.embeddings.create(model="e", input=[1, 2, 3])).data) == 1


async def test_responses_whole(client: openai.AsyncOpenAI) -> None:
    """The Responses API answers with a completed output message."""
    answer = await client.responses.create(model="gpt-5", input="hello")
    assert answer.status == "completed"
    assert "gpt-5" in answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens == 6


async def test_responses_stream_has_typed_events_in_order(client: openai.AsyncOpenAI) -> None:
    """A Responses stream runs from `response.created` to `response.completed`, numbered."""
    stream = await client.responses.create(model="gpt-5", input="hello", stream=True)
    events = [event async for event in stream]
    assert events[0].type == "response.created"
    last = events[-1]
    assert last.type == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == last.response.output_text


async def test_models_lists_what_is_served(client: openai.AsyncOpenAI) -> None:
    """GET /v1/models lists the served models and no others."""
    assert [model.id async for model in client.models.list()] == ["gpt-4.1", "gpt-5"]


@pytest.mark.parametrize(
    ("path", "raw", "status", "param"),
    [
        ("/chat/completions", b"{", 400, None),
        ("/chat/completions", b"[]", 400, None),
        ("/chat/completions", b'{"messages": []}', 400, "model"),
        ("/chat/completions", b'{"model": "m"}', 400, "messages"),
        ("/embeddings", b'{"model": "m"}', 400, "input"),
        ("/unknown", b"{}", 404, None),
    ],
)
async def test_bad_requests_get_openai_errors(
    upstream: Upstream, path: str, raw: bytes, status: int, param: str | None
) -> None:
    """What OpenAI would refuse is refused in its error shape."""
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{upstream.base_url}{path}", content=raw)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


_TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
]
_HELLO: Any = [{"role": "user", "content": "hello"}]


async def test_refusals(upstream: Upstream, client: openai.AsyncOpenAI) -> None:
    """A refusal is where each surface has it, whole and streamed, and there is no content."""
    upstream.behaviour = Behaviour(refusal_rate=1)
    whole = await client.chat.completions.create(model="m", messages=_HELLO)
    message = whole.choices[0].message
    assert (message.content, message.refusal) == (None, "I cannot help with that.")
    stream = await client.chat.completions.create(model="m", messages=_HELLO, stream=True)
    deltas = [chunk.choices[0].delta async for chunk in stream]
    assert "".join(delta.refusal or "" for delta in deltas) == message.refusal
    old = await client.completions.create(model="m", prompt="hello")
    assert (old.choices[0].text, old.choices[0].finish_reason) == ("", "content_filter")
    async with client.responses.stream(model="m", input="hello") as events:
        response = await events.get_final_response()
    assert response.output[0].type == "message"
    assert response.output[0].content[0].type == "refusal"
    assert response.output[0].content[0].refusal == message.refusal


async def test_tool_calls(upstream: Upstream, client: openai.AsyncOpenAI) -> None:
    """A call names the first tool with arguments in JSON; its pieces join to the whole."""
    upstream.behaviour = Behaviour(tool_call_rate=1)
    asked: Any = {"model": "m", "messages": _HELLO, "tools": _TOOLS}
    whole = await client.chat.completions.create(**asked)
    assert whole.choices[0].finish_reason == "tool_calls"
    call = (whole.choices[0].message.tool_calls or [])[0]
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "weather",
        {"city": "Berlin"},
    )
    async with client.chat.completions.stream(**asked) as events:
        final = await events.get_final_completion()
    streamed = (final.choices[0].message.tool_calls or [])[0]
    assert (streamed.function.name, streamed.function.arguments) == (
        "weather",
        call.function.arguments,
    )
    tool: Any = {"type": "function", "name": "weather", "parameters": {}, "strict": False}
    async with client.responses.stream(model="m", input="hello", tools=[tool]) as answers:
        response = await answers.get_final_response()
    assert response.output[0].type == "function_call"
    assert response.output[0].arguments == call.function.arguments


@pytest.mark.parametrize(
    ("spoilt", "name", "is_json"),
    [
        ({"unknown_tool_rate": 1}, "no_such_tool", True),
        ({"bad_arguments_rate": 1}, "weather", False),
    ],
)
async def test_bad_tool_calls(
    upstream: Upstream, client: openai.AsyncOpenAI, spoilt: Any, name: str, *, is_json: bool
) -> None:
    """A call can name a tool that nobody offered, or have arguments that are no JSON."""
    upstream.behaviour = Behaviour(tool_call_rate=1, **spoilt)
    whole = await client.chat.completions.create(model="m", messages=_HELLO, tools=_TOOLS)
    call = (whole.choices[0].message.tool_calls or [])[0]
    assert call.type == "function"
    assert call.function.name == name
    assert _is_json(call.function.arguments) is is_json


@pytest.mark.parametrize("bad", [False, True])
async def test_json_answers(upstream: Upstream, client: openai.AsyncOpenAI, *, bad: bool) -> None:
    """Who asks for JSON gets it on every surface, unless it is to be spoilt."""
    upstream.behaviour = Behaviour(bad_json_rate=float(bad))
    chat = await client.chat.completions.create(
        model="m", messages=_HELLO, response_format={"type": "json_object"}
    )
    text: Any = {"format": {"type": "json_object"}}
    response = await client.responses.create(model="m", input="hello", text=text)
    for answer in (chat.choices[0].message.content or "", response.output_text):
        assert _is_json(answer) is not bad


async def test_answers_without_content_or_cut_short(
    upstream: Upstream, client: openai.AsyncOpenAI
) -> None:
    """An empty answer says nothing and ends well; a cut one says why it is short."""
    upstream.behaviour = Behaviour(empty_rate=1)
    empty = await client.chat.completions.create(model="m", messages=_HELLO)
    assert (empty.choices[0].message.content, empty.choices[0].finish_reason) == ("", "stop")
    upstream.behaviour = Behaviour(truncation_rate=1, tokens=10)
    short = await client.chat.completions.create(model="m", messages=_HELLO)
    assert short.choices[0].finish_reason == "length"
    assert short.usage is not None
    assert short.usage.completion_tokens == 5
    stream = await client.responses.create(model="m", input="hello", stream=True)
    last = [event async for event in stream][-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
