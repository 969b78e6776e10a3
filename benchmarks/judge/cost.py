"""What one look of a judge costs, beside the reference engine in the same run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random

from benchmarks.judge.cells import PLAN, STANDARD
from benchmarks.judge.judges import JUDGES, OWN
from benchmarks.judge.measure import Figure
from grayscale.judge import Interval
from grayscale.simulation import Moment, NewJudge, World
from grayscale.simulation.traffic import IndependentTraffic

_LOOKS, _ROUNDS = 300, 7
MOST_TIMES_THE_REFERENCE = 1.2


def figures() -> list[Figure]:
    """CPU time per look, the best of several rounds in which both took turns."""
    intervals = _intervals()
    own, reference = JUDGES[OWN].new_judge, JUDGES["reference"].new_judge
    best = {own: float("inf"), reference: float("inf")}
    for _ in range(_ROUNDS):
        for new_judge, before in best.items():
            best[new_judge] = min(before, _microseconds(new_judge, intervals))
    ratio = best[own] / best[reference]
    kept = ratio <= MOST_TIMES_THE_REFERENCE
    return [
        Figure("one look", f"{best[own]:.0f} µs"),
        Figure("the reference engine", f"{best[reference]:.0f} µs"),
        Figure("times the reference", f"{ratio:.2f}", f"≤ {MOST_TIMES_THE_REFERENCE:g}", kept),
    ]


def _microseconds(new_judge: NewJudge, intervals: Sequence[Interval]) -> float:
    judge = new_judge(PLAN)
    began = time.process_time()
    for interval in intervals:
        judge.look(interval)
    return (time.process_time() - began) / len(intervals) * 1e6


def _intervals() -> list[Interval]:
    world = World(stable=STANDARD, candidate=STANDARD)
    seconds = PLAN.judge.interval_seconds
    traffic = IndependentTraffic(world, Random(1), interval_seconds=seconds, failover_percent=20.0)
    found = []
    for index in range(_LOOKS):
        weight = (10.0, 25.0, 50.0)[index * 3 // _LOOKS]
        passed = traffic.interval(Moment(index * seconds, weight), seconds=seconds)
        found.append(
            Interval(
                id=index + 1,
                seconds=seconds,
                step=index * 3 // _LOOKS,
                weight_percent=weight,
                step_seconds=index % (_LOOKS // 3) * seconds,
                soak_done=False,
                stable=passed.stable,
                candidate=passed.candidate,
            )
        )
    return found
