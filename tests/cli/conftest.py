"""A shell in a test: `cli("get", "rel_1")` in an empty folder, against a relay of the test's own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from grayscale.cli.main import main
from tests.cli.fake_relay import FakeRelay


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it said where."""

    code: int
    out: str
    err: str


Cli = Callable[..., Result]


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRelay]:
    """A relay that answers what the test writes down."""
    with FakeRelay() as server:
        monkeypatch.setenv("GRAYSCALE_URL", server.url)
        monkeypatch.setenv("GRAYSCALE_API_KEY", "gs_test")
        yield server


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Run a command in-process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(args)
        said = capsys.readouterr()
        return Result(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def record() -> dict[str, Any]:
    """A release that soaks at its second step."""
    steps = [
        {"index": 0, "step_percent": 10, "weight_percent": 10, "observed_percent": 9.8,
         "state": "done", "watched_seconds": 900, "required_seconds": 900},
        {"index": 1, "step_percent": 25, "weight_percent": 25, "observed_percent": 24.6,
         "state": "running", "watched_seconds": 95, "required_seconds": 900},
        {"index": 2, "step_percent": 50, "weight_percent": 50, "required_seconds": 900},
        {"index": 3, "step_percent": 100, "weight_percent": 95, "required_seconds": 900},
    ]  # fmt: skip
    return {
        "id": "rel_1", "version": "v2", "state": "soaking", "revision": 7, "seq": 4,
        "plan": {"version_name": "v2", "approval": {"before_steps": [50]}},
        "current_step": 1, "steps": steps, "weight_percent": 25, "config_id": "config-9",
        "workers": {"total": 2, "applied": 2}, "created_at": "2026-01-02T03:04:05.000Z",
        "conductor": {"flow_run_id": "run-1", "fence": 3, "lease_left_seconds": 80},
        "verdict": {"outcome": "inconclusive", "sentence": "12 of 60 requests seen"},
    }  # fmt: skip
