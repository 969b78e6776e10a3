"""Notices say in plain words what happened, and can do no harm where they are shown."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grayscale.notices.phrases import PHRASES
from grayscale.notices.plain import one_line, slack_escaped
from grayscale.notices.seam import NoticeError
from grayscale.notices.wording import notice_of, slack_blocks, slack_text
from tests.notices.samples import SENTENCE, envelope, notice

EVENT_TYPES = (
    *(
        f"release.{name}"
        for name in [
            "created",
            "step_started",
            "extended",
            "held",
            "approval_requested",
            "approved",
            "rejected",
            "paused",
            "resumed",
            "rule_broken",
            "rolling_back",
            "rolled_back",
            "baking",
            "promoted",
            "superseded",
            "failed",
        ]
    ),
    "split.changed",
    "breaker.tripped",
    "lease.expired",
    "upstream.degraded",
    "notice.undeliverable",
)


def test_rollback_reads_like_this() -> None:
    """A rollback's text says what, where the traffic is, why, and where to look, once each."""
    assert notice().text == (
        "v2.1.0-beta was rolled back.\n"
        "\n"
        "Stable has all the traffic.\n"
        f"Reason: {SENTENCE}\n"
        "\n"
        "Version: v2.1.0-beta\n"
        "Weight: 10 %\n"
        "Step: 1\n"
        "By: guard\n"
        "Release: rel_01\n"
        "Config: config-07\n"
        "Labels: git_sha=4f2c\n"
        "Time: 2026-01-02 03:04:05 UTC\n"
        "\n"
        "Prefect: http://127.0.0.1:4200/runs/1?a=1&b=2\n"
    )


def test_approval_says_what_to_type() -> None:
    """Who is asked for a decision is told the commands, with the release in them."""
    asked = notice("release.approval_requested", reason="step 50 needs a person")
    assert asked.subject == "v2.1.0-beta waits for your approval at 10 %"
    assert "grayscale approve rel_01" in asked.text
    assert "grayscale reject rel_01" in asked.text
    assert f"Verdict: {SENTENCE}" in asked.text


def test_unverified_names_are_marked() -> None:
    """A name that is only a claim is not shown as a fact."""
    actor = {"name": "dana", "via": "prefect-form", "verified": False}
    approved = notice("release.approved", actor=actor)
    assert approved.subject == "dana approved v2.1.0-beta"
    assert "By: dana (via prefect-form, name not verified)" in approved.text


def test_every_event_type_has_words() -> None:
    """The phrases cover the event types of API.md exactly."""
    assert set(PHRASES) == set(EVENT_TYPES)


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_phrases_are_filled_in(kind: str) -> None:
    """No phrase leaves a placeholder or a stand-in when the facts are there."""
    told = notice(kind)
    assert not re.search(r"[{}]|\bNone\b|RELEASE|the candidate|its weight", told.text)
    assert 0 < len(told.subject) <= 140


@pytest.mark.parametrize("kind", [*EVENT_TYPES, "something.new"])
def test_gaps_are_no_obstacle(kind: str) -> None:
    """An event with nothing in it, or of a type not known yet, still makes a notice."""
    bare = {"type": kind, "id": "evt_1", "timestamp": "2026-01-02T03:04:05Z"}
    told = notice_of(bare)
    assert told.subject[0] not in "tsi {"
    assert "None" not in told.text
    assert slack_blocks(told)


@pytest.mark.parametrize("missing", ["id", "type", "timestamp"])
def test_what_is_no_event_is_refused_for_good(missing: str) -> None:
    """Without id, type or time there is nothing to tell, and trying again would not help."""
    broken = envelope()
    del broken[missing]
    with pytest.raises(NoticeError, match=missing) as refused:
        notice_of(broken)
    assert refused.value.permanent


