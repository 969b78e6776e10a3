"""Who judges a simulated release: the product's judge, or anything with the same face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from grayscale.judge import Interval, Verdict, start
from grayscale.judge.recorded import look_once
from grayscale.plan.guard_rails import settings_of
from grayscale.plan.models import Plan


class Judge(Protocol):
    """Looks at one interval after the other."""

    def look(self, interval: Interval) -> Verdict:
        """The verdict after this interval."""
        ...


NewJudge = Callable[[Plan], Judge]


class OwnJudge:
    """The judge of the product, with its state."""

    def __init__(self, plan: Plan) -> None:
        self._state = start(settings_of(plan))

    def look(self, interval: Interval) -> Verdict:
        """The verdict after this interval."""
        self._state, verdict = look_once(self._state, interval)
        return verdict
