"""What the demo says at its end."""

from grayscale.demo.acts import Ending
from grayscale.demo.summary import Summary
from grayscale.release.phases import State


def ending(version: str, outcome: State, *, as_it_must: bool = True) -> Ending:
    """A release that ended like this."""
    return Ending(version, outcome, 41.26, (10.0, 25.0), "because", as_it_must=as_it_must)


def summary(*endings: Ending) -> Summary:
    """A demo with these endings."""
    return Summary(endings, 4200, 3, {"v2-good": 100.0}, 33.2, 101.7)


def test_json_has_the_shape_of_the_contract() -> None:
    """Programs read releases, requests and the split; nothing more and nothing less."""
    both = summary(ending("v2-good", State.PROMOTED), ending("v3-bad", State.ROLLED_BACK))
    assert both.to_json() == {
        "releases": [
            {"version": "v2-good", "outcome": "promoted", "seconds": 41.3,
             "steps": [10.0, 25.0], "reason": "because"},
            {"version": "v3-bad", "outcome": "rolled_back", "seconds": 41.3,
             "steps": [10.0, 25.0], "reason": "because"},
        ],
        "requests": {"total": 4200, "failed": 3},
        "split_after": {"v2-good": 100.0},
    }  # fmt: skip


def test_one_wrong_end_is_enough() -> None:
    """The demo is a success only if both releases ended as they must."""
    good = ending("v2-good", State.PROMOTED)
    assert summary(good, good).as_it_must
    assert not summary(good, ending("v3-bad", State.PROMOTED, as_it_must=False)).as_it_must


def test_lines_tell_it_to_people() -> None:
    """People read who ended how and why, what callers got, and where the traffic is."""
    lines = summary(ending("v3-bad", State.PROMOTED, as_it_must=False)).lines()
    assert lines[0] == "✖ v3-bad: promoted after 41 s (10 % → 25 %): because"
    assert lines[1:] == [
        "  4,200 requests, 3 failed for the callers",
        "  traffic now: v2-good 100 %",
        "  first split after 33 s, all in 1 m 42 s",
    ]
