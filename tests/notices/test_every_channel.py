"""What holds for every channel, through the real loop to real servers."""

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from grayscale.notices import NotificationSettings, build_notifiers
from grayscale.notices.delivery import Delivery
from grayscale.notices.seam import NoticeError
from grayscale.notices.slack import message_id
from grayscale.testing.clock import FakeClock
from grayscale.testing.receivers import Failure, SlackReceiver, WebhookReceiver
from tests.notices.mailboxes import Mailbox, mail_server
from tests.notices.outboxes import MemoryOutbox
from tests.notices.samples import notice

SECRET = "whsec_" + base64.b64encode(b"thirty-two-bytes-of-made-up-keys").decode()
CHANNELS = ("slack", "webhook", "email")


class World:
    """One server for each channel, and the ids of the events that each has taken."""

    def __init__(self, slack: SlackReceiver, webhook: WebhookReceiver, mailbox: Mailbox) -> None:
        self.slack, self.webhook, self.mailbox = slack, webhook, mailbox
        self.settings = NotificationSettings.model_validate(
            {
                "slack": {"token": "xoxb-1", "channel": "#releases", "base_url": slack.base_url},
                "webhook": {"url": webhook.url, "secret": SECRET},
                "email": {
                    "smtp": f"smtp://127.0.0.1:{mailbox.port}",
                    "from": "grayscale@example.test",
                    "to": ["oncall@example.test"],
                },
            }
        )

    def taken(self, channel: str) -> list[str]:
        """The ids under which the channel's server knows what it took."""
        if channel == "slack":
            return [message["client_msg_id"] for message in self.slack.messages]
        if channel == "webhook":
            return [str(one.request.header("webhook-id")) for one in self.webhook.accepted]
        return [str(message["Message-ID"]) for message in self.mailbox.messages]

    def fail(self) -> None:
        """Every server fails from now on."""
        self.slack.fail(Failure(status=503))
        self.webhook.fail(Failure(status=503))
        self.mailbox.data_answer = "451 later"

    def recover(self) -> None:
        """Every server is well again."""
        self.slack.recover()
        self.webhook.recover()
        self.mailbox.data_answer = "250 taken"


def known_as(channel: str, event_id: str) -> str:
    """The id that the channel gives to an event."""
    if channel == "slack":
        return message_id(event_id)
    return event_id if channel == "webhook" else f"<{event_id}@example.test>"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(SlackReceiver(token="xoxb-1"))
        webhook = await stack.enter_async_context(WebhookReceiver())
        mailbox = await stack.enter_async_context(mail_server())
        yield World(slack, webhook, mailbox)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_one_send_is_one_arrival_under_a_stable_id(world: World, channel: str) -> None:
    """Sent twice, an event arrives twice under one id, by which the receiver can tell."""
    sender = build_notifiers(world.settings)[channel]
    await sender.send(notice=notice(event_id="evt_9"))
    await sender.send(notice=notice(event_id="evt_9"))
    assert world.taken(channel) == [known_as(channel, "evt_9")] * 2


@pytest.mark.parametrize("channel", CHANNELS)
async def test_nasty_texts_are_taken(world: World, channel: str) -> None:
    """No text that an event may hold keeps a notice from arriving."""
    nasty = "Zürich 灰度 🟢 <!channel> & \x00\x1b[31m\u202e\r\n.\r\nRSET " + "long " * 3000
    sender = build_notifiers(world.settings)[channel]
    await sender.send(notice=notice(reason=nasty, version=nasty, labels={nasty: nasty}))
    assert len(world.taken(channel)) == 1


@pytest.mark.parametrize("channel", CHANNELS)
async def test_trouble_is_a_notice_error(world: World, channel: str) -> None:
    """A failing server shows as NoticeError, worth another try, whatever lies beneath."""
    world.fail()
    with pytest.raises(NoticeError) as error:
        await build_notifiers(world.settings)[channel].send(notice=notice())
    assert not error.value.permanent


async def test_outage_loses_nothing_and_keeps_the_order(world: World) -> None:
    """All receivers are down for ten minutes: afterwards every event is there once, in order."""
    clock = FakeClock()
    outbox = MemoryOutbox(clock)
    loop = Delivery(outbox, build_notifiers(world.settings), clock)
    world.fail()
    for number in range(9):
        outbox.put(CHANNELS[number % 3])
    while clock.monotonic() < 600:
        assert await loop.run_once() == 0
        clock.advance(outbox.seconds_to_next() or 0)
    world.recover()
    while (seconds := outbox.seconds_to_next()) is not None:
        clock.advance(seconds)
        await loop.run_once()
    assert outbox.states == ["sent"] * 9
    for index, channel in enumerate(CHANNELS):
        events = [f"evt_{number}" for number in range(index + 1, 10, 3)]
        assert world.taken(channel) == [known_as(channel, event) for event in events]
