"""The webhook notifier, against a real receiver and the specification's own verifier."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from grayscale.clock import SystemClock
from grayscale.notices.retry_after import retry_after_seconds
from grayscale.notices.seam import NoticeError
from grayscale.notices.settings import WebhookSettings
from grayscale.notices.webhook import WebhookNotifier, body_of
from grayscale.testing.clock import FakeClock
from grayscale.testing.receivers import Failure, WebhookReceiver
from tests.notices.certificates import certificate_for
from tests.notices.samples import envelope, notice

SECRET = "whsec_" + base64.b64encode(b"thirty-two-bytes-of-made-up-keys").decode()


def resolving_to(*addresses: str) -> Callable[[str, int], Awaitable[list[str]]]:
    async def resolver(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolver


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver() as running:
        yield running


def notifier(url: str, *, timeout_seconds: float = 20) -> WebhookNotifier:
    settings = WebhookSettings.model_validate({"url": url, "secret": SECRET})
    return WebhookNotifier(settings, clock=SystemClock(), timeout_seconds=timeout_seconds)


async def refused(sender: WebhookNotifier) -> NoticeError:
    with pytest.raises(NoticeError) as error:
        await sender.send(notice=notice())
    return error.value


async def test_signature_verifies(receiver: WebhookReceiver) -> None:
    """The receiver can verify the raw body with the specification's own code, and a forged one not."""
    await notifier(receiver.url).send(notice=notice())
    request = receiver.accepted[0].request
    headers = dict(request.headers)
    assert Webhook(SECRET).verify(request.body, headers) == envelope()
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body.replace(b"10.0", b"99.0"), headers)


async def test_body_is_the_event_and_its_id_is_stable(receiver: WebhookReceiver) -> None:
    """Two sends of one event have the same body and the same webhook-id."""
    for _ in range(2):
        await notifier(receiver.url).send(notice=notice(reason="größer < kleiner"))
    first, second = (received.request for received in receiver.accepted)
    assert first.header("webhook-id") == second.header("webhook-id") == "evt_01"
    assert first.header("content-type") == "application/json"
    assert first.body == second.body
    assert json.loads(first.body) == envelope(reason="größer < kleiner")


def test_body_is_the_logs_text() -> None:
    """The body is written as the event log writes it: sorted, without spaces, in UTF-8."""
    assert body_of({"b": "ö", "a": {"d": 1, "c": None}}) == '{"a":{"c":null,"d":1},"b":"ö"}'


async def test_timestamp_is_of_the_try(receiver: WebhookReceiver) -> None:
    """The signed time is when it is sent, not when it happened: verifiers allow five minutes."""
    clock = FakeClock()
    settings = WebhookSettings.model_validate({"url": receiver.url, "secret": SECRET})
    sender = WebhookNotifier(settings, clock=clock)
    await sender.send(notice=notice())
    clock.advance(3600)
    await sender.send(notice=notice())
    first, second = (received.request for received in receiver.accepted)
    assert (
        int(second.header("webhook-timestamp") or 0) - int(first.header("webhook-timestamp") or 0)
        == 3600
    )
    assert first.header("webhook-signature") != second.header("webhook-signature")


@pytest.mark.parametrize(
    ("failure", "permanent"),
    [
        (Failure(status=410), True),
        (Failure(status=301, location="http://127.0.0.1:1/elsewhere"), True),
        (Failure(status=307, location="http://127.0.0.1:1/elsewhere"), True),
        (Failure(status=400), False),
        (Failure(status=404), False),
        (Failure(status=500), False),
        (Failure(status=503), False),
        (Failure(hang_up=True), False),
        (Failure(hang=True), False),
    ],
    ids=repr,
)
async def test_failures_that_stay_and_that_pass(
    receiver: WebhookReceiver, failure: Failure, *, permanent: bool
) -> None:
    """Gone and redirects are for good; everything else may be mended at the other end."""
    receiver.fail(failure)
    patience = 0.5 if failure.hang else 20
    error = await refused(notifier(receiver.url, timeout_seconds=patience))
    assert error.permanent is permanent
    assert len(receiver.received) == 1


