"""One sentence for each event of a release's log."""

from __future__ import annotations

import re

from grayscale.plan.models import Plan
from grayscale.story.history import Event

_SKIPPED = frozenset({"split.changed"})  # each is the effect of an event that is told
_WORDS = {
    "release.created": "{actor} created the release: {ramp}",
    "release.step_started": "takes {weight}",
    "release.extended": "the soak at {weight} is extended",
    "release.held": "held at {weight}",
    "release.approval_requested": "a person is asked at {weight}",
    "release.approved": "{actor} approved",
    "release.rejected": "{actor} said no",
    "release.paused": "{actor} paused it at {weight}",
    "release.resumed": "{actor} lets it go on",
    "release.rule_broken": "the plan's {action} acts",
    "release.rolling_back": "{actor} took the traffic back",
    "release.rolled_back": "every worker serves stable alone",
    "release.baking": "bakes at {weight}",
    "release.promoted": "promoted: it is stable now",
    "release.superseded": "made room for a newer release",
    "release.failed": "failed",
    "breaker.tripped": "the breaker took it out of traffic",
    "lease.expired": "the conductor's lease ran out",
    "upstream.degraded": "an upstream is in trouble, for stable too",
    "notice.undeliverable": "a notice to {channel} was given up",
}
_WITHOUT_REASON = frozenset({"release.created", "release.rolled_back"})
_BY_WHOM = re.compile(r"(?:paused|resumed|aborted|rejected) by (?P<name>[^:]*)(?:: |$)")
_MACHINES = frozenset({"guard", "relay", "conductor"})
_DECISIONS = frozenset(
    f"release.{what}" for what in ("approved", "rejected", "paused", "resumed", "rolling_back")
)


def sentence_of(event: Event, plan: Plan, *, known: str) -> str | None:
    """What happened, for somebody who was not there; None for what another line tells.

    A reason that is `known`, because it stands above, is not told again.
    """
    if event.kind in _SKIPPED:
        return None
    weight = event.data.get("weight_percent")
    words = _WORDS.get(event.kind, event.kind.replace(".", " ").replace("_", " ")).format(
        actor=event.actor,
        weight="its weight" if weight is None else f"{weight:g} %",
        action=event.data.get("action", "rule"),
        channel=event.data.get("channel", "somebody"),
        ramp=_ramp(plan),
    )
    told = event.reason != known and event.kind not in _WITHOUT_REASON
    note = _note(event) if told else ""
    text = f"{words}: {note}" if note else words
    return text if text.endswith((".", "!", "?")) else f"{text}."


def decided_by_people(event: Event) -> bool:
    """Whether this event is a person's word."""
    via = (event.data.get("actor") or {}).get("via")
    return event.kind in _DECISIONS and via not in _MACHINES


def _note(event: Event) -> str:
    """The reason, without the name that the sentence begins with."""
    by = _BY_WHOM.match(event.reason)
    named = by is not None and by["name"] == (event.data.get("actor") or {}).get("name")
    return event.reason[by.end() :] if by is not None and named else event.reason


def _ramp(plan: Plan) -> str:
    steps = " → ".join(f"{percent:g} %" for percent in plan.steps_percent)
    return f"{steps}, {plan.auto_promote.step_seconds / 60:g} min at each"
