"""Events and notices to test with."""

from typing import Any

from grayscale.notices.seam import Notice
from grayscale.notices.wording import notice_of

SENTENCE = (
    "Rolled back after 2 m 40 s at 10 %: 11 of 158 candidate requests failed (7.0 %) against 14 of "
    "1,410 on stable (1.0 %); a version as good as stable would look this bad at most once in 260 "
    "releases."
)


def envelope(
    kind: str = "release.rolled_back", *, event_id: str = "evt_01", **data: Any
) -> dict[str, Any]:
    """An event in API.md's shape; `data` overrides single members."""
    return {
        "type": kind,
        "id": event_id,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "schema_version": 1,
        "data": {
            "release_id": "rel_01",
            "version": "v2.1.0-beta",
            "state": "rolled_back",
            "step_index": 0,
            "weight_percent": 10.0,
            "config_id": "config-07",
            "actor": {"name": "guard", "via": "guard", "verified": True},
            "reason": SENTENCE,
            "verdict": {"outcome": "harmful", "cause": "candidate", "sentence": SENTENCE},
            "labels": {"git_sha": "4f2c"},
            "links": {"prefect": "http://127.0.0.1:4200/runs/1?a=1&b=2", "api": None},
            **data,
        },
    }


def notice(
    kind: str = "release.rolled_back",
    *,
    event_id: str = "evt_01",
    channel_hint: str | None = None,
    **data: Any,
) -> Notice:
    """The notice for such an event."""
    return notice_of(envelope(kind, event_id=event_id, **data), channel_hint=channel_hint)
