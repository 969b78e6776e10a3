"""What an error is: defined here once, for the relay, the judge's counters and the metrics.

See DESIGN.md, "What counts".
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How an assigned request ended."""

    OK = "ok"
    UPSTREAM_ERROR = "upstream_error"
    CONFIG_ERROR = "config_error"
    REJECTED = "rejected"
    CLIENT_GONE = "client_gone"


class Assignment(StrEnum):
    """Why a request went to its version; `first` is a sticky caller's first in a release."""

    WEIGHTED = "weighted"
    FIRST = "first"
    STICKY = "sticky"
    PINNED = "pinned"
    FAILOVER = "failover"


COUNTED_ASSIGNMENTS = frozenset({Assignment.WEIGHTED, Assignment.FIRST, Assignment.STICKY})
"""The assignments that gates, breaker and sample-ratio check look at."""

INDEPENDENT_ASSIGNMENTS = COUNTED_ASSIGNMENTS - {Assignment.STICKY}
"""Those whose requests do not depend on each other: a caller who sticks counts once."""

FAILURES = frozenset({Outcome.UPSTREAM_ERROR, Outcome.CONFIG_ERROR})
"""The outcomes that count against the version that served."""

_UPSTREAM_FAULT = frozenset({408, 429})
_CONFIG_FAULT = frozenset({401, 402, 403, 404, 405})


def outcome_of_status(status: int) -> Outcome:
    """The outcome that an upstream's complete answer with this HTTP status stands for."""
    if 200 <= status < 300:
        return Outcome.OK
    if status in _CONFIG_FAULT:
        return Outcome.CONFIG_ERROR
    if 400 <= status < 500 and status not in _UPSTREAM_FAULT:
        return Outcome.REJECTED
    return Outcome.UPSTREAM_ERROR
