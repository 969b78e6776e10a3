"""How soon an abort is in force: `python -m tools.brake`.

A relay of two workers under traffic; releases that soak, wait for a person, bake or are promoted
are aborted, every second one while another process holds the store's write lock. Measured from
when the call is sent: until the ban stands on the brake page, which every request obeys, and until
the last request began that the candidate served.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import cycle, islice
from math import ceil
from pathlib import Path

from tests.e2e.conducting import begun
from tests.e2e.conftest import BEHAVIOUR, quieten
from tests.e2e.faults import Callers, callers, locked, relay_of_two
from tests.e2e.processes import Relay, eventually, provider
from tests.e2e.test_abort_wins import take_away
from tools.chaos.report import put_section

ABORTS = 100
REQUESTS_PER_SECOND = 40
TO_THE_BRAKE_SECONDS = 0.1
EVERYWHERE_SECONDS = 1.0
DOINGS = ("soaking", "waiting", "baking", "promoted")
_TITLE = "## From `abort` to the brake"
_AFTERWARDS_SECONDS = 1.5
_TOLD = f"""\
    make brake                     # about five minutes

Releases of a relay with two workers are aborted by their version's name over HTTP, while callers ask
{REQUESTS_PER_SECOND} times a second; half of the time another process holds the store's write lock. From
when the call is sent: until the ban stands on the brake page, which every request of every worker
obeys, and until the last request began that the candidate served.
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """One abort, and how long after its call what was the case."""

    doing: str
    store: str
    brake_seconds: float
    last_served_seconds: float


def main() -> int:
    """Measure, say it, and put it into the docs if asked to; 1 if a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m tools.brake", description=__doc__)
    parser.add_argument("--aborts", type=int, default=ABORTS)
    parser.add_argument("--write", action="store_true", help="put the result into docs/chaos.md")
    chosen = parser.parse_args()
    cases = [(doing, store) for store in ("writable", "locked") for doing in DOINGS]
    with tempfile.TemporaryDirectory() as folder, provider(BEHAVIOUR, {}) as upstream:
        with (
            relay_of_two(Path(folder), upstream) as relay,
            callers(relay, per_second=REQUESTS_PER_SECOND) as calling,
        ):
            taken = [abort(relay, calling, *case) for case in islice(cycle(cases), chosen.aborts)]
        failed = calling.failed()
    busy = f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.0f}"
    lines = [
        f"{len(taken)} aborts, {busy}.",
        "",
        *table(taken),
        "",
        verdict(taken, len(calling.answers), failed),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if chosen.write:
        put_section(_TITLE, [_TOLD, *lines])
    return 0 if _holds(taken) and not failed else 1


def abort(relay: Relay, calling: Callers, doing: str, store: str) -> Taken:
    """Begin a release, abort it by its version's name, and see who serves afterwards."""
    conductor = begun(relay, doing)
    name = conductor.plan["version_name"]
    eventually(lambda: name in {version for _, _, version in calling.answers[-60:]}, seconds=10)
    with locked(relay) if store == "locked" else nullcontext():
        _, sent_at, pulled = take_away(relay, f"/admin/releases/{name}/abort")
        time.sleep(max(0.0, sent_at + _AFTERWARDS_SECONDS - time.monotonic()))
    eventually(lambda: not conductor.look()["braked"], seconds=20)  # before the next is begun on it
    served = [at - sent_at for at, _, version in calling.answers if version == name]
    quieten(relay)
    relay.hang_up()
    return Taken(doing, store, pulled, max(0.0, max(served, default=0.0)))


def table(taken: Sequence[Taken]) -> list[str]:
    """What was measured, by what the release was doing and whether the store could be written."""
    rows = [
        "| release | store | aborts | brake p50 | brake p99 | candidate's last request, worst |",
        "|---|---|---|---|---|---|",
    ]
    for case in dict.fromkeys((one.doing, one.store) for one in taken):
        these = [one for one in taken if (one.doing, one.store) == case]
        rows.append(f"| {case[0]} | {case[1]} | {_figures(these)} |")
    return [*rows, f"| all | | {_figures(taken)} |"]


def verdict(taken: Sequence[Taken], requests: int, failed: Sequence[str]) -> str:
    """The last line."""
    word = "held" if _holds(taken) else "MISSED"
    return (
        f"The bars, {1000 * TO_THE_BRAKE_SECONDS:g} ms to the brake at p99 and "
        f"{EVERYWHERE_SECONDS:g} s to the last request, were {word}; "
        f"{len(failed)} of {requests:,} requests failed."
    )


def _figures(taken: Sequence[Taken]) -> str:
    brake = [one.brake_seconds for one in taken]
    last = max(one.last_served_seconds for one in taken)
    median, p99 = (f"{1000 * percentile(brake, p):.1f} ms" for p in (50, 99))
    return f"{len(taken)} | {median} | {p99} | {1000 * last:.0f} ms"


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest rank: of 100 values the 99th is the last but one."""
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]


def _holds(taken: Sequence[Taken]) -> bool:
    return (
        percentile([one.brake_seconds for one in taken], 99) <= TO_THE_BRAKE_SECONDS
        and max(one.last_served_seconds for one in taken) <= EVERYWHERE_SECONDS
    )


if __name__ == "__main__":
    sys.exit(main())
