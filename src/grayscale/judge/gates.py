"""The gates: the questions that a candidate is asked, and how much each of them weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from grayscale.judge.evidence import (
    SHAPES,
    WORSE_PRIOR,
    WORSE_RATIOS,
    EProcess,
    absolute_log_ratios,
    fresh,
    rates_above,
    relative_log_ratios,
    shape_log_ratios,
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
    Shape,
    View,
)
from grayscale.judge.state import Counts, GateState
from grayscale.judge.values import Rule, Settings

Kind = Literal["rare", "shape", "limit", "history"]

RULE = "rule "
"""What the names of gates begin with that a plan's rules make."""

_ABSOLUTE = frozenset({"limit", "history"})
_HIGHEST_LIMIT = 0.99
_RULE_WEIGHT = 0.1
_SIGNAL_WEIGHT = 0.05


@dataclass(frozen=True, slots=True)
class Given:
    """What a gate needs to know beside its counts.

    `at_risk` are the independent requests (stable, candidate) of the last two minutes: a failure
    may be of a request that started before the interval in which it is known. `limit_rate` is
    what stable's history sets, None before it can.
    """

    view: View
    at_risk: tuple[int, int]
    limit_rate: float | None


@dataclass(frozen=True, slots=True)
class Gate:
    """One question about the candidate.

    `rare` and `shape` compare with stable (how often something happens, how answers spread), a
    `limit` is absolute: the share of bad requests must not exceed `limit_rate`; `history` is a
    limit that stable's past sets. `weight` is the gate's share in the combined evidence; `settles`
    says that a version's warm-up may mislead it.
    """

    name: str
    kind: Kind
    weight: float
    measure: Measure
    limit_rate: float | None = None
    settles: bool = False

    @property
    def absolute(self) -> bool:
        """Whether it looks at the candidate alone, and blame needs a comparison."""
        return self.kind in _ABSOLUTE

    @property
    def of_plan(self) -> bool:
        """Whether it is one of the plan's own rules."""
        return self.name.startswith(RULE)

    def start(self) -> GateState:
        """The gate before any counts."""
        if self.absolute:
            return GateState(fresh(len(rates_above(0.05))))
        return GateState(fresh(SHAPES if self.kind == "shape" else len(WORSE_RATIOS)))

    def process_after(self, state: GateState, counts: Counts, given: Given) -> EProcess:
        """The evidence after one interval's counts."""
        ratios = self._log_ratios(counts, given)
        if ratios is None:
            return state.process
        if self.absolute:
            return state.process.after(ratios)
        power = state.noise.power
        if power < 1:
            ratios = [ratio * power for ratio in ratios]
        return state.process.after(ratios, WORSE_PRIOR if self.kind == "rare" else None)

    def _log_ratios(self, counts: Counts, given: Given) -> Sequence[float] | None:
        bad, total = (counts.stable_bad, counts.candidate_bad), (counts.stable, counts.candidate)
        if self.absolute:
            limit_rate = given.limit_rate if self.kind == "history" else self.limit_rate
            if limit_rate is None or not counts.candidate:
                return None
            return absolute_log_ratios(
                counts.candidate_bad,
                counts.candidate,
                null=limit_rate,
                rates=rates_above(limit_rate),
            )
        if isinstance(self.measure, Shape):
            classes = self.measure.classes(given.view)
            return None if classes is None else shape_log_ratios(*classes)
        if not sum(bad):
            return None
        at_risk = given.at_risk if isinstance(self.measure, Failures | Codes) else total
        return relative_log_ratios(bad, at_risk, null=1.0, ratios=WORSE_RATIOS)


@dataclass(frozen=True, slots=True)
class GateSet:
    """All gates, and where among them are those that every look asks for."""

    gates: tuple[Gate, ...]
    absolute: tuple[int, ...]
    rules: tuple[int, ...]
    place: Mapping[str, int]


@lru_cache(maxsize=64)
def gate_set(settings: Settings) -> GateSet:
    """The gates that a release must pass."""
    gates = gates_of(settings)
    return GateSet(
        gates,
        absolute=tuple(at for at, gate in enumerate(gates) if gate.absolute),
        rules=tuple(at for at, gate in enumerate(gates) if gate.of_plan),
        place={gate.name: at for at, gate in enumerate(gates)},
    )


