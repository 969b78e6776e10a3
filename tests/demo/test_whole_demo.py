"""`grayscale demo` itself, in its own process, with a real Prefect."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"


def start(folder: Path) -> "subprocess.Popen[str]":
    """A demo whose temporary files, and those of its children, are in `folder`."""
    ours = {"TMPDIR": str(folder), "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(
        [sys.executable, "-m", "grayscale.cli.main", "demo", "--json"],
        env=os.environ | ours,
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_behind(folder: Path) -> list[int]:
    """The processes that still run with their temporary files in `folder`."""
    marker = f"TMPDIR={folder}".encode()
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker in environ.read_bytes():
                found.append(int(environ.parent.name))
        except OSError:
            continue  # it has just ended, or is somebody else's
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for temporary files."""
    made = tmp_path / "tmp"
    made.mkdir()
    return made


@pytest.mark.timeout(330)
def test_a_good_release_goes_out_and_a_bad_one_comes_back(folder: Path) -> None:
    """Real relay, Prefect and upstreams: promoted, rolled back, nothing failed or left behind."""
    demo = start(folder)
    out, err = demo.communicate(timeout=320)
    assert demo.returncode == 0, err
    told = json.loads(out.splitlines()[-1])
    good, bad = told["releases"]
    assert (good["version"], good["outcome"]) == ("v2-good", "promoted")
    assert good["steps"] == [10, 25, 50, 100]
    assert (bad["version"], bad["outcome"]) == ("v3-bad", "rolled_back")
    assert "failed" in bad["reason"]
    assert told["split_after"] == {"v2-good": 100}
    assert told["requests"]["total"] > 2000
    assert told["requests"]["failed"] <= told["requests"]["total"] / 1000
    assert left_behind(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_ctrl_c_ends_everything_soon(folder: Path) -> None:
    """A Ctrl-C while Prefect starts leaves neither processes nor files, and exits with 130."""
    demo = start(folder)
    assert demo.stderr is not None
    assert "the relay serves" in demo.stderr.readline()
    assert len(left_behind(folder)) >= 4
    demo.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, err = demo.communicate(timeout=60)
    assert time.monotonic() - began < 15  # 7.5 for the graces, the rest for a busy machine
    assert (demo.returncode, out) == (130, "")
    assert "everything it started has ended" in err
    assert left_behind(folder) == []
    assert list(folder.iterdir()) == []
