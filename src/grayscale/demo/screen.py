"""The demo on the screen: a live picture at a terminal, lines elsewhere; all of it on stderr."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from grayscale.cli.output import percent
from grayscale.cli.release_view import colour_of, sentence_of, status_of, step_of
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord, VerdictView

_BAR_WIDTH = 32
_LATEST_SHOWN = 10
_LINE_EVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version's weight as it is set, its share as callers see it, and its failures upstream."""

    name: str
    aliases: tuple[str, ...]
    set_percent: float
    seen_percent: float
    error_percent: float


@dataclass(frozen=True, slots=True)
class View:
    """All that is on the screen at one moment."""

    elapsed_seconds: float
    relay_url: str
    prefect_url: str
    title: str = "Starting"
    record: ReleaseRecord | None = None
    versions: tuple[VersionRow, ...] = ()
    requests_total: int = 0
    requests_failed: int = 0

    @property
    def clock(self) -> str:
        """`1:07`: minutes and seconds since the demo began."""
        whole = int(self.elapsed_seconds)
        return f"{whole // 60}:{whole % 60:02d}"

    @property
    def callers(self) -> str:
        """What the callers have got so far."""
        return f"{self.requests_total:,} requests, {self.requests_failed:,} failed for the callers"


class Screen(Protocol):
    """Where the demo is shown."""

    def show(self, view: View) -> None:
        """Show how things stand."""
        ...

    def say(self, view: View, text: str) -> None:
        """Tell what has just happened."""
        ...


class LiveScreen:
    """A picture that is redrawn in place, over the latest happenings."""

    def __init__(self, live: Live) -> None:
        self._happened: deque[str] = deque(maxlen=_LATEST_SHOWN)
        self._live = live

    def show(self, view: View) -> None:
        """Redraw."""
        self._live.update(picture(view, list(self._happened)))

    def say(self, view: View, text: str) -> None:
        """Add to the latest happenings."""
        self._happened.append(f"{view.clock:>5}  {text}")
        self.show(view)


class LineScreen:
    """What happens, a line each, and every ten seconds how things stand."""

    def __init__(self) -> None:
        self._last_seconds = 0.0

    def show(self, view: View) -> None:
        """Print a line if the last one is old."""
        if view.elapsed_seconds - self._last_seconds >= _LINE_EVERY_SECONDS:
            weights = ", ".join(f"{row.name} {percent(row.set_percent)}" for row in view.versions)
            self.say(view, f"{view.callers}; {weights}")

    def say(self, view: View, text: str) -> None:
        """Print a line."""
        self._last_seconds = view.elapsed_seconds
        sys.stderr.write(f"{view.clock:>5}  {text}\n")
        sys.stderr.flush()


@contextmanager
def screen() -> Iterator[Screen]:
    """The screen that fits where stderr goes."""
    if not sys.stderr.isatty():
        yield LineScreen()
        return
    with Live(console=Console(stderr=True), refresh_per_second=4) as live:
        yield LiveScreen(live)


def picture(view: View, happened: list[str]) -> RenderableType:
    """The whole screen."""
    head = Text.from_markup(f"[bold]Grayscale demo[/]  {view.clock}   {view.callers}")
    where = Text(f"relay {view.relay_url}   Prefect {view.prefect_url}", style="dim")
    parts: list[RenderableType] = [head, where, Text(), _act(view)]
    if view.versions:
        parts.append(_versions(view))
    return Group(*parts, Text(), *(Text(line) for line in happened))


def happening(before: ReleaseRecord | None, after: ReleaseRecord) -> str | None:
    """What has changed from one look to the next, in a sentence; None if nothing to speak of."""
    if before is None:
        return f"{after.version} is created as {after.id}"
    news = after.reason if after.reason and after.reason != before.reason else ""
    because = f": {news}" if news else ""
    changed = after.state is not before.state
    if changed and (after.state.final or not after.weight_percent):
        return f"{after.version} is {_words(after.state)}{because}"
    if after.weight_percent != before.weight_percent:
        return f"{after.version} has {percent(after.weight_percent)} of the traffic now"
    if changed:
        return f"{after.version} is {_words(after.state)}{because}"
    verdict, earlier = _verdict(after), _verdict(before)
    if verdict and verdict.outcome not in {"inconclusive", earlier.outcome if earlier else None}:
        return f"{after.version} looks {verdict.outcome}: {verdict.sentence}"
    return None


def _verdict(record: ReleaseRecord) -> VerdictView | None:
    return record.stage.verdict if record.stage else None


def _words(state: State) -> str:
    return state.value.replace("_", " ")


def _act(view: View) -> Text:
    record = view.record
    if record is None:
        return Text(view.title, style="bold")
    steps = "  ".join(
        {"pending": "·", "running": "◌", "done": "✔"}[step.state] + f" {step.step_percent:g} %"
        for step in record.steps
    )
    stage = record.stage
    watched = (
        f"   watched {stage.watched_seconds:.0f} of {stage.required_seconds:.0f} s" if stage else ""
    )
    colour = colour_of(record.state)
    return Text.from_markup(
        f"[bold]{escape(view.title)}: {escape(record.version)}[/]   "
        f"[{colour}]{status_of(record.state)}[/] ({record.state}, {step_of(record)}){watched}\n"
        f"{steps}\n[dim]{escape(_sentence(record))}[/]"
    )


def _sentence(record: ReleaseRecord) -> str:
    if record.state is State.QUEUED:
        return "queued until Prefect, which is starting, sends a conductor"
    return sentence_of(record)


def _versions(view: View) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("version")
    table.add_column("")
    for name in ("set", "seen", "errors"):
        table.add_column(name, justify="right", min_width=7)
    table.add_column("share of the callers' answers")
    for row in view.versions:
        filled = round(row.seen_percent / 100 * _BAR_WIDTH)
        table.add_row(
            row.name,
            Text(" ".join(row.aliases), style="dim"),
            percent(row.set_percent),
            f"{row.seen_percent:.1f} %",
            Text(f"{row.error_percent:.1f} %", style="red" if row.error_percent > 1 else ""),
            Text("█" * filled + "░" * (_BAR_WIDTH - filled)),
        )
    return table
