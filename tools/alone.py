"""The data plane alone, whole: `python -m tools.alone`.

A relay of two workers serves 5,000 requests over 20 s while its store is gone (no Prefect is
running either): none may fail, and 30 s after the last beat stable alone may serve.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.conftest import BEHAVIOUR
from tests.e2e.faults import Callers, callers, ready_state, relay_of_two, remove_store
from tests.e2e.processes import Relay, eventually, provider
from tests.e2e.shapes import make_candidate

REQUESTS = 5_000
SECONDS = 20.0
UNWATCHED_AFTER_SECONDS = 30.0


def main() -> int:
    """Run it once; the exit code says whether everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, provider(BEHAVIOUR, {}) as upstream:
        with relay_of_two(Path(folder), upstream) as relay:
            make_candidate(relay, percent=50)
            with callers(relay, per_second=1.5 * REQUESTS / SECONDS, threads=12) as calling:
                failures = serve_without_store(relay, calling)
        failures += [f"the store was made again: {p}" for p in Path(folder).rglob("grayscale.db*")]
    for failure in failures:
        sys.stderr.write(f"{failure}\n")
    return 1 if failures else 0


def serve_without_store(relay: Relay, calling: Callers) -> list[str]:
    """Take the store away under traffic; what did not hold."""
    eventually(lambda: len(calling.answers) > 100, seconds=10)
    remove_store(relay)
    lost_at = time.monotonic()
    noticed = eventually(lambda: "store" in ready_state(relay)["reasons"], seconds=1)
    noticed_after = time.monotonic() - lost_at
    eventually(lambda: time.monotonic() - lost_at >= SECONDS, seconds=SECONDS + 1)
    while_lost = calling.versions_of(lost_at)
    unwatched_at = lost_at + UNWATCHED_AFTER_SECONDS
    eventually(lambda: len(calling.versions_of(unwatched_at)) > 500, seconds=30)
    afterwards = calling.versions_after(unwatched_at)
    sys.stdout.write(
        f"alone: {len(while_lost)} requests in {SECONDS:g} s without a store, "
        f"{len(calling.failed())} failed, noticed after {noticed_after:.2f} s, "
        f"served by {sorted(set(while_lost))}, after {UNWATCHED_AFTER_SECONDS:g} s by "
        f"{sorted(afterwards)}\n"
    )
    held = {
        f"only {len(while_lost)} of {REQUESTS} requests were made": len(while_lost) >= REQUESTS,
        f"failed: {calling.failed()[:3]}": not calling.failed(),
        "the loss was not noticed within a second": noticed,
        f"served by {afterwards} without a watch": afterwards == {"v1"},
        "the candidate was never served at all": len(set(while_lost)) == 2,
    }
    return [what for what, true in held.items() if not true]


if __name__ == "__main__":
    sys.exit(main())
