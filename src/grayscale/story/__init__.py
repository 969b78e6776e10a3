"""A release's record, events and intervals, told in sentences and judged again: pure functions."""

from grayscale.story.explaining import Story, explain
from grayscale.story.history import History, history_of
from grayscale.story.replaying import Replay, replay

__all__ = ["History", "Replay", "Story", "explain", "history_of", "replay"]
