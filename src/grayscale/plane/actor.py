"""Who does something: for the record, and for rules that bind machines but not people."""

from __future__ import annotations

from dataclasses import dataclass

PREFECT_DOORS = frozenset({"prefect-form", "prefect"})
NOBODY_KNOWN = "somebody"


@dataclass(frozen=True, slots=True)
class Actor:
    """`name` from the key, `via` the door (`api`, `prefect-form`, `conductor`, `guard` …).

    `verified` is False where the name is only a claim, as in Prefect's form; `prefect` is the door
    of who cancels or suspends a run there: Prefect does not know who that is.
    """

    name: str
    via: str = "api"
    verified: bool = True

    def to_json(self) -> dict[str, object]:
        """As it stands in events."""
        return {"name": self.name, "via": self.via, "verified": self.verified}


PREFECT = Actor(NOBODY_KNOWN, via="prefect", verified=False)
GUARD = Actor("guard", via="guard")
LEASE = Actor("lease", via="relay")
RELAY = Actor("relay", via="relay")
