"""Coverage measures our own processes, and only them."""

import os
import subprocess
import sys

CODE = "import sys; print('coverage' in sys.modules)"


def is_measured(environment: dict[str, str]) -> bool:
    """Whether a process with this environment runs under coverage."""
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


def test_other_programs_are_not_measured() -> None:
    """A process that a test starts as it is runs at full speed."""
    assert not is_measured(dict(os.environ))


def test_our_processes_are_measured_on_request(measured_environment: dict[str, str]) -> None:
    """With `measured_environment` a process is measured whenever the tests themselves are."""
    assert is_measured({**os.environ, **measured_environment}) == bool(measured_environment)