def test_slack_mentions_nobody_and_links_nowhere() -> None:
    """Neither control sequences nor mass mentions nor links of outsiders survive in Slack."""
    evil = "<!channel> <https://evil.example|click> @here @Channel & <@U012345>"
    told = notice("release.paused", reason=evil, labels={"owner": evil}, version="v<!here>1")
    shown = json.dumps([slack_text(told), slack_blocks(told)], ensure_ascii=False)
    # The header is plain text, in which Slack parses nothing.
    parsed = shown.replace('"text": "🟡 v<!here>1 is paused at 10 %"', "")
    links = re.findall(r"<[^>]*>", parsed)
    assert links == ["<http://127.0.0.1:4200/runs/1?a=1&amp;b=2|Prefect>"]
    assert not re.search(r"@(here|channel|everyone)", shown, re.IGNORECASE)
    assert "&lt;!channel&gt;" in shown


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "http://",
        "http://a/>b|c<!channel>",
        "http://a/\nb",
        "http://[bad",
        "http://a/" + "x" * 900,
        7,
    ],
)
def test_links_are_web_addresses_or_absent(link: object) -> None:
    """A link cannot end Slack's link form early, and anything but http(s) is left out."""
    footer = slack_blocks(notice(links={"prefect": link}))[-1]["elements"][0]["text"]
    found = re.findall(r"<([^>|]*)\|([^>]*)>", footer)
    assert all(set(url).isdisjoint("<>|\n ") for url, _ in found)
    assert all(url.startswith("http") and name == "Prefect" for url, name in found)
    assert re.sub(r"<[^>]*>", "", footer).isprintable()


def test_everything_stays_within_slacks_limits() -> None:
    """However long the facts are, no block exceeds what Slack accepts."""
    long = "&<>" * 5000
    labels = {f"label-{number}" * 9: long for number in range(60)}
    told = notice(reason=long, version=long, labels=labels, actor={"name": long})
    check_limits(slack_blocks(told))
    assert len(slack_text(told)) <= 3000
    assert len(told.subject) <= 140


def check_limits(blocks: list[dict[str, Any]]) -> None:
    assert len(blocks) <= 50
    for block in blocks:
        text = block.get("text", {})
        limit = 150 if block["type"] == "header" else 3000
        assert len(text.get("text", "x")) in range(1, limit + 1)
        assert len(block.get("fields", [])) <= 10
        assert all(len(field["text"]) <= 2000 for field in block.get("fields", []))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
DATA_KEYS = st.sampled_from(
    [
        "release_id",
        "version",
        "state",
        "step_index",
        "weight_percent",
        "config_id",
        "actor",
        "reason",
        "verdict",
        "labels",
        "links",
        "weights",
        "channel",
    ]
)


@given(
    kind=st.sampled_from(EVENT_TYPES) | st.text(),
    data=st.dictionaries(DATA_KEYS, JSON_VALUES) | JSON_VALUES,
)
def test_any_json_makes_a_safe_notice(kind: str, data: object) -> None:
    """Whatever the event holds, there are words, within limits, on single lines, encodable."""
    told = notice_of(
        {"type": kind, "id": "evt_1", "timestamp": "2026-01-02T03:04:05Z", "data": data}
    )
    assert told.subject
    assert told.subject.isprintable()
    (told.subject + told.text).encode("utf-8")
    check_limits(slack_blocks(told))
    assert not re.search(r"<!|<@|<#", slack_text(told))


@given(text=st.text(), limit=st.integers(min_value=10, max_value=60))
def test_escaping_keeps_entities_whole(text: str, limit: int) -> None:
    """Escaped text holds its limit, and every `&` in it begins one of three entities."""
    escaped = slack_escaped(text, limit=limit)
    assert len(escaped) <= limit
    assert set(escaped).isdisjoint("<>")
    assert re.sub(r"&(amp|lt|gt);", "", escaped).count("&") == 0


def test_one_line_drops_what_cannot_be_seen() -> None:
    """Line breaks become spaces; control and direction-changing characters go."""
    assert one_line("a\r\nBcc: b\x00\u202ec\u200b\ud800", limit=50) == "a Bcc: b c"
    assert one_line("x" * 60, limit=50) == "x" * 49 + "…"


def test_phrases_cover_the_house_documents() -> None:
    """Commands in the phrases exist in the command line."""
    commands = set()
    for phrase in PHRASES.values():
        commands |= set(re.findall(r"grayscale ([a-z]+)", phrase.meaning))
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in (Path(__file__).parents[2] / "src/grayscale/cli").glob("*.py")
    )
    missing = [name for name in commands if not re.search(rf'def {name}\(|"{name}"', source)]
    assert missing == []
