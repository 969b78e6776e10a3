"""The `notifications` block of grayscale.yaml."""

from __future__ import annotations

import base64
import binascii
import re
from email.utils import parseaddr
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

# The Standard Webhooks specification asks for 24 to 64 random bytes.
_SECRET_BYTES = range(24, 65)
_ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+")
_HOW_TO_MAKE_ONE = (
    'make one with: python -c "import base64, secrets; '
    "print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
)


def _check_web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an absolute http:// or https:// address")
    _ = parts.port  # raises ValueError where it is no port
    return value


def _check_webhook_secret(value: SecretStr) -> SecretStr:
    encoded = value.get_secret_value().removeprefix("whsec_")
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) not in _SECRET_BYTES:
        raise ValueError(f"must be whsec_ and 24 to 64 bytes in base64; {_HOW_TO_MAKE_ONE}")
    return value


def _check_smtp(value: SecretStr) -> SecretStr:
    parts = urlsplit(value.get_secret_value())
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise ValueError("must be smtp://[user:password@]host[:port] or smtps://…")
    _ = parts.port
    if parts.query not in {"", "starttls=required", "starttls=never"}:
        raise ValueError("the only option is ?starttls=required or ?starttls=never")
    return value


def _check_address(value: str) -> str:
    _, address = parseaddr(value)
    if not value.isprintable() or not _ADDRESS.fullmatch(address):
        raise ValueError(f"{value!r} is not an email address such as oncall@example.com")
    return value


Address = Annotated[str, AfterValidator(_check_address)]


class _Frozen(BaseModel):
    # Inputs stay out of error messages: most of them are, or hold, secrets.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=True,
    )


class SlackSettings(_Frozen):
    """A bot token with `chat:write`, and the channel for plans that name none."""

    token: SecretStr = Field(min_length=1)
    channel: str = Field(min_length=1)
    base_url: Annotated[str, AfterValidator(_check_web_address)] = "https://slack.com/api/"


class WebhookSettings(_Frozen):
    """Where events are posted, and the Standard Webhooks secret that signs them."""

    url: Annotated[str, AfterValidator(_check_web_address)] = Field(repr=False)
    secret: Annotated[SecretStr, AfterValidator(_check_webhook_secret)]


class EmailSettings(_Frozen):
    """`smtp` may hold a password, so it is a secret as a whole.

    `smtp://` takes STARTTLS where the server offers it (`?starttls=required` insists,
    `?starttls=never` does not try); `smtps://` is TLS from the first byte.
    """

    smtp: Annotated[SecretStr, AfterValidator(_check_smtp)]
    from_: Address = Field(alias="from")
    to: tuple[Address, ...] = Field(min_length=1)


class NotificationSettings(_Frozen):
    """The channels that there are; a plan picks among them by name."""

    slack: SlackSettings | None = None
    webhook: WebhookSettings | None = None
    email: EmailSettings | None = None

    def has(self, channel: str) -> bool:
        """Whether the channel of that name is set up."""
        return channel in type(self).model_fields and getattr(self, channel) is not None