def gates_of(settings: Settings) -> tuple[Gate, ...]:
    """The gates that a release must pass, in order."""
    limit = rate_of(settings.error_threshold_percent)
    core = (
        Gate("errors", "rare", 0.6, Failures()),
        Gate("callers", "rare", 0.6, Callers()),
        Gate("latency", "shape", 0.4, _shape(LATENCY, "slower"), settles=True),
        Gate("p95", "rare", 0.1, _past(LATENCY, 0.95, "slower"), settles=True),
        Gate("error_limit", "limit", 0.05, AllFailures(), limit),
        Gate("latency_limit", "limit", 0.05, _slow(settings.latency_threshold_ms), 0.05, True),
        Gate("history", "history", 0.3, AllFailures()),
        Gate("rejected", "rare", 0.1, Beside("rejected", "were rejected")),
        Gate("client_gone", "rare", 0.05, Beside("client_gone", "were given up by their callers")),
    )
    optional = (gate for gate in _OPTIONAL if gate.name not in settings.switched_off)
    return (*core, *optional, *(_rule_gate(rule) for rule in settings.rules))


def rate_of(percent: float) -> float:
    """A limit in percent as a rate that can be tested: "error_rate > 0" allows 1 in 1000."""
    return min(max(percent / 100, 0.001), _HIGHEST_LIMIT)


def _past(histogram: str, quantile: float, worse: str, what: str = "") -> AbovePast:
    name = f"p{quantile * 100:g}{what}"
    return AbovePast(histogram, quantile, f"were {worse} than stable's past {name}")


def _shape(histogram: str, worse: str, what: str = "") -> Shape:
    return Shape(histogram, 0.5, f"were {worse} than stable's past p50{what}")


def _slow(bound_ms: float) -> Above:
    return Above(LATENCY, bound_ms, f"took longer than {bound_ms:g} ms")


def _signal(name: str, signal: str, bad: str) -> Gate:
    return Gate(name, "rare", _SIGNAL_WEIGHT, Answers(signal, bad))


_SIGNALS = {
    "refusals": ("refusal", "were answered with a refusal"),
    "empty_answers": ("empty_answer", "were answered with nothing"),
    "truncations": ("truncation", "were cut short by the token limit"),
    "invalid_json": ("invalid_json", "were answered with invalid JSON"),
    "invalid_tool_calls": ("invalid_tool_call", "called tools in a way that cannot work"),
    "stream_aborts": ("stream_abort", "broke off in mid-answer"),
}

_OPTIONAL = (
    Gate("ttft", "shape", 0.1, _shape("ttft", "slower", " to the first token"), None, True),
    Gate("token_speed", "shape", 0.05, _shape("token_ms", "slower", " per token"), None, True),
    Gate("cost", "shape", 0.05, _shape("cost", "dearer", " of cost")),
    *(_signal(name, signal, bad) for name, (signal, bad) in _SIGNALS.items()),
)

OPTIONAL_GATES = tuple(gate.name for gate in _OPTIONAL)
"""The gates that a plan may switch off."""


def _rule_gate(rule: Rule) -> Gate:
    name, weight = f"{RULE}{rule.name}", _RULE_WEIGHT if rule.rolls_back else 0.0
    metric = rule.metric
    if metric == "error_code":
        return Gate(name, "rare", weight, Codes(rule.codes))
    if metric == "error_rate":
        return Gate(name, "limit", weight, AllFailures(), rate_of(rule.limit))
    if metric.endswith("_rate"):
        return _rate_rule(name, weight, metric.removesuffix("_rate"), rule.limit)
    return _bound_rule(name, weight, metric, rule.limit)


def _rate_rule(name: str, weight: float, signal: str, percent: float) -> Gate:
    known = dict(_SIGNALS.values())
    bad = known.get(signal, f"showed {signal}")
    measure = Answers(signal, bad, independent=False)
    return Gate(name, "limit", weight, measure, rate_of(percent))


def _bound_rule(name: str, weight: float, metric: str, limit: float) -> Gate:
    """A rule on a quantile: the share beyond the limit must not exceed the quantile's tail."""
    if metric == "tokens_per_second":
        measure = Above("token_ms", 1000 / limit if limit else 0.0, f"had under {limit:g} tokens/s")
        return Gate(name, "limit", weight, measure, 0.5, settles=True)
    if metric == "cost_per_request_usd":
        measure = Above("cost", limit / _COST_UNIT_USD, f"cost more than {limit:g} USD")
        return Gate(name, "limit", weight, measure, 0.5)
    histogram = "ttft" if metric.startswith("ttft_") else LATENCY
    tail = next((tail for part, tail in _TAILS.items() if part in metric), 0.5)
    known = metric.endswith("_ms") and any(part in metric for part in _TAILS)
    measure = Above(histogram if known else metric, limit, f"took longer than {limit:g} ms")
    return Gate(name, "limit", weight, measure, tail, settles=True)


_TAILS = {"p50": 0.5, "p95": 0.05, "p99": 0.01}
_COST_UNIT_USD = 1e-5
