"""What a worker needs of the control plane, as one small seam; the store stands behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from starlette.types import ASGIApp

from grayscale.traffic.counters import Cells
from grayscale.traffic.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Beat:
    """What a flush tells back: the newest config and keys, the leader's beat, live workers."""

    config_seq: int
    keys_seq: int
    beat: int
    workers: int


class ControlPlane(Protocol):
    """The control store as one worker sees it. Errors of the store are `StoreError`s."""

    async def load_snapshot(self) -> Snapshot:
        """The newest state that requests are served by."""
        ...

    async def flush(self, *, cells: Cells, applied_seq: int, in_flight: Mapping[str, int]) -> Beat:
        """Write a delta of counters, and acknowledge the config that this worker runs."""
        ...

    def control_app(self) -> ASGIApp:
        """The ASGI app of `/v1/admin`, `/healthz`, `/readyz` and `/metrics`."""
        ...

    async def run_leader(self) -> None:
        """Be the leader whenever the store's lease allows; runs until cancelled."""
        ...

    async def close(self) -> None:
        """Let go of the store."""
        ...
