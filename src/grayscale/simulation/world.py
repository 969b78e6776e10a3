"""What a release goes out into: its traffic, and how both versions behave over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from grayscale.simulation.latency import Latency


class Moment(NamedTuple):
    """A moment of a release: seconds since it began, and what the candidate then has."""

    seconds: float
    weight_percent: float


Rate = Callable[[Moment], float]
Shape = Callable[[Moment], Latency]


def always(rate: float) -> Rate:
    """An error rate that does not change."""
    return lambda _: rate


def answers(latency: Latency) -> Shape:
    """A latency that does not change."""
    return lambda _: latency


@dataclass(frozen=True, slots=True)
class Version:
    """How a version behaves.

    `errors` is the chance of a request to fail (at once), `answer_seconds` how long a good answer
    takes until it is known to be good, `cluster` how many failures come in a row on average.
    """

    errors: Rate = field(default=always(0.01))
    latency: Shape = field(default=answers(Latency()))
    answer_seconds: float = 0.0
    cluster: float = 1.0


@dataclass(frozen=True, slots=True)
class World:
    """Traffic and behaviour; `rps` are requests per second of the models that are released."""

    rps: float = 10.0
    stable: Version = Version()
    candidate: Version = Version()

    def differs(self, moment: Moment) -> bool:
        """Whether the candidate now is anything but stable's twin."""
        stable, candidate = self.stable, self.candidate
        return (stable.errors(moment), stable.latency(moment)) != (
            candidate.errors(moment),
            candidate.latency(moment),
        )
