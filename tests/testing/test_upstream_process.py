"""The test upstream as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

COMMAND = [sys.executable, "-m", "grayscale.testing.upstreams"]
# The child imports what this process imports, installed or not.
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["port"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_then_stops_on_a_signal(number: signal.Signals) -> None:
    """It says its port when it is ready, and a signal ends it at once even with a call open."""
    with running("--behaviour", '{"models": {"slow": {"fault": "hang"}}}') as (process, port):
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        with httpx.Client(timeout=10, trust_env=False) as client:
            answer = client.post(url, json={"model": "m", "messages": []})
            assert answer.status_code == 200
            with pytest.raises(httpx.ReadTimeout):
                client.post(url, json={"model": "slow", "messages": []}, timeout=0.3)
            process.send_signal(number)
            assert process.wait(timeout=20) == 0


def test_bad_behaviour_is_a_usage_error() -> None:
    """A behaviour that makes no sense ends with exit code 2 and the reason."""
    ended = subprocess.run(
        [*COMMAND, "--behaviour", '{"error_rate": 20}'],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=ENVIRONMENT,
    )
    assert ended.returncode == 2
    assert "less than or equal to 1" in ended.stderr
