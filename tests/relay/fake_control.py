"""A control plane in a file, for worker processes: tests write states, workers read them."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from grayscale.errors import StoreUnavailable
from grayscale.relay.brake import Brake
from grayscale.relay.breaker import Trip
from grayscale.relay.control import Beat, Flush
from grayscale.relay.runtime import Runtime
from grayscale.settings import Settings
from grayscale.traffic.counters import Cells, dump_cells
from grayscale.traffic.snapshot import Snapshot

_STATE = "state.pickle"
_BEAT_SECONDS = 0.2


def publish(data_dir: Path, snapshot: Snapshot) -> None:
    """Make `snapshot` the newest state, and tell every worker."""
    temporary = data_dir / ".state"
    temporary.write_bytes(pickle.dumps(snapshot))
    temporary.replace(data_dir / _STATE)
    brake = Brake.open(data_dir / "brake")
    brake.announce(snapshot.config_seq)
    brake.close()


def take_away(data_dir: Path) -> None:
    """The store vanishes."""
    (data_dir / _STATE).unlink()


class FileControlPlane:
    """One worker's view of the file."""

    def __init__(self, data_dir: Path, runtime: Runtime) -> None:
        self._data_dir = data_dir
        self._runtime = runtime
        self.beat = 0

    async def load_snapshot(self) -> Snapshot:
        """The state that was published last."""
        try:
            state = pickle.loads((self._data_dir / _STATE).read_bytes())
        except OSError as error:
            raise StoreUnavailable(f"no state: {error.strerror}") from error
        assert isinstance(state, Snapshot)
        return replace(state)

    async def flush(self, *, cells: Cells, applied_seq: int, in_flight: Mapping[str, int]) -> Beat:
        """Append what was counted to a file."""
        newest = await self.load_snapshot()
        row = {"pid": os.getpid(), "applied": applied_seq, "cells": dump_cells(cells)}
        with (self._data_dir / "flushed.jsonl").open("a") as file:
            file.write(json.dumps(row | {"in_flight": dict(in_flight)}) + "\n")
        return Beat(config_seq=newest.config_seq, beat=self.beat, workers=newest.workers)

    async def record_trip(self, trip: Trip) -> None:
        """Append why to the file, while there is a store."""
        await self.load_snapshot()
        with (self._data_dir / "flushed.jsonl").open("a") as file:
            file.write(json.dumps({"pid": os.getpid(), "tripped": trip.reason}) + "\n")

    def control_app(self, flush: Flush) -> ASGIApp:
        """Says which process answers, and whether it is ready."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            runtime = self._runtime
            body = {"pid": os.getpid(), "reasons": runtime.health.reasons, "path": scope["path"]}
            status = 200 if runtime.ready else 503
            await JSONResponse(body, status_code=status)(scope, receive, send)

        return app

    async def run_leader(self) -> None:
        """Beat."""
        while True:
            self.beat += 1
            await asyncio.sleep(_BEAT_SECONDS)

    async def close(self) -> None:
        """Leave a trace."""
        with (self._data_dir / "flushed.jsonl").open("a") as file:
            file.write(json.dumps({"pid": os.getpid(), "closed": True}) + "\n")


def open_file_control(settings: Settings, data_dir: Path, runtime: Runtime) -> FileControlPlane:
    """The control plane of a worker in these tests."""
    return FileControlPlane(data_dir, runtime)
