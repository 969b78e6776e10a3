"""The receivers answer as the real ones do, and fail exactly as told."""

import json

import httpx
import pytest

from grayscale.testing.receivers import Failure, SlackReceiver, WebhookReceiver

MESSAGE = {"channel": "#releases", "text": "hello"}
TOKEN = {"authorization": "Bearer xoxb-1"}


@pytest.mark.parametrize(
    ("path", "headers", "body", "answer"),
    [
        ("chat.postMessage", TOKEN, json.dumps(MESSAGE), None),
        ("chat.postMessage", TOKEN, json.dumps({**MESSAGE, "text": ""}), "no_text"),
        ("chat.postMessage", TOKEN, json.dumps({"text": "hello"}), "channel_not_found"),
        ("chat.postMessage", TOKEN, "[]", "channel_not_found"),
        ("chat.postMessage", TOKEN, "{", "invalid_json"),
        ("chat.postMessage", {"authorization": "Bearer xoxb-2"}, "{}", "invalid_auth"),
        ("chat.destroyEverything", TOKEN, "{}", "unknown_method"),
    ],
)
async def test_slack_answers_in_slacks_words(
    path: str, headers: dict[str, str], body: str, answer: str | None
) -> None:
    """Slack's own errors are 200 with `ok: false`; a message that is taken gets a `ts`."""
    async with SlackReceiver(token="xoxb-1") as slack, httpx.AsyncClient() as client:
        reply = await client.post(f"{slack.base_url}{path}", headers=headers, content=body)
    assert reply.status_code == 200
    assert reply.json().get("error") == answer
    assert reply.json()["ok"] is (answer is None)
    assert ("ts" in reply.json()) is (answer is None)
    assert len(slack.messages) == (answer is None)


async def test_failures_end_after_their_number() -> None:
    """A failure for two requests lets the third through, and all three are recorded."""
    async with WebhookReceiver() as receiver, httpx.AsyncClient() as client:
        receiver.fail(Failure(status=503, retry_after="7"), times=2)
        replies = [await client.post(receiver.url, content=b"x") for _ in range(3)]
        assert [reply.status_code for reply in replies] == [503, 503, 200]
        assert replies[0].headers["retry-after"] == "7"
        assert [one.accepted for one in receiver.received] == [False, False, True]
        receiver.fail(Failure(status=500))
        assert (await client.post(receiver.url)).status_code == 500
        receiver.recover()
        assert (await client.post(receiver.url)).status_code == 200
