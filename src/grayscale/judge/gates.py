"""The gates: the questions that a candidate is asked, and how much each of them weighs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from grayscale.judge.evidence import (
    ABOVE_LIMIT_PRIOR,
    SHAPES_PRIOR,
    TAILS_PRIOR,
    WORSE,
    WORSE_PRIOR,
    Prior,
    absolute_log_ratios,
    fresh,
    rates_above,
    relative_log_ratios,
    shape_log_ratios,
    tail_log_ratios,
)
from grayscale.judge.measures import (
    LATENCY,
    Above,
    AbovePast,
    AllFailures,
    Answers,
    Beside,
    Callers,
    Codes,
    Failures,
    Measure,
    View,
)
from grayscale.judge.state import Counts, GateState, Noise
from grayscale.judge.values import JudgeInputError, Rule, Settings

RULE = "rule "
"""What the names of gates begin with that a plan's rules make."""

_HIGHEST_LIMIT = 0.99
_RULE_WEIGHT = 0.1
_SIGNAL_WEIGHT = 0.05


class Shares(NamedTuple):
    """The candidate's share of the requests that an interval's failures are of: bounds."""

    most: float
    least: float


class Given(NamedTuple):
    """What a gate needs to know of an interval beside its counts.

    `shares`: a failure may be of a request that started before the interval in which it is known,
    and the requests of that time may have been shared out in another way. `history_rate` is
    the limit that stable's past sets, None while it is not in force. `warm`: the first seconds,
    which mislead some gates, are over. `sticky`: there are callers who stay with a version.
    """

    view: View
    shares: Shares
    history_rate: float | None
    warm: bool
    sticky: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """One question about the candidate.

    `weight` is the gate's share in the combined evidence; `settles` says that a version's warm-up
    may mislead it. `of_plan` are the plan's own rules.
    """

    name: str
    weight: float
    measure: Measure
    limit_rate: float | None = None
    settles: bool = False
    of_plan: bool = False

    prior: ClassVar[Prior]
    absolute: ClassVar[bool] = False
    """Whether it looks at the candidate alone, and blame needs a comparison."""
    early: ClassVar[bool] = False
    """Whether it gets its stake with the first: later there would be less."""

    forgives: ClassVar[bool] = False
    """Whether, where callers stick, the candidate's first bad one is let off: it proves nothing."""

    def start(self) -> GateState:
        """The gate before any counts."""
        return GateState(fresh(self.prior))

    @abstractmethod
    def may_speak(self, counts: Counts, given: Given) -> bool:
        """Whether its counts may be weighed: warmed up, its limit in force."""
        ...

    def has_signal(self, total: Sequence[int]) -> bool:  # noqa: ARG002
        """Whether what has been counted up to now, as a Counts, gives it something to say."""
        return True

    @abstractmethod
    def log_ratios(self, counts: Counts, given: Given) -> Sequence[float] | None:
        """The log likelihood ratio of each alternative; None if the counts say nothing."""
        ...

    def weighed(self, before: GateState, counts: Counts, given: Given) -> GateState:
        """The gate after an interval; nothing is suspected."""
        process, stake, noise, _ = before
        ratios = self.log_ratios(counts, given)
        if ratios is not None:
            # The dispersion that counts is the past's: an interval must not choose its own weight.
            power = noise.power
            if power < 1:
                ratios = [ratio * power for ratio in ratios]
            process = process.after(ratios, self.prior)
        return GateState(process, stake, self.noise(noise, counts))

    def noise(self, before: Noise, counts: Counts) -> Noise:
        """How stable's own counts spread, with one more interval."""
        return before.after(counts.stable_bad, counts.stable)


@dataclass(frozen=True, slots=True)
class RelativeGate(Gate):
    """A question that stable is asked, too; `always`: even before anything has happened."""

    always: bool = False

    def may_speak(self, counts: Counts, given: Given) -> bool:  # noqa: ARG002
        """See Gate."""
        return given.warm or not self.settles

    def has_signal(self, total: Sequence[int]) -> bool:
        """See Gate."""
        stable_bad, stable, candidate_bad, _ = total
        return stable > 0 and (self.always or stable_bad + candidate_bad > 0)


