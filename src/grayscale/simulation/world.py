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
    takes until it is known to be good, `cluster` how many failures fall together on average.
    """

    errors: Rate = field(default=always(0.01))
    latency: Shape = field(default=answers(Latency()))
    answer_seconds: float = 0.0
    cluster: float = 1.0


@dataclass(frozen=True, slots=True)
class Callers:
    """Callers that stick to a version; the n-th one asks as often as 1 / n ** `zipf` says.

    Their error rates and latencies differ: each has its own factor, log-normal with these sigmas
    (the rates' mean is kept). `poison_share` of all requests is that of one caller more, who
    always fails and is given the candidate from the first step on.
    """

    count: int
    zipf: float = 1.0
    error_sigma: float = 1.5
    latency_sigma: float = 0.0
    poison_share: float = 0.0


@dataclass(frozen=True, slots=True)
class World:
    """Traffic and behaviour.

    `rps` are requests per second of all models; the `affected_share` of them is for models that
    the candidate changes. The others are not split, and nobody counts them.
    """

    rps: float = 10.0
    affected_share: float = 1.0
    stable: Version = Version()
    candidate: Version = Version()
    callers: Callers | None = None

    @property
    def split_rps(self) -> float:
        """The requests per second that are split between the versions."""
        return self.rps * self.affected_share

    def worse(self, moment: Moment) -> bool:
        """Whether the candidate now fails more often than stable, or is slower on average."""
        stable, candidate = self.stable, self.candidate
        return candidate.errors(moment) > stable.errors(moment) or (
            candidate.latency(moment).mean_ms > stable.latency(moment).mean_ms
        )
