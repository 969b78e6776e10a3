"""Following a release: a live tree at a terminal, a line per change in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import anyio
from rich.console import Console
from rich.live import Live

from grayscale.cli.output import put, say
from grayscale.cli.release_view import line, tree
from grayscale.control import Control
from grayscale.errors import ControlUnreachable
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 30
_PIPE_WIDTH = 1000
_FOR_A_PERSON = frozenset({State.AWAITING_APPROVAL, State.PAUSED})


class Screen(Protocol):
    """Where a followed release is shown."""

    def show(self, record: ReleaseRecord) -> None:
        """Show how it stands now."""
        ...


@dataclass(frozen=True, slots=True)
class LiveScreen:
    """A tree that is redrawn in place."""

    live: Live

    def show(self, record: ReleaseRecord) -> None:
        """Redraw."""
        self.live.update(tree(record), refresh=True)


class LineScreen:
    """One line per change: text, or the whole record as JSON."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._last: tuple[object, ...] = ()

    def show(self, record: ReleaseRecord) -> None:
        """Print a line if something other than the watched seconds has changed."""
        stage = record.stage
        verdict = stage.verdict if stage else record.verdict
        now = (
            record.state,
            record.reason,
            record.weight_percent,
            record.braked,
            stage and (stage.index, stage.extensions),
            verdict and verdict.outcome,
        )
        if now != self._last:
            self._last = now
            put(json.dumps(record.model_dump(mode="json")) if self._as_json else line(record))


@contextmanager
def screen(*, as_json: bool) -> Iterator[Screen]:
    """The screen that fits where stdout goes."""
    if as_json or not sys.stdout.isatty():
        yield LineScreen(as_json=as_json)
        return
    with Live(console=Console(), auto_refresh=False) as live:
        yield LiveScreen(live)


def show(record: ReleaseRecord) -> None:
    """Print the tree once; a pipe gets it without colours and without line breaks."""
    console = Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH, no_color=True)
    console.print(tree(record))


async def follow(
    control: Control,
    release_id: str,
    on: Screen,
    *,
    poll_seconds: float = _POLL_SECONDS,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> ReleaseRecord:
    """Show a release until it is over; a relay that is away for a while is waited for."""
    while True:
        record = await _patiently(
            lambda: control.release(release_id), poll_seconds, patience_seconds
        )
        on.show(record)
        if record.state.final:
            return record
        await anyio.sleep(poll_seconds)


async def wait_for_person(
    control: Control,
    record: ReleaseRecord,
    *,
    timeout_seconds: float | None = None,
    poll_seconds: float = _POLL_SECONDS,
) -> ReleaseRecord:
    """The record once it is final or waits for a person; as it is when time is up."""
    with anyio.move_on_after(timeout_seconds):
        while not (record.state.final or waits_for_person(record)):
            if record.state in _FOR_A_PERSON:  # decided already, but nobody has gone on with it
                await anyio.sleep(poll_seconds)
            record = await control.wait(
                record.id, until="person", timeout_seconds=_LONGEST_WAIT_SECONDS
            )
    return record


def waits_for_person(record: ReleaseRecord) -> bool:
    """Whether nothing goes on before somebody says so."""
    return record.state in _FOR_A_PERSON and not decided(record)


def decided(record: ReleaseRecord) -> bool:
    """Whether a gate has been answered, and a conductor is about to go on."""
    gate = record.gate if record.state is State.AWAITING_APPROVAL else None
    return gate is not None and gate.state != "waiting"


async def _patiently(
    look: Callable[[], Awaitable[ReleaseRecord]], poll_seconds: float, patience_seconds: float
) -> ReleaseRecord:
    started = anyio.current_time()
    while True:
        try:
            return await look()
        except ControlUnreachable as error:
            away = anyio.current_time() - started
            if away >= patience_seconds:
                raise
            say(f"no answer for {away:.0f} s, looking again: {error}")
            await anyio.sleep(poll_seconds)
