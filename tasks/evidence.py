"""The numbers behind a verdict, as Markdown tables that a person can read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_BEYOND_COUNTING = 1_000_000
_NEXT_TO_NOTHING = 0.001
_GATES = "gates"
_SLOW = re.compile(r"p\d|ttft|latency")


def evidence_lines(evidence: Mapping[str, Any]) -> list[str]:
    """A table of what each gate counted, and one of everything else."""
    gates: Mapping[str, Mapping[str, Any]] = evidence.get(_GATES) or {}
    rows = [
        f"| {_words(key)} | {_cell(value)} |" for key, value in evidence.items() if key != _GATES
    ]
    lines = ["| evidence | value |", "|---|---|", *rows, ""] if rows else []
    if gates:
        lines += ["| gate at this step | candidate | stable | e value |", "|---|---|---|---|"]
        lines += [_gate_row(name, gate) for name, gate in gates.items()]
        lines.append("")
    return lines


def _gate_row(name: str, gate: Mapping[str, Any]) -> str:
    counts = gate.get("step") or {}
    arms = [_share(counts.get(arm), _what(name)) for arm in ("candidate", "stable")]
    e_value = _cell(gate["e_value"]) if gate.get("measured", True) else "not measured"
    return f"| {_words(name)} | {arms[0]} | {arms[1]} | {e_value} |"


def _what(gate: str) -> str:
    """What a gate counts; a request that is slower than most need not be a bad one."""
    if gate.startswith("error"):
        return "failed"
    return "slow" if _SLOW.match(gate) else "bad"


def _share(counts: Mapping[str, int] | None, what: str) -> str:
    if not counts or not counts["all"]:
        return "no requests"
    bad, everything = counts["bad"], counts["all"]
    return f"{bad:,} {what} of {everything:,} ({bad / everything * 100:.1f} %)"


def _words(name: str) -> str:
    return _escaped(name.replace("_", " "))


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value) or "none"
    return _escaped(str(value))


def _number(value: float) -> str:
    if abs(value) >= _BEYOND_COUNTING and isinstance(value, float):
        return "over a million"
    if 0 < value < _NEXT_TO_NOTHING:
        return f"below {_NEXT_TO_NOTHING:g}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
