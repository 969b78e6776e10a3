"""The test upstream speaks OpenAI's wire format: judged by OpenAI's own client."""

from collections.abc import AsyncIterator

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
