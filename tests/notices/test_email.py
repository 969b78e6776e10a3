"""The email notifier, against aiosmtpd on loopback."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from grayscale.notices.email import EmailNotifier
from grayscale.notices.seam import Notice, NoticeError
from grayscale.notices.settings import EmailSettings
from tests.notices.certificates import Certificate, certificate_for
from tests.notices.mailboxes import Mailbox, mail_server
from tests.notices.samples import SENTENCE, notice


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with mail_server() as running:
        yield running


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate_for("localhost", folder=tmp_path_factory.mktemp("certificate"))


def notifier(
    port: int,
    *,
    scheme: str = "smtp",
    login: str = "",
    options: str = "",
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    **changes: Any,
) -> EmailNotifier:
    settings = EmailSettings.model_validate(
        {
            "smtp": f"{scheme}://{login}{host}:{port}{options}",
            "from": "Grayscale <grayscale@example.test>",
            "to": ["oncall@example.test", "lead@example.test"],
            **changes,
        }
    )
    return EmailNotifier(settings, timeout_seconds=20, tls=tls)


async def refused(sender: EmailNotifier) -> NoticeError:
    with pytest.raises(NoticeError) as error:
        await sender.send(notice=notice())
    return error.value


async def test_message_arrives_as_plain_text(mailbox: Mailbox) -> None:
    """Everybody gets one plain-text message that says what happened and links the run."""
    await notifier(mailbox.port).send(notice=notice())
    [message] = mailbox.messages
    assert mailbox.recipients == [["oncall@example.test", "lead@example.test"]]
    assert message["Subject"] == "[Grayscale] v2.1.0-beta was rolled back"
    assert message["From"] == "Grayscale <grayscale@example.test>"
    assert message["Date"] == "Fri, 02 Jan 2026 03:04:05 +0000"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    assert SENTENCE in message.get_content()


async def test_message_id_is_the_events(mailbox: Mailbox) -> None:
    """Each try has the same Message-ID; another event has another, in the same thread."""
    for event_id in ("evt_01", "evt_01", "evt_02"):
        await notifier(mailbox.port).send(notice=notice(event_id=event_id))
    ids = [message["Message-ID"] for message in mailbox.messages]
    assert ids == ["<evt_01@example.test>", "<evt_01@example.test>", "<evt_02@example.test>"]
    assert {message["References"] for message in mailbox.messages} == {"<rel_01@example.test>"}


async def test_headers_cannot_be_injected(mailbox: Mailbox) -> None:
    """Line breaks in a subject, an event id or a release id do not become headers."""
    evil = "x\r\nBcc: evil@example.test\r\n\r\nbody"
    honest = notice(release_id=evil)
    await notifier(mailbox.port).send(
        notice=Notice(
            event_id=evil,
            type=evil,
            timestamp=honest.timestamp,
            subject=evil,
            text=honest.text,
            envelope=honest.envelope,
        )
    )
    [message] = mailbox.messages
    assert message["Bcc"] is None
    assert message["Subject"] == "[Grayscale] x Bcc: evil@example.test body"
    assert message.get_content().startswith("v2.1.0-beta was rolled back.")


@pytest.mark.parametrize(
    ("answer", "permanent"),
    [("451 try later", False), ("452 full", False), ("550 no", True), ("554 spam", True)],
)
async def test_codes_decide_about_retries(
    mailbox: Mailbox, answer: str, *, permanent: bool
) -> None:
    """4xx is worth another try and 5xx is not; the server's words are passed on."""
    mailbox.data_answer = answer
    error = await refused(notifier(mailbox.port))
    assert error.permanent is permanent
    assert answer in str(error)


async def test_refused_recipients_are_named(mailbox: Mailbox) -> None:
    """If some are refused, the others get it, and the error names who did not and why."""
    mailbox.refused = {"lead@example.test": "550 no such user"}
    error = await refused(notifier(mailbox.port))
    assert mailbox.recipients == [["oncall@example.test"]]
    assert "lead@example.test: 550 no such user" in str(error)
    assert error.permanent
    mailbox.refused = {"lead@example.test": "550 no", "oncall@example.test": "450 greylisted"}
    assert not (await refused(notifier(mailbox.port))).permanent


