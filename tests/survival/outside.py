"""The survival runner in a process of its own: SQLite blocks its loop there, and nobody minds."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def survival(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m tests.survival ARGUMENTS…`."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.survival", *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": "src:.", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
