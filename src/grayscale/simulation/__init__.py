"""Releases in a made-up world: what a plan would do at this traffic, before anybody depends on it.

A world says how both versions behave; `run` carries one seeded release out in it, step by step,
with the product's own judge and the conductor's own decisions.
"""

from grayscale.simulation.forecast import (
    Forecast,
    Share,
    Spread,
    affordable_rollouts,
    forecast,
    simulate,
)
from grayscale.simulation.judging import Judge, NewJudge, OwnJudge
from grayscale.simulation.latency import Latency
from grayscale.simulation.rollout import End, Ended, Means, run
from grayscale.simulation.scenarios import Recipe, Scenario
from grayscale.simulation.world import Callers, Moment, Rate, Shape, Version, World, always, answers

__all__ = [
    "Callers",
    "End",
    "Ended",
    "Forecast",
    "Judge",
    "Latency",
    "Means",
    "Moment",
    "NewJudge",
    "OwnJudge",
    "Rate",
    "Recipe",
    "Scenario",
    "Shape",
    "Share",
    "Spread",
    "Version",
    "World",
    "affordable_rollouts",
    "always",
    "answers",
    "forecast",
    "run",
    "simulate",
]
