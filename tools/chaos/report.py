"""What came of it: tables for people, and the last line for machines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tools.chaos.faults import Fault
from tools.chaos.record import Findings
from tools.chaos.recovery import Kill
from tools.chaos.releases import Released
from tools.chaos.traffic import REQUESTS_PER_SECOND, Count

PAGE = Path(__file__).resolve().parents[2] / "docs" / "chaos.md"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that a run found."""

    seed: int
    seconds: float
    kills: Sequence[Kill]
    count: Count
    releases: Sequence[Released]
    findings: Findings

    @property
    def late(self) -> list[Kill]:
        """Kills that were not got over in time."""
        return [one for one in self.kills if not one.in_time]

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        found = self.findings
        wrong = [*found.lost, *found.doubled, *found.wrong_ends, *self.late]
        return not wrong and not self.count.failed_on_stable

    def last_line(self) -> str:
        """The line that programs read."""
        found = self.findings
        return (
            f"chaos: {len(self.kills)} kills, {len(found.lost)} lost, "
            f"{len(found.doubled)} doubled, {len(found.wrong_ends)} wrong ends, "
            f"{self.count.failed_on_stable} failed on stable"
        )


def lines(outcome: Outcome) -> list[str]:
    """Markdown."""
    overlapped = sum(one.overlapped for one in outcome.kills)
    told = (
        f"{len(outcome.kills)} kills in {outcome.seconds / 60:.1f} minutes, seed {outcome.seed}, "
        f"{os.cpu_count()} cores; {overlapped} struck before an earlier one was got over."
    )
    return [
        told,
        "",
        *_faults(outcome.kills),
        "",
        *_traffic(outcome.count),
        "",
        *_ends(outcome.releases),
        *_problems(outcome),
    ]


def _faults(kills: Sequence[Kill]) -> Iterable[str]:
    yield "| `kill -9` of | times tried | outcome | median recovery | worst recovery |"
    yield "|---|---|---|---|---|"
    for fault in Fault:
        tried = [one for one in kills if one.fault is fault]
        if not tried:
            continue
        times = [one.recovery_seconds for one in tried if one.recovery_seconds is not None]
        in_time = sum(one.in_time for one in tried)
        outcome = "recovered" if in_time == len(tried) else f"{in_time} recovered in time"
        middle, worst = (f"{median(times):.1f} s", f"{max(times):.1f} s") if times else ("-", "-")
        yield f"| {fault} | {len(tried)} | {outcome} | {middle} | {worst} |"


def _traffic(count: Count) -> Iterable[str]:
    yield "| callers | requests |"
    yield "|---|---|"
    yield f"| asked, {REQUESTS_PER_SECOND} a second | {count.asked:,} |"
    yield f"| answered whole | {count.answered:,} |"
    yield f"| of these, asked again: their connection died with a killed worker | {count.cut:,} |"
    yield f"| nobody there: everything was dead | {count.nobody_there:,} |"
    yield f"| failed on a candidate that is made to fail | {count.failed_on_candidate:,} |"
    yield f"| failed on stable | {count.failed_on_stable:,} |"
    yield f"| the longest wait for an answer | {count.slowest_seconds:.1f} s |"


def _ends(releases: Sequence[Released]) -> Iterable[str]:
    yield "| releases | begun | ended right | approvals |"
    yield "|---|---|---|---|"
    for kind, told in (
        ("good", "good, to be promoted"),
        ("asks", "good, with an approval"),
        ("bad", "bad, to be rolled back"),
    ):
        these = [one for one in releases if one.version.endswith(f"-{kind}")]
        right = sum(one.right for one in these)
        approvals = sum(one.approvals for one in these)
        yield f"| {told} | {len(these)} | {right} | {approvals} |"


def _problems(outcome: Outcome) -> Iterable[str]:
    found = outcome.findings
    named = {
        "Lost": found.lost,
        "Doubled": found.doubled,
        "Wrong ends": found.wrong_ends,
        "Failed on stable": [f"{n} times {why}" for why, n in outcome.count.failed.most_common()],
        "Late": [f"{one.fault}: {one.recovery_seconds}" for one in outcome.late],
    }
    for title, problems in named.items():
        if problems:
            yield f"\n{title}:\n"
            yield from (f"- {problem}" for problem in problems)


_INTRO = """\
# What survives `kill -9`

    make chaos                     # about ten minutes; `make chaos ARGS="--seed 7 --kills 40"`

Real processes: `grayscale up` with two relay workers and Prefect's own server and worker, two test
providers, callers at a steady pace (one in four is streamed to), and one release after another:
good ones, bad ones, and ones with an approval. Meanwhile parts are killed at random, some while an
earlier kill is not got over yet. Afterwards the event log, the configs, the webhook's far end and
the callers' own count are held against each other.

- **lost**: a release, an event, a change of the split, an approval or a notice that is not there.
- **doubled**: an effect applied twice, or one event under two ids.
- **wrong end**: a release that did not end as it deserves, or traffic anywhere but on stable.
- **failed on stable**: a request that got an error, half an answer or none. Callers ask again when
  their connection is lost, as every SDK does; such a loss is forgiven only while the worker
  that held the connection was killed. A refused connection is forgiven only while everything,
  `grayscale up` included, was dead.

Recovery is the time until what was killed is there again and, where the conductor died, until the
next one conducts the same release. It has to be below 60 s for the flow process and below 3 minutes
for the rest, counted from the last kill that disturbed it.
"""


_LATEST = "## The latest run"


def write(outcome: Outcome, command: str) -> None:
    """Put it into the docs, before what other commands have put there."""
    _, found, sections = PAGE.read_text(encoding="utf-8").partition("\n## ")
    PAGE.write_text(_INTRO + found + sections, encoding="utf-8")
    told = [f"`{command}`", "", *lines(outcome), "", f"    {outcome.last_line()}"]
    put_section(_LATEST, told)


def put_section(title: str, text: Iterable[str], *, page: Path = PAGE) -> None:
    """Write one section of the page anew, or add it; what stands around it stays."""
    before, _, rest = page.read_text(encoding="utf-8").partition(f"{title}\n")
    _, found, after = rest.partition("\n## ")
    section = "\n".join([title, "", *text, ""])
    page.write_text(f"{before.rstrip()}\n\n{section}{found}{after}", encoding="utf-8")
