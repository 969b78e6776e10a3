"""From an event's envelope to words that somebody understands at 2 a.m."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from grayscale.clock import from_rfc3339
from grayscale.notices.phrases import OTHER, PHRASES, Phrase
from grayscale.notices.plain import one_line, shortened, slack_escaped
from grayscale.notices.seam import Notice, NoticeError

Block = dict[str, Any]
_NAME_LIMIT = 200
_SENTENCE_LIMIT = 1000
_SUBJECT_LIMIT = 140
_LABELS_SHOWN = 20
_LINK_LIMIT = 800
# Slack's own limits for a header, a section's text, and one of its fields.
_HEADER_LIMIT, _SECTION_LIMIT, _FIELD_LIMIT = 150, 3000, 2000
_FIELDS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class _Facts:
    """What an envelope says, read leniently: a notice with gaps is better than none."""

    phrase: Phrase
    subject: str
    meaning: str
    reason: str | None
    verdict: str | None
    details: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]


def notice_of(envelope: dict[str, Any], *, channel_hint: str | None = None) -> Notice:
    """The notice for an event; NoticeError for what is no event."""
    try:
        event_id, kind = str(envelope["id"]), str(envelope["type"])
        timestamp = from_rfc3339(str(envelope["timestamp"]))
    except (KeyError, ValueError) as error:
        raise NoticeError(f"not an event: {error!r} in the envelope", permanent=True) from error
    facts = _facts(envelope)
    return Notice(
        event_id=event_id,
        type=kind,
        timestamp=timestamp,
        subject=facts.subject,
        text=_text(facts, when=timestamp.strftime("%Y-%m-%d %H:%M:%S UTC")),
        envelope=envelope,
        channel_hint=channel_hint,
    )


def slack_text(notice: Notice) -> str:
    """What Slack shows where there is no room for blocks: in a push message, for example."""
    facts = _facts(notice.envelope)
    parts = [f"{facts.subject}.", facts.reason or facts.meaning]
    return slack_escaped(" ".join(parts), limit=_SECTION_LIMIT)


def slack_blocks(notice: Notice) -> list[Block]:
    """The notice in Slack's Block Kit: headline, sentences, details, links."""
    facts = _facts(notice.envelope)
    headline = shortened(f"{facts.phrase.tone} {facts.subject}", limit=_HEADER_LIMIT)
    blocks: list[Block] = [
        {"type": "header", "text": {"type": "plain_text", "text": headline, "emoji": False}},
        {"type": "section", "text": _mrkdwn(_sentences(facts), limit=_SECTION_LIMIT)},
    ]
    if facts.details:
        fields = [
            _mrkdwn(f"{name}: {value}", limit=_FIELD_LIMIT)
            for name, value in facts.details[:_FIELDS_SHOWN]
        ]
        blocks.append({"type": "section", "fields": fields})
    # Links are already in Slack's own form, with nothing in them that could end it.
    linked = " · ".join(f"<{url.replace('&', '&amp;')}|{name}>" for name, url in facts.links)
    when = notice.timestamp.strftime("%Y-%m-%d %H:%M:%S UTC")
    event_id = slack_escaped(notice.event_id, limit=_NAME_LIMIT)
    footer = " · ".join(part for part in (when, event_id, linked) if part)
    element = {"type": "mrkdwn", "text": footer, "verbatim": True}
    blocks.append({"type": "context", "elements": [element]})
    return blocks


def _mrkdwn(text: str, *, limit: int) -> Block:
    # Verbatim: Slack would turn anything that looks like a link, channel or name into one.
    return {"type": "mrkdwn", "text": slack_escaped(text, limit=limit), "verbatim": True}


def _text(facts: _Facts, *, when: str) -> str:
    lines = [f"{facts.subject}.", "", _sentences(facts), ""]
    lines += [f"{name}: {value}" for name, value in (*facts.details, ("Time", when))]
    if facts.links:
        lines += ["", *(f"{name}: {url}" for name, url in facts.links)]
    return "\n".join(lines) + "\n"