@dataclass(frozen=True, slots=True)
class RareGate(RelativeGate):
    """How often something happens, compared with stable.

    What is `told_late` may be of requests that started before the interval in which it is known.
    """

    told_late: bool = False
    prior = WORSE_PRIOR
    forgives = True

    def log_ratios(self, counts: Counts, given: Given) -> Sequence[float] | None:
        """See Gate."""
        stable_bad, stable, candidate_bad, candidate = counts
        if not stable_bad + candidate_bad:
            return None
        total = (float(stable), float(candidate))
        if self.told_late:
            total = (1 - given.shares.most, given.shares.most)
        bad = (stable_bad, candidate_bad)
        return relative_log_ratios(bad, total, WORSE)


@dataclass(frozen=True, slots=True)
class ShapeGate(RelativeGate):
    """How answers spread, compared with stable."""

    measure: AbovePast
    prior = SHAPES_PRIOR

    def log_ratios(self, counts: Counts, given: Given) -> Sequence[float] | None:  # noqa: ARG002
        """See Gate."""
        spread, stable, candidate, totals = given.view.graded[self.measure.source]
        return shape_log_ratios(stable, candidate, totals, shares=spread.shares)


@dataclass(frozen=True, slots=True)
class TailGate(RelativeGate):
    """How many answers are beyond a quantile of stable's past, compared with stable."""

    measure: AbovePast
    prior = TAILS_PRIOR

    def log_ratios(self, counts: Counts, given: Given) -> Sequence[float] | None:
        """See Gate."""
        measure, (stable_bad, stable, candidate_bad, candidate) = self.measure, counts
        share = given.view.graded[measure.source].spread.share_beyond(measure.quantile)
        return tail_log_ratios((stable_bad, candidate_bad), (stable, candidate), share=share)


@dataclass(frozen=True, slots=True)
class LimitGate(Gate):
    """A limit on a share of requests."""

    prior = ABOVE_LIMIT_PRIOR
    absolute = True

    def may_speak(self, counts: Counts, given: Given) -> bool:
        """See Gate."""
        return counts.candidate > 0 and (given.warm or not self.settles)

    def log_ratios(self, counts: Counts, given: Given) -> Sequence[float] | None:
        """See Gate."""
        limit_rate, candidate = self.limit_in_force(given), counts.candidate
        if limit_rate is None or not candidate:
            return None
        return absolute_log_ratios(counts.candidate_bad, candidate, rates_above(limit_rate))

    def limit_in_force(self, given: Given) -> float | None:  # noqa: ARG002
        """What must not be exceeded now; None: nothing can be said yet."""
        return self.limit_rate

    def noise(self, before: Noise, counts: Counts) -> Noise:  # noqa: ARG002
        """See Gate; a limit does not ask."""
        return before


@dataclass(frozen=True, slots=True)
class HistoryGate(LimitGate):
    """A limit that stable's past sets."""

    early = True

    def may_speak(self, counts: Counts, given: Given) -> bool:  # noqa: ARG002
        """See Gate."""
        return given.history_rate is not None

    def limit_in_force(self, given: Given) -> float | None:
        """See LimitGate."""
        return given.history_rate


def gates_of(settings: Settings) -> tuple[Gate, ...]:
    """The gates that a release must pass, in order."""
    for name in settings.switched_off:
        if name not in OPTIONAL_GATES:
            known = ", ".join(OPTIONAL_GATES)
            raise JudgeInputError(f"switched_off: {name!r} cannot be left out, only {known}")
    limit = rate_of(settings.error_threshold_percent)
    slow = _slow(settings.latency_threshold_ms)
    core = (
        RareGate("errors", 0.6, Failures(), told_late=True, always=True),
        RareGate("callers", 0.3, Callers()),
        ShapeGate("latency", 0.4, _past(LATENCY, 0.5, "slower"), settles=True),
        TailGate("p95", 0.2, _past(LATENCY, 0.95, "slower"), settles=True),
        LimitGate("error_limit", 0.05, AllFailures(), limit),
        LimitGate("latency_limit", 0.05, slow, 0.05, settles=True),
        HistoryGate("history", 0.3, AllFailures()),
        RareGate("rejected", 0.1, Beside("rejected", "were rejected")),
        RareGate("client_gone", 0.05, Beside("client_gone", "were given up by their callers")),
    )
    optional = (gate for gate in _OPTIONAL if gate.name not in settings.switched_off)
    return (*core, *optional, *(_rule_gate(rule) for rule in settings.rules))


