"""Slack, through slack-sdk: the only file that knows it."""

from __future__ import annotations

import uuid

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from grayscale.clock import Clock
from grayscale.notices.retry_after import retry_after_seconds
from grayscale.notices.seam import Notice, NoticeError
from grayscale.notices.settings import SlackSettings
from grayscale.notices.wording import slack_blocks, slack_text

_NAMESPACE = uuid.UUID("3f0f7c0e-5a0c-5e0b-9a57-6d3a1a0c2b11")
_PERMANENT = frozenset(
    {
        "access_denied",
        "account_inactive",
        "channel_not_found",
        "ekm_access_denied",
        "enterprise_is_restricted",
        "invalid_arguments",
        "invalid_auth",
        "invalid_blocks",
        "is_archived",
        "missing_scope",
        "msg_too_long",
        "no_permission",
        "no_text",
        "not_allowed_token_type",
        "not_authed",
        "not_in_channel",
        "org_login_required",
        "restricted_action",
        "team_not_found",
        "token_expired",
        "token_revoked",
        "two_factor_setup_required",
        "unknown_method",
    }
)


def message_id(event_id: str) -> str:
    """Slack's `client_msg_id`, which must be a UUID: the same for every try of one event."""
    return str(uuid.uuid5(_NAMESPACE, event_id))


class SlackNotifier:
    """Posts to one workspace; the notice's hint names the channel, else the settings do."""

    def __init__(
        self, settings: SlackSettings, *, clock: Clock, timeout_seconds: float = 10.0
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    def __repr__(self) -> str:
        """Show where it posts, not with which token."""
        return f"<SlackNotifier {self._settings.base_url} {self._settings.channel}>"

    async def send(self, *, notice: Notice) -> None:
        """Post the message."""
        try:
            await self._post(notice)
        except SlackApiError as error:
            raise self._refused(error) from error
        except (aiohttp.ClientError, TimeoutError, OSError, SlackClientError) as error:
            reason = str(error) or type(error).__name__
            raise NoticeError(f"Slack was not reached: {reason}") from error
        except (AttributeError, TypeError, ValueError) as error:
            # What slack-sdk raises when something in between answers 200 with anything but
            # Slack's JSON: it looks for `ok` in a string, a list, or bytes of no encoding.
            raise NoticeError("Slack's answer could not be read; is base_url right?") from error

    async def _post(self, notice: Notice) -> None:
        # A session of our own, because slack-sdk's ignores NO_PROXY; and no retries inside, because
        # the outbox retries.
        async with aiohttp.ClientSession(timeout=self._timeout, trust_env=True) as session:
            client = AsyncWebClient(
                token=self._settings.token.get_secret_value(),
                base_url=self._settings.base_url,
                session=session,
                retry_handlers=[],
            )
            client.proxy = None
            await client.chat_postMessage(
                channel=notice.channel_hint or self._settings.channel,
                text=slack_text(notice),
                blocks=slack_blocks(notice),
                parse="none",
                link_names=False,
                unfurl_links=False,
                unfurl_media=False,
                client_msg_id=message_id(notice.event_id),
            )

    def _refused(self, error: SlackApiError) -> NoticeError:
        response = error.response
        status = getattr(response, "status_code", None) or getattr(response, "status", 0)
        data = getattr(response, "data", None)
        code = data.get("error") if isinstance(data, dict) else None
        asked = response.headers.get("Retry-After")
        what = f"'{code}'" if code else f"HTTP status {status}"
        return NoticeError(
            f"Slack refused the message: {what}",
            retry_after_seconds=retry_after_seconds(asked, now=self._clock.now()),
            permanent=code in _PERMANENT,
        )
