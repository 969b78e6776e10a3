"""What came of the demo, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grayscale.cli.output import duration, percent
from grayscale.demo.acts import Ending


@dataclass(frozen=True, slots=True)
class Summary:
    """How both releases ended, what callers got, and where the traffic is now."""

    endings: tuple[Ending, ...]
    requests_total: int
    requests_failed: int
    split_after: Mapping[str, float]
    first_split_seconds: float | None
    seconds: float

    @property
    def as_it_must(self) -> bool:
        """Whether the good release went out and the bad one came back."""
        return all(ending.as_it_must for ending in self.endings)

    def to_json(self) -> dict[str, Any]:
        """The last line of `demo --json`."""
        return {
            "releases": [ending.to_json() for ending in self.endings],
            "requests": {"total": self.requests_total, "failed": self.requests_failed},
            "split_after": dict(self.split_after),
        }

    def lines(self) -> list[str]:
        """The same for people."""
        split = ", ".join(f"{name} {percent(weight)}" for name, weight in self.split_after.items())
        first = self.first_split_seconds
        return [
            *(_line(ending) for ending in self.endings),
            f"  {self.requests_total:,} requests, {self.requests_failed:,} failed for the callers",
            f"  traffic now: {split}",
            f"  first split after {duration(first)}, all in {duration(self.seconds)}"
            if first is not None
            else f"  all in {duration(self.seconds)}",
        ]


def _line(ending: Ending) -> str:
    mark = "✔" if ending.as_it_must else "✖"
    steps = " → ".join(f"{step:g} %" for step in ending.steps) or "no step"
    return (
        f"{mark} {ending.version}: {ending.outcome} after {duration(ending.seconds)} "
        f"({steps}): {ending.reason}"
    )
