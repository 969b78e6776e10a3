"""Many stories side by side: each job is a process of its own, and reports what went wrong."""

import gc
import logging
import multiprocessing
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
_COLLECT_EVERY = 25


def failures(
    work: Sequence[T], problems_of: Callable[[T], list[str]], *, jobs: int
) -> list[tuple[T, list[str]]]:
    """What each piece of work that failed had to say."""
    quietly()
    if jobs == 1:
        return _share(work, problems_of)
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        shares = [
            pool.apply_async(_share, (work[first::jobs], problems_of)) for first in range(jobs)
        ]
        return [failure for share in shares for failure in share.get()]


def quietly() -> None:
    """No log lines of the code under test, and no garbage collector but between stories."""
    logging.disable(logging.CRITICAL)
    gc.disable()
    _tidy_up()


def _tidy_up() -> None:
    """What is left by now (modules, compiled statements) stays: nobody looks at it again."""
    gc.collect()
    gc.freeze()


def _share(work: Sequence[T], problems_of: Callable[[T], list[str]]) -> list[tuple[T, list[str]]]:
    found = []
    for number, piece in enumerate(work):
        problems = _checked(piece, problems_of)
        if problems:
            found.append((piece, problems))
        if number % _COLLECT_EVERY == 0:
            _tidy_up()
    return found


def _checked(piece: T, problems_of: Callable[[T], list[str]]) -> list[str]:
    try:
        return problems_of(piece)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is this story's failure
        return [f"{type(error).__name__}: {error}"]
