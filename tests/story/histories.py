"""Histories as the admin API hands them out, made by hand."""

from typing import Any

from grayscale.story import History, history_of
from tests.release.records import record

DAY = "2026-01-02"
ANN: dict[str, Any] = {"name": "ann", "via": "api", "verified": True}
BOB: dict[str, Any] = {"name": "bob", "via": "prefect-form", "verified": False}
GUARD: dict[str, Any] = {"name": "guard", "via": "guard", "verified": True}


def at(second: int) -> str:
    """That many seconds after the release was created."""
    minutes, rest = divmod(5 + second, 60)
    return f"{DAY}T03:{4 + minutes:02}:{rest:02}.000Z"


def event(kind: str, second: int, *, actor: dict[str, Any] = ANN, **data: Any) -> dict[str, Any]:
    """One line of the event log."""
    return {"type": kind, "timestamp": at(second), "data": {"actor": actor, **data}}


def look(number: int, e_value: float | None = 1.0, **changes: Any) -> dict[str, Any]:
    """One interval of ten seconds; `gates` are (share, e-value) by name."""
    gates = changes.pop("gates", {"errors": (0.4, e_value or 1.0)})
    evidence: dict[str, Any] = {
        "e_value": e_value,
        "needed_e_value": 20.0,
        "gates": {
            name: {"share": share, "e_value": value, "blamed": True}
            for name, (share, value) in gates.items()
        },
    }
    outcome = changes.pop("outcome", "inconclusive")
    interval = {
        "id": number, "seconds": 10.0, "step": changes.pop("step", 0), "weight_percent": 10.0,
        "step_seconds": 10.0 * number, "soak_done": False, "fresh": True, "split_verified": True,
        "stable": {"requests": 90, "latency_counts": None},
        "candidate": {"requests": 10, "latency_counts": None},
    }  # fmt: skip
    verdict = {
        "outcome": outcome, "cause": None, "sentence": "so it is",
        "evidence": evidence if e_value is not None else {},
    }  # fmt: skip
    seen = {"at": at(10 * number), "stopped_by": None, "interval": interval, "verdict": verdict}
    return seen | changes


def history(
    *, events: list[dict[str, Any]] | None = None, looks: Any = (), **changes: Any
) -> History:
    """A history around a record with these changes."""
    return history_of(record(**changes), events or [], looks)
