"""The official `openai` client, pointed at the relay and told nothing else."""

from collections.abc import Iterator

import openai
import pytest
from openai import DefaultHttpxClient, OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from tests.e2e.processes import PLAIN, Relay

HELLO: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def client(relay: Relay) -> Iterator[OpenAI]:
    with (
        DefaultHttpxClient(**PLAIN) as http,
        OpenAI(
            base_url=relay.url, api_key=relay.admin_key, max_retries=0, timeout=20, http_client=http
        ) as made,
    ):
        yield made


def test_models_are_listed(client: OpenAI) -> None:
    """The list has the relay's models, each with the moment since which it is served so."""
    models = {model.id: model for model in client.models.list()}
    assert {"gpt-4.1", "claude-sonnet-4-5", "gemini-2.5-flash", "deepseek-v3.2"} <= models.keys()
    assert models["gpt-4.1"].object == "model"
    assert models["gpt-4.1"].created > 1_700_000_000


def test_a_chat_completion(client: OpenAI) -> None:
    """Message, finish reason and usage arrive as the provider sent them."""
    completion = client.chat.completions.create(model="gpt-4.1", messages=HELLO)
    assert completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens > 0


def test_a_streamed_chat_completion(client: OpenAI) -> None:
    """The pieces add up to a text, the last one says why it ended, and usage stays out."""
    stream = client.chat.completions.create(model="gpt-4.1", messages=HELLO, stream=True)
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert len(text.split()) > 5
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_of_a_stream_for_those_who_ask(client: OpenAI) -> None:
    """A caller who asks for usage has its chunk at the end."""
    stream = client.chat.completions.create(
        model="gpt-4.1", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    *_, last = stream
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 0


def test_embeddings(client: OpenAI) -> None:
    """Vectors come through, with one for each input."""
    answer = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert [item.index for item in answer.data] == [0, 1]
    assert len(answer.data[0].embedding) > 1


def test_a_completion(client: OpenAI) -> None:
    """The old completions call passes too."""
    answer = client.completions.create(model="gpt-4.1", prompt="Hello")
    assert answer.choices[0].text


def test_a_response(client: OpenAI) -> None:
    """The responses call has its text."""
    answer = client.responses.create(model="gpt-4.1", input="Hello")
    assert answer.status == "completed"
    assert answer.output_text


def test_a_streamed_response(client: OpenAI) -> None:
    """Named events arrive in order, up to the one that ends the stream."""
    events = list(client.responses.create(model="gpt-4.1", input="Hello", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert any(event.type == "response.output_text.delta" for event in events)


def test_who_served_is_in_the_headers(client: OpenAI) -> None:
    """The raw answer names version and config; a pinned version is the one that served."""
    headers = {"X-Relay-Version": "stable"}
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4.1", messages=HELLO, extra_headers=headers
    )
    assert raw.headers["x-relay-version"] == "v1"
    assert raw.headers["x-relay-config-id"].startswith("config-")
    assert raw.parse().object == "chat.completion"


def test_errors_are_the_ones_that_the_client_knows(client: OpenAI, relay: Relay) -> None:
    """Each refusal is the exception that callers already catch, with code and param."""
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-5-imaginary", messages=HELLO)
    with (
        OpenAI(base_url=relay.url, api_key="gs_wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as wrong_key,
    ):
        stranger.models.list()
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="busy", messages=HELLO)
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="breaks", messages=HELLO)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert wrong_key.value.code == "invalid_api_key"


def test_an_error_in_a_stream_is_raised(client: OpenAI) -> None:
    """A stream that the provider breaks off ends with an exception, not as if complete."""
    stream = client.chat.completions.create(model="cuts", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError):
        list(stream)
