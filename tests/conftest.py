"""What every test gets."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from blockbuster import BlockBuster
from coverage import Coverage
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

HERE = Path(__file__).parent
# What takes longest is begun first: else one process still runs it when the other has ended.
LONGEST_FIRST = (
    "e2e",
    "flows",
    "demo/test_whole_demo.py",
    "up/test_up_end_to_end.py",
    "judge",
    "plane",
    "relay",
    "cli",
    "seed",
)
SHARED = ("tests/flows/", "tests/e2e/", "tests/seed/")
"""Where tests share servers, which are started once if one process runs all of them."""
MEASURE_SUBPROCESSES = "COVERAGE_PROCESS_CONFIG"
# Calls on files are short, and made at start-up; anything else that blocks the loop is a mistake.
MAY_BLOCK = ("os.", "io.")
_coverage_config = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep coverage out of other programs' processes, and hypothesis away from the clock.

    Prefect's servers take twice the CPU time under coverage, which has nothing to measure in them.
    """
    if config.getoption("dist", "no") == "no":  # else the processes that run the tests need it
        config.stash[_coverage_config] = os.environ.pop(MEASURE_SUBPROCESSES, "")
    hypothesis.settings.register_profile("house", deadline=None)
    hypothesis.settings.load_profile("house")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the files for the processes that share them; each must know the tests by one name."""
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(
                f"an address is part of a test's name, give it ids: {item.nodeid}"
            )
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)


class ByWhatIsShared(LoadScopeScheduling):  # type: ignore[misc]  # it is not typed
    """Gives each process whole files, or whole folders where tests share servers."""

    def _split_scope(self, nodeid: str) -> str:
        shared = (folder for folder in SHARED if nodeid.startswith(folder))
        return next(shared, nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByWhatIsShared:
    """How tests are given to the processes that share them."""
    return ByWhatIsShared(config, log)


def _turn(item: pytest.Item) -> int:
    path = item.path.relative_to(HERE)
    turns = (turn for turn, start in enumerate(LONGEST_FIRST) if path.is_relative_to(start))
    return next(turns, len(LONGEST_FIRST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Measure nothing of what files run that are left out of the coverage themselves."""
    coverage = Coverage.current()
    if coverage is None or not _left_out(item.path, coverage):
        return (yield)
    coverage.stop()
    try:
        return (yield)
    finally:
        coverage.start()  # which also asks for subprocesses to be measured, again
        if _coverage_config in item.config.stash:
            os.environ.pop(MEASURE_SUBPROCESSES, None)


def _left_out(path: Path, coverage: Coverage) -> bool:
    patterns = coverage.get_option("run:omit")
    return isinstance(patterns, list) and any(path.match(pattern) for pattern in patterns)


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
