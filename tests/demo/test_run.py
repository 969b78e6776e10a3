"""How the demo ends."""

import asyncio
import json
import os
import signal

import pytest

from grayscale.demo.acts import Ending
from grayscale.demo.run import interruptible, tell
from grayscale.demo.summary import Summary
from grayscale.release.phases import State


async def test_work_that_is_not_interrupted_gives_its_result() -> None:
    """Without a signal nothing is special."""

    async def work() -> int:
        return 7

    assert await interruptible(work()) == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_lets_the_work_clean_up_once(number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM cancel the work; a second one does not cut its clean-up short."""
    cleaned = []

    async def work() -> bool:
        try:
            os.kill(os.getpid(), number)
            return await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.01)
            cleaned.append("all")

    assert await interruptible(work()) is None
    assert cleaned == ["all"]


async def test_errors_of_the_work_are_not_swallowed() -> None:
    """What fails inside is raised outside."""

    async def work() -> int:
        raise ValueError("no port")

    with pytest.raises(ValueError, match="no port"):
        await interruptible(work())


def test_json_is_the_only_line_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary for people goes to stderr, the one for programs to stdout."""
    ending = Ending("v2-good", State.PROMOTED, 1.0, (10.0,), "green", as_it_must=True)
    summary = Summary((ending,), 10, 0, {"v2-good": 100.0}, 1.0, 2.0)
    tell(summary, as_json=True)
    said = capsys.readouterr()
    assert json.loads(said.out) == summary.to_json()
    assert "promoted" in said.err
    tell(summary, as_json=False)
    assert capsys.readouterr().out == ""