def rate_of(percent: float) -> float:
    """A limit in percent as a rate that can be tested: "error_rate > 0" allows 1 in 1000."""
    return min(max(percent / 100, 0.001), _HIGHEST_LIMIT)


def _past(histogram: str, quantile: float, worse: str, what: str = "") -> AbovePast:
    name = f"p{quantile * 100:g}{what}"
    return AbovePast(histogram, quantile, f"were {worse} than stable's past {name}")


def _slow(bound_ms: float) -> Above:
    return Above(LATENCY, bound_ms, f"took longer than {bound_ms:g} ms")


def _signal(name: str, signal: str, bad: str) -> Gate:
    return RareGate(name, _SIGNAL_WEIGHT, Answers(signal, bad))


_SIGNALS = {
    "refusals": ("refusal", "were answered with a refusal"),
    "empty_answers": ("empty_answer", "were answered with nothing"),
    "truncations": ("truncation", "were cut short by the token limit"),
    "invalid_json": ("invalid_json", "were answered with invalid JSON"),
    "invalid_tool_calls": ("invalid_tool_call", "called tools in a way that cannot work"),
    "stream_aborts": ("stream_abort", "broke off in mid-answer"),
}

_OPTIONAL = (
    ShapeGate("ttft", 0.1, _past("ttft", 0.5, "slower", " to the first token"), settles=True),
    ShapeGate("token_speed", 0.05, _past("token_ms", 0.5, "slower", " per token"), settles=True),
    ShapeGate("cost", 0.05, _past("cost", 0.5, "dearer", " of cost")),
    *(_signal(name, signal, bad) for name, (signal, bad) in _SIGNALS.items()),
)

OPTIONAL_GATES = tuple(gate.name for gate in _OPTIONAL)
"""The gates that a plan may switch off."""


def _rule_gate(rule: Rule) -> Gate:
    name, weight = f"{RULE}{rule.name}", _RULE_WEIGHT if rule.rolls_back else 0.0
    if rule.metric == "error_code":
        return RareGate(name, weight, Codes(rule.codes), of_plan=True, told_late=True)
    measure, limit_rate, settles = _limited(rule.metric, rule.limit)
    return LimitGate(name, weight, measure, limit_rate, settles, of_plan=True)


def _limited(metric: str, limit: float) -> tuple[Measure, float, bool]:
    """What a rule counts, the share of it that is allowed, and whether warm-up may mislead it."""
    if metric == "error_rate":
        return AllFailures(), rate_of(limit), False
    if metric.endswith("_rate"):
        signal = metric.removesuffix("_rate")
        bad = dict(_SIGNALS.values()).get(signal, f"showed {signal}")
        return Answers(signal, bad, independent=False), rate_of(limit), False
    if metric == "tokens_per_second":
        bound_ms = 1000 / limit if limit else 0.0
        return Above("token_ms", bound_ms, f"had under {limit:g} tokens/s"), 0.5, True
    if metric == "cost_per_request_usd":
        return Above("cost", limit / _COST_UNIT_USD, f"cost more than {limit:g} USD"), 0.5, False
    return *_quantile(metric, limit), True


def _quantile(metric: str, limit: float) -> tuple[Measure, float]:
    """A limit on a quantile: the share beyond it must not exceed the quantile's tail."""
    histogram = "ttft" if metric.startswith("ttft_") else LATENCY
    tail = next((tail for part, tail in _TAILS.items() if part in metric), 0.5)
    known = metric.endswith("_ms") and any(part in metric for part in _TAILS)
    return Above(histogram if known else metric, limit, f"took longer than {limit:g} ms"), tail


_TAILS = {"p50": 0.5, "p95": 0.05, "p99": 0.01}
_COST_UNIT_USD = 1e-5
