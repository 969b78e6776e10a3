"""`grayscale up` as a newcomer meets it: real relay, real Prefect, from somebody else's folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from grayscale.up.children import descendants

SRC = Path(__file__).resolve().parents[2] / "src"
T = TypeVar("T")
ENDS_SECONDS = 15.0  # 7.5 for the graces, the rest for a busy machine
PLAN: dict[str, Any] = {
    "version_name": "v2",
    "config_overrides": {"parameters": {"temperature": 0.2}},
    "auto_promote": {"promotion_steps": [50, 100], "step_duration_seconds": 2},
    "approval": {"before_steps": [100]},
    "bake": {"duration_seconds": 1},
    "judge": {"interval_seconds": 1},
    "health_check": {"enabled": False},  # the judge needs more callers than this one
}


class Up:
    """A running `grayscale up`."""

    def __init__(self, folder: Path, data_dir: Path) -> None:
        code = "from grayscale.cli.main import main; main()"
        options = ["--data-dir", str(data_dir), "--listen", "127.0.0.1:0", "--prefect-port", "0"]
        environ = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
        environ["PYTHONPATH"] = os.pathsep.join([str(SRC), os.environ.get("PYTHONPATH", "")])
        self.log = folder / f"up-{time.monotonic_ns()}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, "up", *options],
                cwd=folder,
                env=environ,
                stdout=output,
                stderr=output,
            )

    def said(self) -> str:
        """All that it printed so far."""
        return self.log.read_text()

    def until_says(self, pattern: str, *, seconds: float = 100) -> re.Match[str]:
        """Wait for a line."""

        def look() -> re.Match[str] | None:
            assert self.process.poll() is None, self.said()
            return re.search(pattern, self.said())

        return until(look, seconds=seconds)

    def interrupt(self) -> float:
        """Ctrl-C; the seconds until it had ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0, self.said()
        return time.monotonic() - began

    def kill(self) -> None:
        """Make sure that nothing is left, whatever the test found."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)


def until(look: Callable[[], T | None], *, seconds: float = 60) -> T:
    """What `look` finds, when it finds something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found is not None:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {look}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds somebody else's `flows`."""
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").write_text("raise SystemExit('somebody else\\'s flows')")
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[[], Up]]:
    """Starts `up`, always over the same data."""
    started: list[Up] = []

    def start_it() -> Up:
        started.append(Up(folder, folder / "data"))
        return started[-1]

    yield start_it
    for up in started:
        up.kill()


def client_of(up: Up, folder: Path) -> httpx.Client:
    """An operator's client, from what the page says."""
    url = up.until_says(r"export GRAYSCALE_URL=(\S+)").group(1)
    key = (folder / "data" / "admin.key").read_text().strip()
    return httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False
    )


def chat(relay: httpx.Client) -> None:
    """One caller's request."""
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}]}
    assert relay.post("/chat/completions", json=body).status_code == 200


@pytest.mark.timeout(300)
def test_up_from_first_start_to_second(start: Callable[[], Up], folder: Path) -> None:
    """One command serves, conducts a release with an approval, ends clean, and goes on later."""
    up = start()
    with client_of(up, folder) as relay:
        names = {model["id"] for model in relay.get("/models").json()["data"]}
        assert {"gpt-4.1", "claude-sonnet-4.5", "gemini-2.5-flash", "deepseek-v3.2"} <= names
        second = start()
        assert second.process.wait(60) == 2
        assert f"process {up.process.pid}" in second.said()
        prefect_url = up.until_says(r"Prefect is ready at (\S+)").group(1)
        with httpx.Client(base_url=f"{prefect_url}/api", timeout=30, trust_env=False) as prefect:
            assert_nightly_is_planned(prefect)
            release_through_prefect(prefect, relay)
    below = descendants(up.process.pid)
    assert len(below) >= 4
    assert up.interrupt() < ENDS_SECONDS
    assert [pid for pid in below if Path(f"/proc/{pid}").exists()] == []
    again = start()
    with client_of(again, folder) as relay:
        assert relay.get("/admin/releases/v2").json()["state"] == "promoted"
    assert "Admin key" not in again.said()
    assert again.interrupt() < ENDS_SECONDS


def assert_nightly_is_planned(prefect: httpx.Client) -> None:
    """The nightly schedule shows its next runs."""

    def planned() -> list[Any] | None:
        wanted = {"deployments": {"name": {"any_": ["nightly"]}}}
        return prefect.post("/flow_runs/filter", json=wanted).json() or None

    assert until(planned)[0]["state_type"] == "SCHEDULED"


def release_through_prefect(prefect: httpx.Client, relay: httpx.Client) -> None:
    """Begin a release through Prefect's API, approve it through the form, see it promoted."""
    deployment = prefect.get("/deployments/name/release/on-demand").json()["id"]
    created = prefect.post(
        f"/deployments/{deployment}/create_flow_run", json={"parameters": {"plan": PLAN}}
    ).json()

    def suspended() -> bool | None:
        chat(relay)
        return (
            prefect.get(f"/flow_runs/{created['id']}").json()["state_name"] == "Suspended" or None
        )

    def accepted() -> bool | None:
        form = {"run_input": {"approve": True, "approved_by": "Kim", "note": "fine"}}
        answer = prefect.post(f"/flow_runs/{created['id']}/resume", json=form).json()
        return answer["status"] == "ACCEPT" or None

    def over() -> dict[str, Any] | None:
        chat(relay)
        run: dict[str, Any] = prefect.get(f"/flow_runs/{created['id']}").json()
        return run if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED"} else None

    until(suspended, seconds=90)
    until(accepted)
    run = until(over, seconds=90)
    assert (run["state_name"], run["name"]) == ("Completed", "v2 · promoted"), run["state"]
    approval = relay.get("/admin/releases/v2").json()["steps"][1]["approval"]
    assert (approval["decided_by"], approval["verified"]) == ("Kim", False)
