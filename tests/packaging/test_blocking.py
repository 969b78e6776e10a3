"""Code of ours that blocks the event loop is found by any test that runs it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from blockbuster import BlockingError

import grayscale

CODE = "import time\ndef nap():\n    time.sleep(0)\n    return 'awake'\n"


def napping_in(path: Path) -> Callable[[], str]:
    """A function that sleeps, as if it stood in this file."""
    namespace: dict[str, Callable[[], str]] = {}
    exec(compile(CODE, str(path), "exec"), namespace)
    return namespace["nap"]


async def test_blocking_code_of_ours_is_found() -> None:
    """A sleep in a file of the package raises inside the event loop."""
    nap = napping_in(Path(grayscale.__file__).parent / "drowsy.py")
    with pytest.raises(BlockingError):
        nap()


async def test_code_of_others_may_block(tmp_path: Path) -> None:
    """What tests and packages do is their own affair."""
    assert napping_in(tmp_path / "drowsy.py")() == "awake"


def test_outside_a_loop_our_code_may_block() -> None:
    """The command line may wait."""
    assert napping_in(Path(grayscale.__file__).parent / "drowsy.py")() == "awake"
