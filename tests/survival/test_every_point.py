"""Every side effect of a release is harmed, before and after; outside this process, two at once."""

import pytest

from tests.survival.outside import survival

ACTS = ("create_version", "set_split", "extend", "ask", "wait", "sleep", "bake", "promote")


@pytest.mark.timeout(900)
def test_a_release_survives_harm_at_every_point() -> None:
    """Killed, frozen or cut off at any of its side effects, it ends as an undisturbed one does."""
    done = survival("--points")
    assert done.returncode == 0, done.stdout + done.stderr
    stories = ("promoted: ", "harmful: ", "asleep: ")
    points = [line for line in done.stdout.splitlines() if line.startswith(stories)]
    assert len(points) >= 28
    for label in (*(f"act {verb}" for verb in ACTS), "create run", "claim", "approve", "look"):
        assert f": {label}\n" in done.stdout


def test_a_difference_is_found() -> None:
    """A fault that never strikes is a problem, not a success."""
    done = survival("--story", "promoted", "--point", "10000")
    assert done.returncode == 1
    assert "the fault never struck" in done.stdout
