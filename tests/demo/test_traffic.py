"""The demo's callers."""

import asyncio

from grayscale.demo.traffic import Tally, Traffic
from grayscale.testing.behaviour import Behaviour, Fault
from grayscale.testing.upstreams import Upstream


async def asked(behaviour: Behaviour) -> tuple[Tally, Upstream]:
    """What callers see of an upstream that behaves like this, in a tenth of a second."""
    async with Upstream(behaviour) as upstream:
        async with Traffic(
            upstream.base_url, "gs_x", model="m", requests_per_second=400
        ) as traffic:
            await asyncio.sleep(0.1)
        return traffic.tally, upstream


async def test_good_answers_are_no_failures() -> None:
    """Whole answers and whole streams count as fine, and both kinds are asked for."""
    tally, upstream = await asked(Behaviour())
    assert (tally.failed, tally.total) == (0, upstream.total)
    bodies = [recorded.body for recorded in upstream.requests]
    assert any(b'"stream": true' in body for body in bodies)
    assert any(b'"stream": false' in body for body in bodies)


async def test_errors_are_counted_as_the_caller_sees_them() -> None:
    """Every request to an upstream that always fails is a failure, with its reason."""
    tally, _ = await asked(Behaviour(error_rate=1, error_status=503))
    assert tally.failed == tally.total
    assert set(tally.why) == {"HTTP 503"}


async def test_a_refusing_upstream_is_a_failure() -> None:
    """No answer at all is a failure too, and does not end the traffic."""
    tally, _ = await asked(Behaviour(fault=Fault.REFUSE))
    assert tally.failed == tally.total > 0


async def test_a_cut_stream_is_a_failure() -> None:
    """A stream without its last word has failed, though its status was 200."""
    tally, _ = await asked(Behaviour(fault=Fault.ERROR_FRAME, tokens=8))
    assert tally.why["a stream was cut"] > 0


def test_recent_shares_forget_what_is_older_than_ten_seconds() -> None:
    """The shares on the screen are those of the last seconds, not of the whole demo."""
    tally = Tally()
    tally.count(version="v1", problem=None, now=0.0)
    tally.count(version="v1", problem=None, now=9.0)
    assert tally.recent() == {"v1": 100.0}
    tally.count(version="v2", problem=None, now=11.0)
    assert tally.recent() == {"v1": 50.0, "v2": 50.0}