def _sentences(facts: _Facts) -> str:
    lines = [facts.meaning]
    if facts.reason:
        lines.append(f"Reason: {facts.reason}")
    if facts.verdict and facts.verdict != facts.reason:
        lines.append(f"Verdict: {facts.verdict}")
    return "\n".join(lines)


def _facts(envelope: dict[str, Any]) -> _Facts:
    kind = str(envelope.get("type", ""))
    data = _mapping(envelope.get("data"))
    actor = _mapping(data.get("actor"))
    words = {
        "version": _name(data.get("version")) or "the candidate",
        "weight": _percent(data.get("weight_percent")) or "its weight",
        "actor": _name(actor.get("name")) or "somebody",
        "release": _name(data.get("release_id")) or "RELEASE",
    }
    phrase = PHRASES.get(kind, OTHER)
    subject = phrase.headline.format(**words)
    meaning = phrase.meaning.format(**words)
    if kind not in PHRASES and kind:
        meaning = f"The event is {one_line(kind, limit=_NAME_LIMIT)}. {meaning}"
    return _Facts(
        phrase=phrase,
        subject=shortened(_capitalised(subject), limit=_SUBJECT_LIMIT),
        meaning=_capitalised(meaning),
        reason=_sentence(data.get("reason")),
        verdict=_sentence(_mapping(data.get("verdict")).get("sentence")),
        details=tuple(_details(data, actor)),
        links=tuple(_links(_mapping(data.get("links")))),
    )


def _details(data: dict[str, Any], actor: dict[str, Any]) -> list[tuple[str, str]]:
    step = data.get("step_index")
    found = [
        ("Version", _name(data.get("version"))),
        ("Weight", _percent(data.get("weight_percent"))),
        ("Step", str(step + 1) if isinstance(step, int) else None),
        ("By", _who(actor)),
        ("Release", _name(data.get("release_id"))),
        ("Config", _name(data.get("config_id"))),
        ("Split", _split(_mapping(data.get("weights")))),
        ("Channel", _name(data.get("channel"))),
        ("Labels", _labels(_mapping(data.get("labels")))),
        ("Log before it", _name(data.get("audit_head"))),
    ]
    return [(name, value) for name, value in found if value]


def _who(actor: dict[str, Any]) -> str | None:
    name = _name(actor.get("name"))
    if name is None:
        return None
    via = _name(actor.get("via"))
    notes = [f"via {via}"] if via and via != name else []
    if actor.get("verified") is False:
        notes.append("name not verified")
    return f"{name} ({', '.join(notes)})" if notes else name


def _labels(labels: dict[str, Any]) -> str | None:
    shown = [f"{key}={value}" for key, value in list(labels.items())[:_LABELS_SHOWN]]
    return _sentence(", ".join(shown))


def _split(weights: dict[str, Any]) -> str | None:
    shown = [f"{name} {_percent(weight) or '?'}" for name, weight in weights.items()]
    return _sentence(", ".join(shown))


def _links(links: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (title, _web_address(links[key]))
        for key, title in (("prefect", "Prefect"), ("api", "API"))
        if _web_address(links.get(key))
    ]


def _web_address(value: object) -> str:
    """The address if it is one, with everything quoted that could end a Slack link; else ''."""
    if not isinstance(value, str) or not value.isprintable():
        return ""
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return ""
    quoted = quote(value, safe=":/?#[]@!$&'()*+,;=%~")
    return quoted if len(quoted) <= _LINK_LIMIT else ""


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _name(value: object) -> str | None:
    return one_line(value, limit=_NAME_LIMIT) or None if isinstance(value, str) else None


def _sentence(value: object) -> str | None:
    return one_line(value, limit=_SENTENCE_LIMIT) or None if isinstance(value, str) else None


def _percent(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return f"{value:g} %"


def _capitalised(text: str) -> str:
    """Version names keep their case; only our own stand-ins begin a sentence in lower case."""
    return text[:1].upper() + text[1:] if text.startswith(("the candidate", "somebody")) else text
