"""The outbox's loop: at least once, in order, with back-off, and never for ever."""

import asyncio
import logging
import random

import pytest

from grayscale.errors import StoreUnavailable
from grayscale.notices.delivery import Delivery
from grayscale.notices.null import NullNotifier
from grayscale.notices.seam import Notice, NoticeError, Notifier
from grayscale.testing.clock import FakeClock
from tests.notices.outboxes import Channel, MemoryOutbox


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outbox(clock: FakeClock) -> MemoryOutbox:
    return MemoryOutbox(clock)


def delivery(
    outbox: MemoryOutbox, clock: FakeClock, *, send_timeout_seconds: float = 5, **channels: Notifier
) -> Delivery:
    return Delivery(
        outbox,
        channels,
        clock,
        send_timeout_seconds=send_timeout_seconds,
        jitter=random.Random(1),
    )


async def run_until_settled(
    loop: Delivery, outbox: MemoryOutbox, clock: FakeClock, *, at_most: int = 1000
) -> None:
    """Run the loop and jump to the next time that something is due, until nothing is pending."""
    for _ in range(at_most):
        await loop.run_once()
        seconds = outbox.seconds_to_next()
        if seconds is None:
            return
        clock.advance(seconds)
    raise AssertionError(f"still pending after {at_most} runs")


def failing(error: NoticeError, *, times: int = 10**9, only: str | None = None) -> Channel:
    """A channel that fails so often (for one event only, if so told), then takes everything."""
    left = times

    async def answer(notice: Notice) -> None:
        nonlocal left
        if left and only in {None, notice.event_id}:
            left -= 1
            raise error

    return Channel(answer)


