"""What each event means to somebody who is woken up by it: a headline, and where things stand."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """The mark in front of a headline in Slack."""

    GOOD = "🟢"
    NEUTRAL = "⚪"
    ASKS = "🟡"
    BAD = "🔴"


@dataclass(frozen=True, slots=True)
class Phrase:
    """Both are templates over version, weight, step, actor and release."""

    tone: Tone
    headline: str
    meaning: str


PHRASES = {
    "release.created": Phrase(
        Tone.NEUTRAL,
        "Release of {version} was created",
        "No traffic has moved yet. It begins when no other release is under way.",
    ),
    "release.step_started": Phrase(
        Tone.NEUTRAL,
        "{version} now takes {weight} of the traffic",
        "It is watched at this weight before it goes further.",
    ),
    "release.extended": Phrase(
        Tone.NEUTRAL,
        "{version} is watched for longer at {weight}",
        "There is not enough evidence yet, neither for nor against it. It stays where it is.",
    ),
    "release.held": Phrase(
        Tone.ASKS,
        "{version} is held at {weight}",
        "It goes no further until the reason is gone; then it goes on by itself. "
        "To end it: grayscale abort {release}",
    ),
    "release.approval_requested": Phrase(
        Tone.ASKS,
        "{version} waits for your approval at {weight}",
        "It goes no further until somebody decides: "
        "grayscale approve {release} or grayscale reject {release}",
    ),
    "release.approved": Phrase(
        Tone.GOOD, "{actor} approved {version}", "The release goes on from {weight}."
    ),
    "release.rejected": Phrase(
        Tone.BAD, "{actor} rejected {version}", "Stable has the traffic, or is getting it back now."
    ),
    "release.paused": Phrase(
        Tone.ASKS,
        "{version} is paused at {weight}",
        "It is still being guarded. "
        "To go on: grayscale resume {release}. To end it: grayscale abort {release}",
    ),
    "release.resumed": Phrase(
        Tone.NEUTRAL, "The release of {version} goes on", "It goes on from {weight}."
    ),
    "release.rule_broken": Phrase(
        Tone.ASKS,
        "{version} breaks a rule of its plan at {weight}",
        "An alert keeps the traffic where it is; a rollback would follow by itself. "
        "To look: grayscale explain {release}. To end it: grayscale abort {release}",
    ),
    "release.rolling_back": Phrase(
        Tone.BAD,
        "{version} is being rolled back",
        "New requests go to stable already; requests under way are finishing.",
    ),
    "release.rolled_back": Phrase(
        Tone.BAD, "{version} was rolled back", "Stable has all the traffic."
    ),
    "release.baking": Phrase(
        Tone.GOOD,
        "{version} passed every step and bakes at {weight}",
        "It becomes stable if the bake ends well.",
    ),
    "release.promoted": Phrase(
        Tone.GOOD,
        "{version} was promoted: it is stable now",
        "It has all the traffic. To go back: grayscale undo",
    ),
    "release.superseded": Phrase(
        Tone.NEUTRAL,
        "The release of {version} was superseded by a newer one",
        "{version} gets no traffic from this release any more.",
    ),
    "release.failed": Phrase(
        Tone.BAD,
        "The release of {version} failed",
        "Stable has all the traffic. To try again: grayscale retry {release}",
    ),
    "split.changed": Phrase(
        Tone.NEUTRAL, "The traffic split was changed", "It is in force for new requests."
    ),
    "breaker.tripped": Phrase(
        Tone.BAD,
        "The breaker took {version} out of traffic",
        "Stable has all the traffic. The release ends in a rollback.",
    ),
    "lease.expired": Phrase(
        Tone.ASKS,
        "Nobody was driving the release of {version} any more",
        "Stable has the traffic until a new conductor takes over, which happens by itself.",
    ),
    "upstream.degraded": Phrase(
        Tone.ASKS,
        "An upstream is in trouble, for stable too",
        "{version} is not to blame and is not rolled back for it; the release waits.",
    ),
    "notice.undeliverable": Phrase(
        Tone.ASKS,
        "A notice about {version} could not be delivered",
        "Somebody may not know what happened. See: grayscale get {release}",
    ),
}
"""By event type: every type in API.md, "Events and notices"."""

OTHER = Phrase(Tone.NEUTRAL, "Something happened to {version}", "See: grayscale get {release}")
