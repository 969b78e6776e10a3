"""Every side effect of a release is harmed, before and after; outside this process, two at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.survival import every_point
from tests.survival.every_point import Case
from tests.survival.processes import Edge, Fault, Harm

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)
def test_a_release_survives_harm_at_every_point() -> None:
    """Killed, frozen or cut off at any side effect, it ends as an undisturbed one does."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.survival", "--points"],
        cwd=ROOT,
        env={"PYTHONPATH": "src:.", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_points_are_at_least_28() -> None:
    """The undisturbed promotion has all the side effects that a release can have."""
    labels = every_point.undisturbed("promoted").effects
    assert len(every_point.points("promoted")) >= 28
    acts = {"create_version", "set_split", "extend", "ask", "wait", "bake", "promote"}
    assert {f"act {verb}" for verb in acts} <= set(labels)
    assert {"create run", "claim", "renew", "events", "approve", "look"} <= set(labels)
    assert every_point.undisturbed("promoted").state == "promoted"
    assert every_point.undisturbed("harmful").state == "rolled_back"


def test_a_difference_is_found() -> None:
    """A fault that never comes, or an end that is another one, is a problem."""
    assert "the fault never struck" in every_point.problems_of(
        Case("promoted", Fault(10_000, Edge.BEFORE, Harm.KILL))
    )[0]  # fmt: skip