async def test_mail_server_that_is_away_or_silent() -> None:
    """Nobody listening, and somebody who says nothing, are worth another try."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent:
        settings = EmailSettings.model_validate(
            {"smtp": f"smtp://127.0.0.1:{port}", "from": "a@b.test", "to": ["c@d.test"]}
        )
        error = await refused(EmailNotifier(settings, timeout_seconds=0.2))
        assert not error.permanent
    assert not (await refused(notifier(port))).permanent


def allow(*logins: tuple[str, str]) -> Any:
    def authenticate(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given in logins, handled=False)

    return authenticate


async def test_login_goes_over_starttls(certificate: Certificate) -> None:
    """With STARTTLS on offer it is taken before the password is sent."""
    options: dict[str, Any] = {
        "tls_context": certificate.for_server,
        "require_starttls": True,
        "auth_require_tls": True,
        "auth_required": True,
        "authenticator": allow(("ann", "p@ss:word")),
    }
    async with mail_server(**options) as mailbox:
        sender = notifier(
            mailbox.port, login="ann:p%40ss%3Aword@", host="localhost", tls=certificate.for_client
        )
        await sender.send(notice=notice())
        assert len(mailbox.messages) == 1
        wrong = notifier(
            mailbox.port, login="ann:wrong@", host="localhost", tls=certificate.for_client
        )
        error = await refused(wrong)
        assert error.permanent
        assert "wrong" not in str(error)


# Not loopback by its number, and yet this machine: a stand-in for a server out there.
OUT_THERE = "0.0.0.0"


@pytest.mark.allow_hosts([OUT_THERE, "127.0.0.1"])
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
async def test_passwords_are_not_sent_in_the_clear() -> None:
    """Without TLS a login is refused for good, but for a server on this very machine."""
    options: dict[str, Any] = {
        "auth_require_tls": False,
        "auth_required": True,
        "authenticator": allow(("ann", "secret")),
    }
    async with mail_server(**options) as mailbox:
        error = await refused(notifier(mailbox.port, login="ann:secret@", host=OUT_THERE))
        assert error.permanent
        assert "smtps://" in str(error)
        assert mailbox.messages == []
        await notifier(mailbox.port, login="ann:secret@", host="127.0.0.1").send(notice=notice())
        assert len(mailbox.messages) == 1


async def test_tls_from_the_first_byte(certificate: Certificate) -> None:
    """smtps:// speaks TLS at once."""
    async with mail_server(tls=certificate.for_server) as mailbox:
        sender = notifier(
            mailbox.port, scheme="smtps", host="localhost", tls=certificate.for_client
        )
        await sender.send(notice=notice())
        assert len(mailbox.messages) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_unknown_certificates_are_refused(certificate: Certificate, scheme: str) -> None:
    """A certificate that the system does not trust ends the attempt, before any mail is sent."""
    tls = {"tls_context": certificate.for_server} if scheme == "smtp" else {}
    if scheme == "smtps":
        tls = {"tls": certificate.for_server}
    async with mail_server(**tls) as mailbox:
        error = await refused(notifier(mailbox.port, scheme=scheme, host="localhost"))
        assert "certificate" in str(error).lower()
        assert mailbox.messages == []


async def test_starttls_can_be_insisted_on_or_left(certificate: Certificate) -> None:
    """`required` refuses a server without STARTTLS; `never` does not use one that has it."""
    async with mail_server() as plain:
        error = await refused(notifier(plain.port, options="?starttls=required"))
        assert error.permanent
        assert plain.messages == []
    async with mail_server(tls_context=certificate.for_server) as offering:
        await notifier(offering.port, options="?starttls=never").send(notice=notice())
        assert len(offering.messages) == 1


async def test_cancelling_does_not_wait_for_the_mail_server() -> None:
    """A send that is given up returns at once, while its thread runs into its own time-out."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began.set()
        await reader.read()
        writer.close()
        ended.set()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent:
        settings = EmailSettings.model_validate(
            {
                "smtp": f"smtp://127.0.0.1:{silent.sockets[0].getsockname()[1]}",
                "from": "a@b.test",
                "to": ["c@d.test"],
            }
        )
        sender = EmailNotifier(settings, timeout_seconds=1)
        sending = asyncio.create_task(sender.send(notice=notice()))
        async with asyncio.timeout(20):
            await began.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert not ended.is_set()
            await ended.wait()


def test_email_repr_hides_the_password() -> None:
    """The repr shows server and recipients, not the login."""
    shown = repr(notifier(25, login="ann:very-secret@"))
    assert "127.0.0.1:25" in shown
    assert "very-secret" not in shown
