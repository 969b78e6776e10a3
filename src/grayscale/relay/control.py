"""What a worker needs of the control plane, as one small seam; the store stands behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from starlette.types import ASGIApp

from grayscale.relay.breaker import Trip
from grayscale.relay.runtime import Runtime
from grayscale.settings import Settings
from grayscale.traffic.counters import Cells
from grayscale.traffic.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Beat:
    """What a flush tells back.

    `config_seq` is the newest state that `load_snapshot` would read, `beat` the leader's sign of
    life, which rises while somebody is watching, `workers` how many are alive.
    """

    config_seq: int
    beat: int
    workers: int


Flush = Callable[[], Awaitable[None]]


class ControlPlane(Protocol):
    """The control store as one worker sees it. The store's errors are `StoreError`s."""

    async def load_snapshot(self) -> Snapshot:
        """The newest state that requests are served by."""
        ...

    async def flush(self, *, cells: Cells, applied_seq: int, in_flight: Mapping[str, int]) -> Beat:
        """Write a delta of counters, and acknowledge the state that this worker runs."""
        ...

    async def record_trip(self, trip: Trip) -> None:
        """Write down that the breaker took a version out of traffic, and end its release."""
        ...

    def control_app(self, flush: Flush) -> ASGIApp:
        """The ASGI app of `/v1/admin`, `/healthz`, `/readyz` and `/metrics`.

        `flush` writes what this worker has counted, before somebody looks at it.
        """
        ...

    async def run_leader(self) -> None:
        """Be the leader whenever the store's lease allows; runs until cancelled."""
        ...

    async def close(self) -> None:
        """Say goodbye to the store."""
        ...


class MakeControlPlane(Protocol):
    """Makes a worker's control plane, without I/O: a worker starts while its store is away."""

    def __call__(self, settings: Settings, data_dir: Path, runtime: Runtime) -> ControlPlane:
        """The control plane of one worker."""
        ...
