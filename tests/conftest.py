"""What every test gets."""

import os
from collections.abc import Iterator

import hypothesis
import pytest
from blockbuster import BlockBuster

MEASURE_SUBPROCESSES = "COVERAGE_PROCESS_CONFIG"
# Calls on files are short, and made at start-up; anything else that blocks the loop is a mistake.
MAY_BLOCK = ("os.", "io.")
_coverage_config = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep coverage out of other programs' processes, and hypothesis away from the clock.

    Prefect's servers take twice the CPU time under coverage, which has nothing to measure in them.
    """
    config.stash[_coverage_config] = os.environ.pop(MEASURE_SUBPROCESSES, "")
    hypothesis.settings.register_profile("house", deadline=None)
    hypothesis.settings.load_profile("house")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run on the stock event loop; tests of the server start their own process."""
    return "asyncio", {"use_uvloop": False}


@pytest.fixture(scope="session")
def measured_environment(pytestconfig: pytest.Config) -> dict[str, str]:
    """What to add to the environment of a process of ours, so that `make test` measures it too."""
    value = pytestconfig.stash[_coverage_config]
    return {MEASURE_SUBPROCESSES: value} if value else {}


@pytest.fixture(scope="session", autouse=True)
def _nothing_blocks_the_event_loop() -> Iterator[None]:
    """Code of ours that sleeps, or waits for a socket, a lock or SQLite, inside the loop raises."""
    functions = [
        f for n, f in BlockBuster("grayscale").functions.items() if not n.startswith(MAY_BLOCK)
    ]
    for function in functions:
        function.activate()
    yield
    for function in functions:
        function.deactivate()
