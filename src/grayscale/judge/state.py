"""What the judge remembers of a release: frozen, and JSON in and out."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from grayscale.judge.evidence import EProcess
from grayscale.judge.past import Past
from grayscale.judge.values import Cause, JudgeInputError, Outcome, Rule, Settings, Verdict

_MIN_PAIRS = 5
_PRIOR_PAIRS = 4
_LARGEST_SQUARE = 16.0
_NO_HISTOGRAMS: Mapping[str, Past] = {}

FORMAT = 1
"""Of what `to_json` writes: another number whenever what is kept, or its meaning, changes."""


class Counts(NamedTuple):
    """Bad ones and all, in both arms."""

    stable_bad: int = 0
    stable: int = 0
    candidate_bad: int = 0
    candidate: int = 0

    @property
    def stable_rate(self) -> float:
        """Stable's share of bad ones, 0 if there is nothing."""
        return self.stable_bad / self.stable if self.stable else 0.0

    @property
    def candidate_rate(self) -> float:
        """The candidate's share of bad ones, 0 if there is nothing."""
        return self.candidate_bad / self.candidate if self.candidate else 0.0


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
        squares, pairs, _, _ = self
        if pairs < _MIN_PAIRS or squares <= pairs:
            return 1.0
        mean = (squares + _PRIOR_PAIRS) / (pairs + _PRIOR_PAIRS)
        return 1 / max(1.0, mean - 0.5 * math.sqrt(2 / pairs))

    def after(self, bad: int, total: int) -> Noise:
        """With one more interval of stable's counts."""
        if not total:
            return self
        squares, pairs, before, total_before = self
        both, everything = before + bad, total_before + total
        if not (total_before and 0 < both < everything):
            return Noise(squares, pairs, bad, total)
        rate = both / everything
        difference = bad / total - before / total_before
        square = difference**2 / (rate * (1 - rate) * (1 / total + 1 / total_before))
        return Noise(squares + min(square, _LARGEST_SQUARE), pairs + 1, bad, total)


Totals = tuple[int, ...]
"""Running totals: four numbers, a Counts, in each slot. GateSet says which slot is whose."""


def counts_in(slot: int, totals: Totals, before: Totals | None = None) -> Counts:
    """What is counted in a slot: in all, or since there were the totals `before`."""
    counts = totals[slot : slot + 4]
    if before is None:
        return Counts(*counts)
    return Counts(*map(operator.sub, counts, before[slot : slot + 4]))


class Mark(NamedTuple):
    """The first of the running totals at one moment: what happened since is a difference.

    `seconds` of the release have been judged by then.
    """

    seconds: float
    totals: Totals


class GateState(NamedTuple):
    """A gate's evidence, and how much of the capital bets on it.

    `stake` is the share of the capital that bets on this gate, None before it has anything to say.
    `suspected` is the moment from which on its evidence has been there, but the blame unclear.
    """

    process: EProcess
    stake: float | None = None
    noise: Noise = Noise()
    suspected: Mark | None = None


class Health(NamedTuple):
    """Evidence of health in this step: log likelihood ratios, and what became of requests.

    `requests` are the candidate's, `resolved` those of them whose end is known, `bad` failed;
    `of_stable` are (requests, resolved).
    """

    absolute: tuple[float, ...]
    relative: tuple[float, ...]
    requests: int = 0
    resolved: int = 0
    bad: int = 0
    of_stable: tuple[int, int] = (0, 0)


class JudgeState(NamedTuple):
    """The judge's whole memory; `advance` makes the next one.

    `marks` are of the last two minutes, the last one of now. `entered_seconds` and
    `entered_totals` were so when the step began. `worst_rate` is the failure rate of stable's
    worst two minutes. `open_stable` and `open_candidate` are independent requests whose end is not
    known yet; `debt` are candidate failures of requests that an earlier interval took for good
    ones. `histograms` are stable's past ones.
    """

    settings: Settings
    gates: tuple[GateState, ...]
    health: Health
    totals: Totals
    entered_totals: Totals
    marks: tuple[Mark, ...]
    entered_seconds: float = 0.0
    last_id: int | None = None
    step: int | None = None
    weight_percent: float = 0.0
    worst_rate: float = 0.0
    open_stable: int = 0
    open_candidate: int = 0
    debt: int = 0
    histograms: Mapping[str, Past] = _NO_HISTOGRAMS
    harm: Verdict | None = None

    @property
    def seconds(self) -> float:
        """How long the release has been judged."""
        return self.marks[-1].seconds

    def in_step(self, slot: int) -> Counts:
        """What was counted in a slot in this step."""
        return counts_in(slot, self.totals, self.entered_totals)

    def to_json(self) -> dict[str, Any]:
        """The state as a JSON value."""
        return {
            **self._asdict(),
            "format": FORMAT,
            "settings": asdict(self.settings),
            "harm": None if self.harm is None else asdict(self.harm),
            "histograms": {name: past.to_json() for name, past in self.histograms.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> JudgeState:
        """The state that `to_json` wrote; raises JudgeInputError if another build's did."""
        if data.get("format") != FORMAT:
            raise JudgeInputError(f"format: {data.get('format')!r} is not {FORMAT}, judge anew")
        harm = data["harm"]
        read = {
            **{name: data[name] for name in cls._fields},
            "settings": _settings(data["settings"]),
            "gates": tuple(_gate(*gate) for gate in data["gates"]),
            "health": Health(*map(_hashable, data["health"])),
            "totals": tuple(data["totals"]),
            "entered_totals": tuple(data["entered_totals"]),
            "marks": tuple(_mark(*mark) for mark in data["marks"]),
            "histograms": {name: Past.from_json(past) for name, past in data["histograms"].items()},
            "harm": None if harm is None else _verdict(harm),
        }
        return cls(**read)


def _settings(data: Mapping[str, Any]) -> Settings:
    rules = tuple(Rule(**{**rule, "codes": tuple(rule["codes"])}) for rule in data["rules"])
    return Settings(**{**data, "rules": rules, "switched_off": tuple(data["switched_off"])})


def _gate(
    process: Sequence[Any],
    stake: float | None,
    noise: Sequence[Any],
    suspected: Sequence[Any] | None,
) -> GateState:
    masses, *others = process
    return GateState(
        EProcess(tuple(masses), *others),
        stake,
        Noise(*noise),
        None if suspected is None else _mark(*suspected),
    )


def _mark(seconds: float, totals: Sequence[int]) -> Mark:
    return Mark(seconds, tuple(totals))


def _hashable(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def _verdict(data: Mapping[str, Any]) -> Verdict:
    return Verdict(
        Outcome(data["outcome"]), Cause(data["cause"]), data["sentence"], data["evidence"]
    )
