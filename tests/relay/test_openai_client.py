"""The official OpenAI client, run against the relay."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from grayscale.testing.upstreams import Behaviour, Fault, Upstream
from tests.relay.harness import MODEL, SECRET, STABLE, Running, relay, snapshot


def _client(running: Running, api_key: str = SECRET) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{running.url}/v1", api_key=api_key, max_retries=0, timeout=10
    )


async def test_chat_and_stream(tmp_path: Path) -> None:
    """Completions, streamed and not, with and without usage, as the client reads them."""
    async with (
        Upstream(Behaviour(tokens=6)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        _client(running) as client,
    ):
        answer = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hi"}]
        )
        assert answer.choices[0].message.content
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 6
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text == answer.choices[0].message.content
        stream = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        last = [chunk async for chunk in stream][-1]
        assert last.usage is not None
        assert last.usage.completion_tokens == 6


async def test_other_surfaces(tmp_path: Path) -> None:
    """Responses (streamed too), embeddings, completions and the model list."""
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        _client(running) as client,
    ):
        response = await client.responses.create(model=MODEL, input="Hi")
        assert response.output_text
        stream = await client.responses.create(model=MODEL, input="Hi", stream=True)
        kinds = [event.type async for event in stream]
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"
        embeddings = await client.embeddings.create(model=MODEL, input="Hi")
        assert embeddings.data[0].embedding
        completion = await client.completions.create(model=MODEL, prompt="Hi")
        assert completion.choices[0].text
        assert [model.id async for model in client.models.list()] == [MODEL]


async def test_errors_become_the_clients_own(tmp_path: Path) -> None:
    """The client raises its own error for each status, with our code and request id."""
    async with (
        Upstream(Behaviour(error_rate=1, error_status=500)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
    ):
        async with _client(running, "gs_wrong") as client:
            with pytest.raises(openai.AuthenticationError, match="Authentication failed"):
                await client.models.list()
        async with _client(running) as client:
            with pytest.raises(openai.NotFoundError, match="is not available") as missing:
                await client.embeddings.create(model="gpt-9", input="Hi")
            assert missing.value.code == "model_not_found"
            assert missing.value.request_id
            with pytest.raises(openai.InternalServerError):
                await client.embeddings.create(model=MODEL, input="Hi")


async def test_client_does_not_retry_what_cannot_help(tmp_path: Path) -> None:
    """`x-should-retry: false` keeps the client from repeating a conflict; errors it repeats."""
    async with (
        Upstream(Behaviour(error_rate=1, error_status=500)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        _client(running).with_options(max_retries=1) as client,
    ):
        with pytest.raises(openai.InternalServerError):
            await client.embeddings.create(model=MODEL, input="Hi")
        assert running.cell(STABLE).started == 2


@pytest.mark.parametrize("fault", [Fault.CUT_STREAM, Fault.ERROR_FRAME])
async def test_cut_stream_raises(tmp_path: Path, fault: Fault) -> None:
    """A stream that is not finished raises in the client; it never ends as if it were."""
    async with (
        Upstream(Behaviour(fault=fault)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        _client(running) as client,
    ):
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        seen = 0
        with pytest.raises(openai.APIError):  # noqa: PT012 - the error comes in mid-loop
            async for _ in stream:
                seen += 1
        assert seen > 0


async def test_cut_responses_stream_raises(tmp_path: Path) -> None:
    """The responses surface, too, tells its caller that an answer is not whole."""
    async with (
        Upstream(Behaviour(fault=Fault.CUT_STREAM)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        _client(running) as client,
    ):
        stream = await client.responses.create(model=MODEL, input="Hi", stream=True)
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass
