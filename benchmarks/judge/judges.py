"""The judges that are compared, by name."""

from __future__ import annotations

from benchmarks.judge.peers import (
    MannWhitney,
    argo_like,
    flagger_like,
    threshold_10_60,
    threshold_60_300,
)
from benchmarks.judge.reference import ReferenceEngine
from grayscale.simulation import Means

OWN = "grayscale"
JUDGES: dict[str, Means] = {
    OWN: Means(),
    "reference": Means(new_judge=ReferenceEngine),
    "threshold-10-60": Means(new_judge=threshold_10_60, breaker=False),
    "threshold-60-300": Means(new_judge=threshold_60_300, breaker=False),
    "argo-like": Means(new_judge=argo_like, breaker=False),
    "flagger-like": Means(new_judge=flagger_like, breaker=False),
    "kayenta-like": Means(new_judge=MannWhitney, breaker=False),
}
"""The first two have the breaker of the relay; the others know of nothing like it."""
