"""Telling people: notices of what a release did, by Slack, webhook and email."""

from grayscale.notices.building import build_notifiers
from grayscale.notices.seam import Notice, NoticeError, Notifier
from grayscale.notices.settings import NotificationSettings

__all__ = ["Notice", "NoticeError", "NotificationSettings", "Notifier", "build_notifiers"]