async def test_retry_after_is_passed_on(receiver: WebhookReceiver) -> None:
    """A 429's Retry-After reaches the outbox."""
    receiver.fail(Failure(status=429, retry_after="17"))
    assert (await refused(notifier(receiver.url))).retry_after_seconds == 17


async def test_receiver_that_is_away() -> None:
    """Nobody listening is worth another try."""
    async with WebhookReceiver() as receiver:
        url = receiver.url
    assert not (await refused(notifier(url))).permanent


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "0.0.0.0",
        "::",
        "224.0.0.1",
    ],
)
async def test_forbidden_addresses_get_nothing(receiver: WebhookReceiver, address: str) -> None:
    """A name that leads to a link-local, metadata or multicast address is refused for good."""
    settings = WebhookSettings.model_validate({"url": receiver.url, "secret": SECRET})
    sender = WebhookNotifier(
        settings, clock=SystemClock(), resolver=resolving_to("127.0.0.1", address)
    )
    error = await refused(sender)
    assert error.permanent
    assert "notifications.webhook.url" in str(error)
    assert not receiver.received


async def test_checked_address_is_the_one_connected_to(receiver: WebhookReceiver) -> None:
    """The connection goes to the address that was checked, and still names the host."""
    url = receiver.url.replace("127.0.0.1", "hooks.example.test")
    settings = WebhookSettings.model_validate({"url": url, "secret": SECRET})
    await WebhookNotifier(settings, clock=SystemClock(), resolver=resolving_to("127.0.0.1")).send(
        notice=notice()
    )
    request = receiver.accepted[0].request
    assert request.header("host") == f"hooks.example.test:{receiver.port}"


async def test_tls_checks_the_host_and_not_the_address(tmp_path: Path) -> None:
    """Over TLS, too, the checked address is dialled and the certificate must be the host's."""
    certificate = certificate_for("hooks.example.test", folder=tmp_path)
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificate.for_server)
    port = server.sockets[0].getsockname()[1]

    def sender(host: str) -> WebhookNotifier:
        settings = WebhookSettings.model_validate(
            {"url": f"https://{host}:{port}/hook", "secret": SECRET}
        )
        return WebhookNotifier(
            settings,
            clock=SystemClock(),
            resolver=resolving_to("127.0.0.1"),
            tls=certificate.for_client,
        )

    async with server:
        await sender("hooks.example.test").send(notice=notice())
        error = await refused(sender("other.example.test"))
    assert f"\r\nhost: hooks.example.test:{port}\r\n".encode() in heard[0].lower()
    assert "certificate" in str(error).lower()
    assert len(heard) == 1


async def test_name_that_does_not_resolve(receiver: WebhookReceiver) -> None:
    """A name without an address is worth another try: the DNS may be down."""
    settings = WebhookSettings.model_validate({"url": receiver.url, "secret": SECRET})

    async def failing(host: str, port: int) -> list[str]:
        raise OSError("temporary failure in name resolution")

    for resolver in (failing, resolving_to()):
        sender = WebhookNotifier(settings, clock=SystemClock(), resolver=resolver)
        assert not (await refused(sender)).permanent


def test_webhook_repr_hides_path_and_secret() -> None:
    """The repr shows the host; path, query and secret stay out."""
    shown = repr(notifier("https://hooks.example.test/T0/very-secret?k=v"))
    assert shown == "<WebhookNotifier https://hooks.example.test/…>"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("12", 12),
        ("1.5", 1.5),
        ("-3", 0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60),
        ("Thu, 01 Jan 2026 00:01:00 -0000", 60),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    """Both forms of Retry-After are read; nonsense counts as absent."""
    clock = FakeClock()
    assert retry_after_seconds(value, now=clock.now()) == seconds
