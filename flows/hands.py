"""What the conductor's loop works with: the tasks, and what Prefect shows of them.

The loop itself knows nothing of Prefect; tests of survival give it other hands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from prefect.client.schemas.objects import State

from flows.endings import refused
from grayscale.control import Claim
from grayscale.release.record import ReleaseRecord
from tasks import artifacts, asking, releases, runs, sleep, soak, traffic

_Deed = Callable[..., Awaitable[ReleaseRecord]]
_Showing = Callable[..., Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Hands:
    """One name per thing that a conductor does; the defaults do it in a Prefect flow run."""

    run_id: Callable[[], str] = runs.this_run_id
    claim: Callable[..., Awaitable[Claim]] = releases.claim_release
    create_version: _Deed = releases.create_version
    set_split: _Deed = traffic.set_split
    verify_split: _Deed = traffic.verify_split
    soak: _Deed = soak.soak
    sleep: _Deed = sleep.sleep
    extend: _Deed = releases.extend_soak
    ask: _Deed = releases.ask_for_approval
    wait_for_person: _Deed = asking.wait_for_person
    bake: _Deed = releases.begin_bake
    promote: _Deed = releases.promote
    give_up: _Deed = releases.give_up
    refused: Callable[..., Awaitable[State[Any]]] = refused
    join: _Showing = runs.join_release
    close_older_runs: _Showing = runs.close_older_runs
    name_run: _Showing = runs.name_run
    show_split: _Showing = artifacts.show_split
    show_verdict: _Showing = artifacts.show_verdict


IN_PREFECT = Hands()
