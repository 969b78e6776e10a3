"""The demo's screen."""

import io
from typing import Any

import pytest
from rich.console import Console

from grayscale.demo.screen import LineScreen, VersionRow, View, happening, picture
from grayscale.release.record import ReleaseRecord


def record(state: str, *, verdict: dict[str, Any] | None = None, **more: Any) -> ReleaseRecord:
    """A release at its first step."""
    step = {"index": 0, "step_percent": 10, "weight_percent": 10, "state": "running",
            "watched_seconds": 3, "required_seconds": 8, "verdict": verdict}  # fmt: skip
    return ReleaseRecord.model_validate(
        {"id": "rel_1", "version": "v2", "state": state, "revision": 1, "seq": 1, "steps": [step],
         "current_step": 0, "plan": {"version_name": "v2"}, "created_at": "t", **more}
    )  # fmt: skip


UNSURE = {"outcome": "inconclusive", "sentence": "9 of 40 requests seen"}
HEALTHY = {"outcome": "healthy", "sentence": "0 of 41 failed"}


def view(seconds: float, **more: Any) -> View:
    """A view so long after the start."""
    return View(seconds, "http://relay", "http://prefect", **more)


def test_the_picture_has_everything_on_it() -> None:
    """Clock, callers, release, step, watched seconds, and each version's set and seen weight."""
    row = VersionRow("v2", ("beta",), set_percent=10, seen_percent=9.4, error_percent=20)
    now = view(67, title="A bad release", record=record("soaking", weight_percent=10),
               versions=(row,), requests_total=1234, requests_failed=2)  # fmt: skip
    console = Console(file=io.StringIO(), width=120)
    console.print(picture(now, ["0:12  it began"]))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for expected in (
        "1:07", "1,234 requests, 2 failed", "A bad release: v2", "◌ 10 %", "watched 3 of 8 s",
        "9.4 %", "20.0 %", "███░", "0:12  it began",
    ):  # fmt: skip
        assert expected in shown


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (record("soaking"), record("soaking"), None),
        (record("soaking"), record("soaking", weight_percent=10), "v2 has 10 % of the traffic now"),
        (record("baking"), record("promoted", weight_percent=100), "v2 is promoted"),
        (record("soaking", weight_percent=10), record("held", weight_percent=10, reason="upstream"),
         "v2 is held: upstream"),
        (record("soaking"), record("soaking", verdict=UNSURE), None),
        (record("soaking", verdict=UNSURE), record("soaking", verdict=HEALTHY),
         "v2 looks healthy: 0 of 41 failed"),
        (record("soaking", verdict=HEALTHY), record("soaking", verdict=HEALTHY), None),
        (record("rolling_back", reason="slow"), record("rolled_back", reason="slow"),
         "v2 is rolled back"),
        (record("soaking", weight_percent=10), record("rolling_back"), "v2 is rolling back"),
    ],
)  # fmt: skip
def test_happenings(before: ReleaseRecord, after: ReleaseRecord, told: str | None) -> None:
    """A change of weight or state is told once; a tick of the soak clock is not."""
    assert happening(before, after) == told


def test_a_pipe_gets_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal the demo still shows that it lives, on stderr alone."""
    screen = LineScreen()
    for seconds in (1, 5, 11, 15, 21):
        screen.show(view(seconds))
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.err.splitlines()] == ["0:11", "0:21"]
    assert said.out == ""
