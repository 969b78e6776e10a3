"""The states of a release and the edges between them: once, as data.

DESIGN.md's diagram is checked against this table by tests/release/test_phases.py.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a release stands."""

    QUEUED = "queued"
    PREPARING = "preparing"
    SOAKING = "soaking"
    HELD = "held"
    PAUSED = "paused"
    AWAITING_APPROVAL = "awaiting_approval"
    BAKING = "baking"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing follows: stable (in `promoted` the new one) has the traffic."""
        return self in FINAL


FINAL = frozenset(
    {State.ROLLED_BACK, State.PROMOTED, State.REJECTED, State.SUPERSEDED, State.FAILED}
)
WAITING = frozenset({State.HELD, State.PAUSED, State.AWAITING_APPROVAL})
ACTIVE = frozenset(set(State) - FINAL - {State.QUEUED})
GUARDED = frozenset({State.SOAKING, State.BAKING, *WAITING})
"""States in which a candidate may have traffic, and the guard may take it away."""

_OUT = frozenset({State.ROLLING_BACK})
EDGES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.PREPARING, State.SUPERSEDED, State.REJECTED, State.ROLLED_BACK}),
    State.PREPARING: frozenset(
        {State.SOAKING, State.AWAITING_APPROVAL, State.PAUSED, State.FAILED} | _OUT
    ),
    State.SOAKING: frozenset(
        {State.SOAKING, State.AWAITING_APPROVAL, State.BAKING, State.HELD, State.PAUSED} | _OUT
    ),
    State.AWAITING_APPROVAL: frozenset(
        {State.SOAKING, State.BAKING, State.HELD, State.PAUSED} | _OUT
    ),
    State.HELD: frozenset(
        {State.SOAKING, State.BAKING, State.AWAITING_APPROVAL, State.PAUSED} | _OUT
    ),
    State.PAUSED: frozenset(
        {State.PREPARING, State.SOAKING, State.BAKING, State.AWAITING_APPROVAL} | _OUT
    ),
    State.BAKING: frozenset(
        {State.PROMOTED, State.AWAITING_APPROVAL, State.HELD, State.PAUSED} | _OUT
    ),
    State.ROLLING_BACK: frozenset(
        {State.ROLLED_BACK, State.REJECTED, State.SUPERSEDED, State.FAILED, State.PAUSED}
    ),
    **dict.fromkeys(FINAL, frozenset()),
}


def may_follow(state: State, following: State) -> bool:
    """Whether a release in `state` may become `following`."""
    return following in EDGES[state]
