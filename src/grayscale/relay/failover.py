"""When a candidate's failure may be retried on stable: once, and within a budget."""

from __future__ import annotations

_MOST_SAVED_RETRIES = 10.0


class FailoverBudget:
    """A share of the candidate's requests in this worker, and ten saved: the breaker needs six.

    A broken candidate at half of the traffic would otherwise double stable's load at once.
    """

    __slots__ = ("_saved",)

    def __init__(self) -> None:
        self._saved = _MOST_SAVED_RETRIES

    def earn(self, percent: float) -> None:
        """The candidate was given a request: `percent` of a retry is saved for it."""
        self._saved = min(_MOST_SAVED_RETRIES, self._saved + percent / 100)

    def spend(self, percent: float) -> bool:
        """Whether one request may be retried on stable now; takes it off the budget if so."""
        if percent <= 0 or self._saved < 1:
            return False
        self._saved -= 1
        return True
