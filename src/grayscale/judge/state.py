"""What the judge remembers of a release: frozen, and JSON in and out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from grayscale.judge.evidence import EProcess
from grayscale.judge.past import Past
from grayscale.judge.values import Cause, Outcome, Rule, Settings, Verdict

_MIN_PAIRS = 5
_PRIOR_PAIRS = 10
_LARGEST_SQUARE = 16.0
_WINDOW_SECONDS = 120.0
_MIN_WINDOW = 50
_MIN_HISTORY = 200
_LOWEST_LIMIT = 0.003
_HIGHEST_LIMIT = 0.99


class Counts(NamedTuple):
    """Bad ones and all, in both arms."""

    stable_bad: int = 0
    stable: int = 0
    candidate_bad: int = 0
    candidate: int = 0

    def plus(self, other: Counts) -> Counts:
        """The sums of both."""
        return Counts(
            self.stable_bad + other.stable_bad,
            self.stable + other.stable,
            self.candidate_bad + other.candidate_bad,
            self.candidate + other.candidate,
        )

    def less(self, other: Counts) -> Counts:
        """What this has more than the other."""
        return Counts(
            self.stable_bad - other.stable_bad,
            self.stable - other.stable,
            self.candidate_bad - other.candidate_bad,
            self.candidate - other.candidate,
        )

    @property
    def stable_rate(self) -> float:
        """Stable's share of bad ones, 0 if there is nothing."""
        return self.stable_bad / self.stable if self.stable else 0.0

    @property
    def candidate_rate(self) -> float:
        """The candidate's share of bad ones, 0 if there is nothing."""
        return self.candidate_bad / self.candidate if self.candidate else 0.0


NOTHING = Counts()


class Noise(NamedTuple):
    """How much more than by chance stable's own counts differ between neighbouring intervals.

    `squares` sums squared standardised differences (each at most 16) over `pairs` of neighbours;
    `bad` and `total` are the last interval's.
    """

    squares: float = 0.0
    pairs: int = 0
    bad: int = 0
    total: int = 0

    @property
    def power(self) -> float:
        """The exponent that makes likelihood ratios of clustered counts honest: 1/dispersion.

        A ratio to a power of at most 1 still expects 1 at most (Jensen). The dispersion must stand
        out from chance by a standard error first.
        """
        if self.pairs < _MIN_PAIRS:
            return 1.0
        mean = (self.squares + _PRIOR_PAIRS) / (self.pairs + _PRIOR_PAIRS)
        return 1 / max(1.0, mean - math.sqrt(2 / self.pairs))

    def after(self, bad: int, total: int) -> Noise:
        """With one more interval of stable's counts."""
        if not total:
            return self
        both, everything = self.bad + bad, self.total + total
        if not (self.total and 0 < both < everything):
            return Noise(self.squares, self.pairs, bad, total)
        rate = both / everything
        difference = bad / total - self.bad / self.total
        square = difference**2 / (rate * (1 - rate) * (1 / total + 1 / self.total))
        return Noise(self.squares + min(square, _LARGEST_SQUARE), self.pairs + 1, bad, total)


class GateState(NamedTuple):
    """A gate's evidence, its counts in all and before this step, and how long it has waited.

    `stake` is the share of the capital that bets on this gate, None before it has anything to say.
    `pending_seconds`: how long its evidence has been there, but the blame unclear; `pending` are
    the counts of independent requests over that time.
    """

    process: EProcess
    stake: float | None = None
    total: Counts = NOTHING
    before: Counts = NOTHING
    pending_seconds: float = 0.0
    pending: Counts = NOTHING
    noise: Noise = Noise()

    @property
    def step(self) -> Counts:
        """What was counted in this step."""
        return self.total.less(self.before)

    @property
    def measured(self) -> bool:
        """Whether its signal is there."""
        return any(self.total)


class Mark(NamedTuple):
    """Running totals at one moment: what happened since another mark is the difference."""

    seconds: float
    sums: tuple[int, ...]


def since(marks: tuple[Mark, ...], seconds: float) -> tuple[Mark, ...]:
    """The marks from the last one that is at least so many seconds old, or else the first."""
    begin, now = 0, marks[-1].seconds
    while now - marks[begin + 1].seconds >= seconds:
        begin += 1
    return marks[begin:]


