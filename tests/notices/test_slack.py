"""The Slack notifier, against a server that speaks Slack's chat.postMessage."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from grayscale.clock import SystemClock
from grayscale.notices.seam import NoticeError
from grayscale.notices.settings import SlackSettings
from grayscale.notices.slack import SlackNotifier, message_id
from grayscale.testing.receivers import Failure, SlackReceiver
from tests.notices.samples import SENTENCE, notice

TOKEN = "xoxb-made-up"


@pytest.fixture
async def slack() -> AsyncIterator[SlackReceiver]:
    async with SlackReceiver(token=TOKEN) as receiver:
        yield receiver


def notifier(
    slack: SlackReceiver, *, token: str = TOKEN, timeout_seconds: float = 20
) -> SlackNotifier:
    settings = SlackSettings.model_validate(
        {"token": token, "channel": "#releases", "base_url": slack.base_url}
    )
    return SlackNotifier(settings, clock=SystemClock(), timeout_seconds=timeout_seconds)


async def refused(slack: SlackReceiver, **options: Any) -> NoticeError:
    with pytest.raises(NoticeError) as error:
        await notifier(slack, **options).send(notice=notice())
    assert TOKEN not in str(error.value)
    return error.value


async def test_message_arrives_with_text_and_blocks(slack: SlackReceiver) -> None:
    """A message carries fallback text, blocks, a stable id, and switches off Slack's parsing."""
    await notifier(slack).send(notice=notice())
    [message] = slack.messages
    assert message["channel"] == "#releases"
    assert message["text"].startswith("v2.1.0-beta was rolled back.")
    assert SENTENCE in message["blocks"][1]["text"]["text"]
    assert str(uuid.UUID(message["client_msg_id"])) == message_id("evt_01")
    assert (message["parse"], message["link_names"]) == ("none", False)


async def test_hint_names_the_channel(slack: SlackReceiver) -> None:
    """A plan's channel goes before the one of the settings."""
    await notifier(slack).send(notice=notice(channel_hint="#payments"))
    assert slack.messages[0]["channel"] == "#payments"


async def test_second_try_has_the_first_ones_id(slack: SlackReceiver) -> None:
    """A message that was accepted although the answer failed is known again by its id."""
    slack.fail(Failure(status=500, accept_first=True), times=1)
    await refused(slack)
    await notifier(slack).send(notice=notice())
    first, second = slack.messages
    assert first["client_msg_id"] == second["client_msg_id"]
    assert message_id("evt_02") != first["client_msg_id"]


async def test_rate_limit_says_when(slack: SlackReceiver) -> None:
    """Slack's 429 is passed on with its Retry-After."""
    slack.fail(Failure(status=429, retry_after="30"))
    error = await refused(slack)
    assert (error.retry_after_seconds, error.permanent) == (30, False)


@pytest.mark.parametrize("code", ["invalid_auth", "channel_not_found", "token_revoked"])
async def test_refusals_that_stay(slack: SlackReceiver, code: str) -> None:
    """`ok: false` with an error that only a person can mend is permanent, and named."""
    slack.fail(Failure(slack_error=code))
    error = await refused(slack)
    assert error.permanent
    assert code in str(error)


async def test_wrong_token_is_permanent(slack: SlackReceiver) -> None:
    """The receiver's own invalid_auth, not an arranged one, is permanent too."""
    error = await refused(slack, token="xoxb-another")
    assert error.permanent
    assert slack.accepted == []


@pytest.mark.parametrize(
    "failure",
    [
        Failure(status=500),
        Failure(status=503, body=b"{}", content_type="application/json"),
        Failure(slack_error="internal_error"),
        Failure(slack_error="ratelimited"),
        Failure(status=200, body=b"<html>", content_type="text/html"),
        Failure(status=200, body=b"hello", content_type="text/plain"),
        Failure(status=200, body=b"[1]", content_type="application/json"),
        Failure(status=200, body=b'{"ok":', content_type="application/json"),
        Failure(status=200, body=b"\xff\xfe", content_type="application/json"),
        Failure(hang_up=True),
        Failure(hang=True),
    ],
    ids=repr,
)
async def test_troubles_that_pass(slack: SlackReceiver, failure: Failure) -> None:
    """Server errors, garbage, hangs and cut connections are worth another try."""
    slack.fail(failure)
    patience = 0.5 if failure.hang else 20
    assert not (await refused(slack, timeout_seconds=patience)).permanent


async def test_slack_that_is_away() -> None:
    """Nobody listening is worth another try."""
    error = await refused(await gone())
    assert not error.permanent


async def gone() -> SlackReceiver:
    async with SlackReceiver(token=TOKEN) as receiver:
        return receiver


async def test_slack_never_hears_more_than_once_per_send(slack: SlackReceiver) -> None:
    """The SDK's own retries are off: one send is one request."""
    slack.fail(Failure(hang_up=True))
    await refused(slack)
    assert len(slack.received) == 1


async def test_slack_repr_hides_the_token(slack: SlackReceiver) -> None:
    """The repr shows the channel, not the token."""
    shown = repr(notifier(slack))
    assert "#releases" in shown
    assert TOKEN not in shown