async def test_what_is_due_arrives_once(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """Each due item is sent once and marked; the next run finds nothing."""
    slack, webhook = Channel(), Channel()
    for channel in ("slack", "webhook", "slack"):
        outbox.put(channel)
    loop = delivery(outbox, clock, slack=slack, webhook=webhook)
    assert await loop.run_once() == 3
    assert await loop.run_once() == 0
    assert (slack.arrived, webhook.arrived) == (["evt_1", "evt_3"], ["evt_2"])
    assert outbox.states == ["sent", "sent", "sent"]


async def test_hint_reaches_the_channel(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """The item's hint, such as a plan's Slack channel, is in the notice."""
    hints = []

    async def answer(notice: Notice) -> None:
        hints.append(notice.channel_hint)

    outbox.put(channel_hint="#payments")
    await delivery(outbox, clock, slack=Channel(answer)).run_once()
    assert hints == ["#payments"]


async def test_back_off_doubles_to_five_minutes(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """Waits are 1, 2, 4 … 256, 300, 300 s, each within a fifth, and not all alike."""
    row = outbox.put()
    await run_until_settled(
        delivery(outbox, clock, slack=failing(NoticeError("down"), times=12)), outbox, clock
    )
    expected = [*(2**power for power in range(9)), 300, 300, 300]
    delays = [delay for delay in row.delays if delay is not None]
    assert len(delays) == len(expected)
    ratios = [delay / plain for delay, plain in zip(delays, expected, strict=True)]
    assert all(0.8 <= ratio <= 1.2 for ratio in ratios)
    assert len(set(ratios)) == len(ratios)
    assert row.state == "sent"


@pytest.mark.parametrize(("asked", "waits"), [(45.0, 45.0), (0.0, None), (1e9, 3600.0)])
async def test_retry_after_is_honoured_within_reason(
    outbox: MemoryOutbox, clock: FakeClock, asked: float, waits: float | None
) -> None:
    """A longer wait that was asked for is kept, up to an hour; a shorter one does not hurry us."""
    row = outbox.put()
    slack = failing(NoticeError("busy", retry_after_seconds=asked), times=1)
    await delivery(outbox, clock, slack=slack).run_once()
    delay = row.delays[0]
    assert delay is not None
    assert delay == waits if waits else 0.8 <= delay <= 1.2


async def test_permanent_errors_are_not_retried(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """A permanent error gives an item up at once, and the next in line goes in the same run."""
    first = outbox.put()
    outbox.put()
    slack = failing(NoticeError("no such channel", permanent=True), only="evt_1")
    await delivery(outbox, clock, slack=slack).run_once()
    assert outbox.states == ["dead", "sent"]
    assert first.errors == ["no such channel"]
    assert slack.tries["evt_1"] == 1


async def test_given_up_after_a_day(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """A receiver that stays away for 24 h is given up, not earlier, and not much later."""
    row = outbox.put()
    loop = delivery(outbox, clock, slack=failing(NoticeError("down")))
    await run_until_settled(loop, outbox, clock)
    assert row.state == "dead"
    assert 86_400 <= clock.monotonic() <= 86_400 + 360


async def test_relay_that_was_off_does_not_give_up_at_once(
    outbox: MemoryOutbox, clock: FakeClock
) -> None:
    """Items older than a day get ten tries all the same: the relay, not the receiver, was away."""
    row = outbox.put()
    clock.advance(3 * 86_400)
    slack = failing(NoticeError("network not up yet"), times=9)
    await run_until_settled(delivery(outbox, clock, slack=slack), outbox, clock)
    assert row.state == "sent"
    other = outbox.put()
    clock.advance(3 * 86_400)
    await run_until_settled(
        delivery(outbox, clock, slack=failing(NoticeError("down"))), outbox, clock
    )
    assert (other.state, len(other.delays)) == ("dead", 10)


async def test_clock_set_back_gives_nothing_up(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """A wall clock that is set back makes an item younger, which only means more tries."""
    row = outbox.put(attempts=50)
    clock.shift_wall(-7 * 86_400)
    row.next_at = clock.now()
    slack = failing(NoticeError("down"), times=1)
    await delivery(outbox, clock, slack=slack).run_once()
    assert row.state == "pending"


async def test_story_is_told_in_order(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """While one event of a release cannot be delivered, later ones of it wait on that channel."""
    for _ in range(3):
        outbox.put("slack")
    slack = failing(NoticeError("down"), times=4, only="evt_1")
    loop = delivery(outbox, clock, slack=slack)
    await loop.run_once()
    assert outbox.states == ["pending", "pending", "pending"]
    assert dict(slack.tries) == {"evt_1": 1}
    await run_until_settled(loop, outbox, clock)
    assert slack.arrived == ["evt_1", "evt_2", "evt_3"]


async def test_other_lines_do_not_wait(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """Neither another release, nor another channel, nor an event of no release is held up."""
    outbox.put("slack", release="rel_1")
    outbox.put("slack", release="rel_2")
    outbox.put("webhook", release="rel_1")
    outbox.put("slack", release=None)
    outbox.put("slack", release=None)
    slack = failing(NoticeError("down"), only="evt_1")
    stuck_too = slack.answer

    async def answer(notice: Notice) -> None:
        if notice.event_id == "evt_4":
            raise NoticeError("down")
        assert stuck_too is not None
        await stuck_too(notice)

    slack.answer = answer
    await delivery(outbox, clock, slack=slack, webhook=Channel()).run_once()
    assert outbox.states == ["pending", "sent", "sent", "pending", "sent"]


async def test_unknown_channel_is_given_up_with_the_remedy(
    outbox: MemoryOutbox, clock: FakeClock
) -> None:
    """A channel that is not set up is named, with the ones that are and what to do."""
    row = outbox.put("pager")
    await delivery(outbox, clock, slack=Channel(), email=Channel()).run_once()
    assert row.state == "dead"
    [error] = row.errors
    assert error.startswith("channel 'pager' is not set up (there: email, slack)")
    assert error.endswith("add notifications.pager to grayscale.yaml")


async def test_hanging_channel_delays_nobody_for_long(
    outbox: MemoryOutbox, clock: FakeClock
) -> None:
    """A send that hangs is cut off and retried; the other channels arrive in the same run."""

    async def hang(notice: Notice) -> None:
        await asyncio.Event().wait()

    stuck = outbox.put("webhook")
    outbox.put("slack")
    loop = delivery(
        outbox, clock, send_timeout_seconds=0.05, webhook=Channel(hang), slack=Channel()
    )
    assert await loop.run_once() == 1
    assert outbox.states == ["pending", "sent"]
    assert stuck.errors == ["no answer within 0.05 s"]


async def test_run_is_bounded_in_time(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """A slow receiver ends the run after its time; what was not begun stays due, untouched."""

    async def slow(notice: Notice) -> None:
        clock.advance(9)

    for _ in range(10):
        outbox.put("slack")
    slack = Channel(slow)
    loop = delivery(outbox, clock, slack=slack)
    assert await loop.run_once() == 3
    assert outbox.states == ["sent"] * 3 + ["pending"] * 7
    await run_until_settled(loop, outbox, clock)
    assert slack.arrived == [f"evt_{number}" for number in range(1, 11)]


async def test_channel_is_not_flooded(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """However many releases have news, a channel gets at most four messages at once."""
    for number in range(30):
        outbox.put("slack", release=f"rel_{number}")
    slack = Channel()
    assert await delivery(outbox, clock, slack=slack).run_once() == 30
    assert 2 <= slack.most_at_once <= 4


async def test_broken_channel_ends_nothing(
    outbox: MemoryOutbox, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that no channel should raise is logged, retried, and leaves the others alone."""

    async def broken(notice: Notice) -> None:
        raise KeyError("oops")

    row = outbox.put("webhook")
    outbox.put("slack")
    with caplog.at_level(logging.ERROR, logger="grayscale.notices.delivery"):
        await delivery(outbox, clock, webhook=Channel(broken), slack=Channel()).run_once()
    assert outbox.states == ["pending", "sent"]
    assert row.errors == ["KeyError: 'oops'"]
    assert "webhook" in caplog.text


async def test_unreadable_event_is_given_up(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """A row that holds no event is given up with the reason, and holds nobody back."""
    row = outbox.put(envelope={"data": {"release_id": "rel_01"}})
    outbox.put()
    await delivery(outbox, clock, slack=Channel()).run_once()
    assert outbox.states == ["dead", "sent"]
    assert "not an event" in row.errors[0]


async def test_store_trouble_means_once_more(clock: FakeClock) -> None:
    """If an arrival cannot be written down, it is sent again under the same id; others go on."""

    class Forgetful(MemoryOutbox):
        failures = 1

        async def delivered(self, *, item_id: str) -> None:
            if item_id == "1" and self.failures:
                self.failures -= 1
                raise StoreUnavailable("database is locked")
            await super().delivered(item_id=item_id)

    outbox = Forgetful(clock)
    for release in ("rel_1", "rel_1", "rel_2"):
        outbox.put(release=release)
    slack = Channel()
    loop = delivery(outbox, clock, slack=slack)
    assert await loop.run_once() == 1
    assert outbox.states == ["pending", "pending", "sent"]
    await loop.run_once()
    assert slack.arrived.count("evt_1") == 2
    assert slack.arrived.index("evt_2") > 1
    assert outbox.states == ["sent"] * 3


async def test_cancelled_run_marks_nothing(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """A leader that loses its lease in the middle of a send leaves the item due as it was."""
    begun = asyncio.Event()

    async def hang(notice: Notice) -> None:
        begun.set()
        await asyncio.Event().wait()

    row = outbox.put()
    running = asyncio.create_task(delivery(outbox, clock, slack=Channel(hang)).run_once())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (row.state, row.errors, row.item.attempts) == ("pending", [], 0)


async def test_null_channel_takes_everything(outbox: MemoryOutbox, clock: FakeClock) -> None:
    """The null notifier is a channel like any other."""
    outbox.put("null")
    assert await delivery(outbox, clock, null=NullNotifier()).run_once() == 1