class History(NamedTuple):
    """What stable was like in this release: its worst two minutes, and (errors, requests) in all.

    `marks` are of the last two minutes.
    """

    worst_rate: float = 0.0
    marks: tuple[Mark, ...] = (Mark(0.0, (0, 0)),)

    @property
    def errors(self) -> int:
        """All failures."""
        return self.marks[-1].sums[0]

    @property
    def requests(self) -> int:
        """All requests."""
        return self.marks[-1].sums[1]

    def after(self, seconds: float, errors: int, requests: int) -> History:
        """With one more interval."""
        before, (bad, total) = self.marks[-1]
        now = Mark(before + seconds, (bad + errors, total + requests))
        marks = since((*self.marks, now), _WINDOW_SECONDS)
        earlier_bad, earlier_total = marks[0].sums
        bad, total = now.sums[0] - earlier_bad, now.sums[1] - earlier_total
        worst = max(self.worst_rate, bad / total) if total >= _MIN_WINDOW else self.worst_rate
        return History(worst, marks)

    @property
    def limit_rate(self) -> float | None:
        """The failure rate that would be news: twice the mean, or more than the worst; if known."""
        if self.requests < _MIN_HISTORY:
            return None
        twice = 2 * self.errors / self.requests
        return min(max(twice, self.worst_rate, _LOWEST_LIMIT), _HIGHEST_LIMIT)


NO_HISTORY = History()


class Health(NamedTuple):
    """Evidence of health in this step: log likelihood ratios, and requests whose end is known."""

    absolute: tuple[float, ...]
    relative: tuple[float, ...]
    resolved: int = 0
    bad: int = 0


@dataclass(frozen=True, slots=True)
class JudgeState:
    """The judge's whole memory; `advance` makes the next one.

    `open_stable` and `open_candidate` are independent requests whose end is not known yet; `debt`
    are candidate failures of requests that an earlier interval took for good ones. `histograms`
    are stable's past ones.
    """

    settings: Settings
    gates: tuple[GateState, ...]
    health: Health
    last_id: int | None = None
    step: int | None = None
    weight_percent: float = 0.0
    seconds: float = 0.0
    open_stable: int = 0
    open_candidate: int = 0
    debt: int = 0
    histograms: Mapping[str, Past] = field(default_factory=dict)
    history: History = NO_HISTORY
    marks: tuple[Mark, ...] = ()
    harm: Verdict | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        """The state as a JSON value."""
        data = {name.name: getattr(self, name.name) for name in fields(self)}
        return {
            **data,
            "settings": asdict(self.settings),
            "harm": None if self.harm is None else asdict(self.harm),
            "histograms": {name: past.to_json() for name, past in self.histograms.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> JudgeState:
        """The state that `to_json` wrote."""
        harm = data["harm"]
        read = {
            **data,
            "settings": _settings(data["settings"]),
            "gates": tuple(_gate(gate) for gate in data["gates"]),
            "health": Health(*map(_hashable, data["health"])),
            "histograms": {name: Past.from_json(past) for name, past in data["histograms"].items()},
            "history": History(data["history"][0], _marks(data["history"][1])),
            "marks": _marks(data["marks"]),
            "harm": None if harm is None else _verdict(harm),
        }
        return cls(**read)


def _settings(data: Mapping[str, Any]) -> Settings:
    rules = tuple(Rule(**{**rule, "codes": tuple(rule["codes"])}) for rule in data["rules"])
    return Settings(**{**data, "rules": rules, "switched_off": tuple(data["switched_off"])})


def _gate(data: Sequence[Any]) -> GateState:
    read = GateState(*data)
    masses, rest, intervals = read.process
    return read._replace(
        process=EProcess(tuple(masses), rest, intervals),
        before=Counts(*read.before),
        total=Counts(*read.total),
        pending=Counts(*read.pending),
        noise=Noise(*read.noise),
    )


def _marks(data: Sequence[Any]) -> tuple[Mark, ...]:
    return tuple(Mark(seconds, tuple(sums)) for seconds, sums in data)


def _hashable(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _verdict(data: Mapping[str, Any]) -> Verdict:
    return Verdict(
        Outcome(data["outcome"]), Cause(data["cause"]), data["sentence"], data["evidence"]
    )
