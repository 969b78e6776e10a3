"""Verdicts in one sentence with numbers, for whoever reads them at 2 a.m."""

from __future__ import annotations

from grayscale.judge.gates import Gate
from grayscale.judge.measures import Callers
from grayscale.judge.state import Counts, JudgeState, counts_in
from grayscale.judge.values import Interval

_ENOUGH_IN_STEP = 20
_UNCOUNTABLE = 1_000_000


def harmful(state: JudgeState, gate: Gate, slot: int, e_value: float) -> str:
    """Why the candidate is taken away; `gate` is the one that said most, and counts there."""
    counts = state.in_step(slot)
    if counts.candidate < _ENOUGH_IN_STEP:
        counts = counts_in(slot, state.totals)
    against = "as good as stable" if gate.limit_rate is None else "within the limit"
    return (
        f"Rolled back after {duration(state.seconds)} at {state.weight_percent:g} %: "
        f"{_of_gate(gate, counts)}{_limit(gate)}; a version {against} would look "
        f"this bad at most once in {_times(e_value)} releases."
    )


def healthy(state: JudgeState, counts: Counts, absolute: float, relative: float) -> str:
    """What the evidence of health is: the e-values against the limit, and against a doubling."""
    excluded = (
        f"a failure rate above {state.settings.error_threshold_percent:g} %"
        if absolute >= relative
        else "a version that fails twice as often as stable"
    )
    return (
        f"Healthy at {state.weight_percent:g} %: {_compared(counts, 'failed')}; {excluded} would "
        f"look this good at most once in {_times(max(absolute, relative))} times."
    )


def too_few(state: JudgeState) -> str:
    """There are too few requests to say anything."""
    seen = state.health.resolved
    return (
        f"Not enough data at {state.weight_percent:g} %: {seen:,} of the "
        f"{state.settings.min_requests:,} candidate requests that a verdict needs; "
        f"{state.health.bad:,} failed."
    )


def hanging(state: JudgeState) -> str:
    """Many of the candidate's requests have not ended yet."""
    health, (asked, resolved) = state.health, state.health.of_stable
    return (
        f"Not enough data at {state.weight_percent:g} %: {health.requests - health.resolved:,} of "
        f"{health.requests:,} candidate requests have no end yet, against "
        f"{max(asked - resolved, 0):,} of {asked:,} on stable."
    )


def not_excluded(state: JudgeState, counts: Counts) -> str:
    """There are requests enough, but they show neither harm nor health."""
    return (
        f"Not enough evidence at {state.weight_percent:g} %: {_compared(counts, 'failed')}; a "
        f"failure rate above {state.settings.error_threshold_percent:g} % cannot be excluded yet."
    )


def above_limit(state: JudgeState, gate: Gate, counts: Counts) -> str:
    """The candidate is beyond a limit, but it may be chance."""
    return (
        f"Not enough evidence at {state.weight_percent:g} %: {_of_gate(gate, counts)}"
        f"{_limit(gate)}; it may be chance, more requests will tell."
    )


def suspicious(state: JudgeState, counts: Counts, e_value: float) -> str:
    """There is some evidence of harm."""
    return (
        f"Not enough evidence at {state.weight_percent:g} %: the candidate looks worse than one "
        f"good release in {_times(e_value)}, which is not enough to roll it back, and too much to "
        f"go on; {_compared(counts, 'failed')}."
    )


def unmeasured(state: JudgeState, gate: Gate) -> str:
    """A rule of the plan watches what nothing reports."""
    return (
        f"Not enough data at {state.weight_percent:g} %: nothing reports what {gate.name} watches."
    )


def upstream(state: JudgeState, gate: Gate, counts: Counts) -> str:
    """Stable is beyond a limit itself."""
    return (
        f"On hold at {state.weight_percent:g} %: in the last two minutes "
        f"{_of_gate(gate, counts)}{_limit(gate)}; stable itself is beyond it, so "
        "the upstream is the likely cause."
    )


def other_split(state: JudgeState, stable: int, candidate: int) -> str:
    """The requests do not follow the weights."""
    total, weight = stable + candidate, state.weight_percent
    return (
        f"On hold: of the last {total:,} requests the candidate has had {candidate:,} "
        f"({_percent(candidate / total)}) instead of {weight:g} %; the split that the plan "
        "wants is not the split that callers get."
    )


def unverified(state: JudgeState) -> str:
    """Not every worker runs the split."""
    return f"On hold: not every worker is known to run the split of {state.weight_percent:g} %."


def stale(interval: Interval) -> str:
    """Counters are missing."""
    return (
        f"On hold at {interval.weight_percent:g} %: the counters of the last "
        f"{duration(interval.seconds)} are not complete; they are left out."
    )


def duration(seconds: float) -> str:
    """160 as "2 m 40 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} m"
    return f"{minutes} m {rest} s" if minutes else f"{rest} s"


def _of_gate(gate: Gate, counts: Counts) -> str:
    who = "callers" if isinstance(gate.measure, Callers) else "requests"
    return _compared(counts, gate.measure.bad, who=who)


def _compared(counts: Counts, what: str, *, who: str = "requests") -> str:
    return (
        f"{counts.candidate_bad:,} of {counts.candidate:,} candidate {who} {what} "
        f"({_percent(counts.candidate_rate)}) against {counts.stable_bad:,} of {counts.stable:,} "
        f"on stable ({_percent(counts.stable_rate)})"
    )


def _limit(gate: Gate) -> str:
    return "" if gate.limit_rate is None else f", with {_percent(gate.limit_rate)} as the limit"


def _percent(rate: float) -> str:
    return f"{rate * 100:.1f} %"


def _times(e_value: float) -> str:
    return "a million" if e_value >= _UNCOUNTABLE else f"{int(e_value):,}"
