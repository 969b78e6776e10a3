"""What the judge remembers of a release: frozen, and JSON in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from grayscale.judge.evidence import EProcess
from grayscale.judge.values import BUCKETS, Cause, Outcome, Rule, Settings, Verdict


class Counts(NamedTuple):
    """Bad ones and all, in both arms."""

    stable_bad: int = 0
    stable: int = 0
    candidate_bad: int = 0
    candidate: int = 0

    def plus(self, other: Counts) -> Counts:
        """The sums of both."""
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def stable_rate(self) -> float:
        """Stable's share of bad ones, 0 if there is nothing."""
        return self.stable_bad / self.stable if self.stable else 0.0

    @property
    def candidate_rate(self) -> float:
        """The candidate's share of bad ones, 0 if there is nothing."""
        return self.candidate_bad / self.candidate if self.candidate else 0.0


NOTHING = Counts()


@dataclass(frozen=True, slots=True)
class GateState:
    """A gate's evidence, its counts in this step and in all, and how long it has waited.

    `pending_seconds`: how long its evidence has been enough, but the blame unclear.
    """

    process: EProcess
    step: Counts = NOTHING
    total: Counts = NOTHING
    pending_seconds: float = 0.0
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """A few recent seconds of this step: started requests, and the counts of each gate."""

    seconds: float
    stable: int
    candidate: int
    gates: tuple[Counts, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """Evidence of health in this step: log likelihood ratios, and requests whose end is known."""

    absolute: tuple[float, ...]
    relative: tuple[float, ...]
    resolved: int = 0
    bad: int = 0


@dataclass(frozen=True, slots=True)
class JudgeState:
    """The judge's whole memory; `advance` makes the next one.

    `open_stable` and `open_candidate` are requests whose end is not known yet; `debt` are
    candidate failures of requests that an earlier interval took for good ones.
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
    histogram: tuple[int, ...] = (0,) * BUCKETS
    slots: tuple[Slot, ...] = ()
    harm: Verdict | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        """The state as a JSON value."""
        data = asdict(replace(self, histogram=()))
        data["histogram"] = {str(i): count for i, count in enumerate(self.histogram) if count}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> JudgeState:
        """The state that `to_json` wrote."""
        harm = data["harm"]
        histogram = [0] * BUCKETS
        for bucket, count in data["histogram"].items():
            histogram[int(bucket)] = count
        read = {
            **data,
            "settings": _settings(data["settings"]),
            "gates": tuple(_gate(gate) for gate in data["gates"]),
            "health": Health(
                tuple(data["health"]["absolute"]),
                tuple(data["health"]["relative"]),
                data["health"]["resolved"],
                data["health"]["bad"],
            ),
            "histogram": tuple(histogram),
            "slots": tuple(_slot(slot) for slot in data["slots"]),
            "harm": None if harm is None else _verdict(harm),
        }
        return cls(**read)


def _settings(data: Mapping[str, Any]) -> Settings:
    rules = tuple(Rule(**{**rule, "codes": tuple(rule["codes"])}) for rule in data["rules"])
    return Settings(**{**data, "rules": rules})


def _gate(data: Mapping[str, Any]) -> GateState:
    process = data["process"]
    return GateState(
        process=EProcess(tuple(process["masses"]), process["rest"], process["intervals"]),
        step=Counts(*data["step"]),
        total=Counts(*data["total"]),
        pending_seconds=data["pending_seconds"],
        measured=data["measured"],
    )


def _slot(data: Mapping[str, Any]) -> Slot:
    gates = tuple(Counts(*counts) for counts in data["gates"])
    return Slot(data["seconds"], data["stable"], data["candidate"], gates)


def _verdict(data: Mapping[str, Any]) -> Verdict:
    return Verdict(
        Outcome(data["outcome"]), Cause(data["cause"]), data["sentence"], data["evidence"]
    )
