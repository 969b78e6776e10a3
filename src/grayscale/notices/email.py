"""Email by SMTP."""

from __future__ import annotations

import hashlib
import re
import smtplib
import socket
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

import anyio.to_thread

from grayscale.notices.plain import one_line
from grayscale.notices.seam import Notice, NoticeError
from grayscale.notices.settings import EmailSettings

_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class _Server:
    host: str
    port: int
    implicit_tls: bool
    starttls: str
    user: str | None
    password: str

    @classmethod
    def parse(cls, url: str) -> _Server:
        parts = urlsplit(url)
        implicit_tls = parts.scheme == "smtps"
        submission = 465 if implicit_tls else 587
        return cls(
            host=parts.hostname or "localhost",
            port=parts.port or (submission if implicit_tls or parts.username else 25),
            implicit_tls=implicit_tls,
            starttls=parts.query.removeprefix("starttls=") or "if_offered",
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password or ""),
        )

    @property
    def is_loopback(self) -> bool:
        """Whether nobody can listen in between."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class EmailNotifier:
    """Sends plain text to every recipient; one Message-ID per event, one thread per release."""

    def __init__(
        self,
        settings: EmailSettings,
        *,
        timeout_seconds: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._server = _Server.parse(settings.smtp.get_secret_value())
        self._timeout_seconds = timeout_seconds
        self._tls = tls

    def __repr__(self) -> str:
        """Show server and recipients, not the password."""
        recipients = ", ".join(self._settings.to)
        return f"<EmailNotifier {self._server.host}:{self._server.port} → {recipients}>"

    async def send(self, *, notice: Notice) -> None:
        """Hand the message to the server, in a thread: smtplib blocks."""
        message = self.message(notice)
        await anyio.to_thread.run_sync(self._deliver, message, abandon_on_cancel=True)

    def message(self, notice: Notice) -> EmailMessage:
        """The notice as an email."""
        _, sender = parseaddr(self._settings.from_)
        domain = sender.rpartition("@")[2]
        message = EmailMessage()
        message["Subject"] = one_line(f"[Grayscale] {notice.subject}", limit=200)
        message["From"] = self._settings.from_
        message["To"] = ", ".join(self._settings.to)
        message["Date"] = format_datetime(notice.timestamp)
        message["Message-ID"] = _message_id(notice.event_id, domain)
        release_id = notice.envelope.get("data", {}).get("release_id")
        if isinstance(release_id, str):
            message["References"] = _message_id(release_id, domain)
        message["Auto-Submitted"] = "auto-generated"
        message["X-Grayscale-Event"] = one_line(notice.type, limit=100)
        message.set_content(notice.text)
        return message

    def _deliver(self, message: EmailMessage) -> None:
        try:
            with self._connect() as client:
                self._secure(client)
                if self._server.user is not None:
                    client.login(self._server.user, self._server.password)
                refused = client.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            raise _refused_recipients(error.recipients) from error
        except smtplib.SMTPResponseException as error:
            reason = _text(error.smtp_error)
            raise NoticeError(
                f"mail server {self._server.host} answered {error.smtp_code} {reason}",
                permanent=error.smtp_code >= 500,
            ) from error
        except smtplib.SMTPNotSupportedError as error:
            raise NoticeError(
                f"mail server {self._server.host}: {error}", permanent=True
            ) from error
        except (smtplib.SMTPException, OSError) as error:
            reason = str(error) or type(error).__name__
            raise NoticeError(
                f"mail server {self._server.host}:{self._server.port} was not reached: {reason}"
            ) from error
        if refused:
            raise _refused_recipients(refused)

    def _connect(self) -> smtplib.SMTP:
        # Named, because smtplib would ask the DNS for this machine's full name, without a time-out.
        me = socket.gethostname() or "localhost"
        server, timeout = self._server, self._timeout_seconds
        if server.implicit_tls:
            return smtplib.SMTP_SSL(
                server.host, server.port, me, timeout=timeout, context=self._tls_context()
            )
        return smtplib.SMTP(server.host, server.port, me, timeout=timeout)

    def _secure(self, client: smtplib.SMTP) -> None:
        server = self._server
        client.ehlo_or_helo_if_needed()
        if server.implicit_tls:
            return
        if server.starttls != "never" and client.has_extn("starttls"):
            client.starttls(context=self._tls_context())
            client.ehlo()
            return
        if server.starttls == "required" or (server.user is not None and not server.is_loopback):
            raise NoticeError(
                f"mail server {server.host} offers no STARTTLS, and the password is not sent in "
                "the clear; use smtps://, or a server without a password",
                permanent=True,
            )

    def _tls_context(self) -> ssl.SSLContext:
        return self._tls or ssl.create_default_context()


def _message_id(name: str, domain: str) -> str:
    """The same for every try; a name that would not fit into the header is hashed."""
    safe = name if _SAFE_ID.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()
    return f"<{safe}@{domain}>"


def _refused_recipients(refused: dict[str, tuple[int, bytes]]) -> NoticeError:
    """Retried only if somebody may still get it; who has it already knows it by its Message-ID."""
    named = "; ".join(
        f"{address}: {code} {_text(reason)}" for address, (code, reason) in refused.items()
    )
    permanent = all(code >= 500 for code, _ in refused.values())
    return NoticeError(f"recipients refused: {named}", permanent=permanent)


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
