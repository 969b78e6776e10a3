"""From settings to channels."""

from __future__ import annotations

from grayscale.clock import Clock, SystemClock
from grayscale.notices.email import EmailNotifier
from grayscale.notices.seam import Notifier
from grayscale.notices.settings import NotificationSettings
from grayscale.notices.webhook import WebhookNotifier


def build_notifiers(
    settings: NotificationSettings,
    *,
    channel_override: str | None = None,
    clock: Clock | None = None,
) -> dict[str, Notifier]:
    """The configured channels by name; `channel_override` replaces the Slack channel."""
    clock = clock or SystemClock()
    notifiers: dict[str, Notifier] = {}
    if settings.slack is not None:
        # slack-sdk is large, and most relays have no Slack.
        from grayscale.notices.slack import SlackNotifier  # noqa: PLC0415

        slack = settings.slack
        if channel_override is not None:
            slack = slack.model_copy(update={"channel": channel_override})
        notifiers["slack"] = SlackNotifier(slack, clock=clock)
    if settings.webhook is not None:
        notifiers["webhook"] = WebhookNotifier(settings.webhook, clock=clock)
    if settings.email is not None:
        notifiers["email"] = EmailNotifier(settings.email)
    return notifiers
