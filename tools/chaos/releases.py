"""Releases that go on while parts are killed, and the person who looks after them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from grayscale.control import Control
from grayscale.errors import ControlRefused, ControlUnreachable
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord
from tools.chaos.traffic import BAD, MODEL

_STEPS = (20, 100)
_STEP_SECONDS = 5
_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 300.0


@dataclass(slots=True)
class Released:
    """One release: how it has to end, and what was done for it."""

    version: str
    release_id: str
    must_end: State
    ended: State | None = None
    reason: str = ""
    approvals: int = 0
    """Answers of ours that the relay took."""
    opened_as: set[str] = field(default_factory=set)
    """The ids that opening it twice has given."""

    @property
    def right(self) -> bool:
        """Whether it ended as it had to."""
        return self.ended is self.must_end


class Operator:
    """Begins one release after another, approves what asks, and remembers all of it."""

    def __init__(self, control: Control, say: Callable[[str], None]) -> None:
        self._control = control
        self._say = say
        self.done: list[Released] = []

    async def work(self, enough: Callable[[], bool]) -> None:
        """Release until it is enough; the one under way is seen to its end."""
        kinds = ("good", "bad", "asks")
        while not enough() or len(self.done) < len(kinds):
            kind = kinds[len(self.done) % len(kinds)]
            released = await self._begin(kind, number=len(self.done) + 1)
            self.done.append(released)
            await self._see_through(released, enough)
            self._say(f"{released.version} ended {released.ended}: {released.reason}")

    async def _begin(self, kind: str, *, number: int) -> Released:
        version = f"c{number:02d}-{kind}"
        bad = version.endswith(BAD)
        plan = _plan(version, upstream="flaky" if bad else "steady", asks=kind == "asks")
        # Twice under one key, as a caller does whose first answer was lost.
        ids = {await self._open(plan, version) for _ in range(2)}
        must_end = State.ROLLED_BACK if bad else State.PROMOTED
        return Released(version, min(ids), must_end, opened_as=ids)

    async def _open(self, plan: dict[str, Any], key: str) -> str:
        while True:
            try:
                opened = await self._control.open_release(plan, idempotency_key=key)
                return str(opened["id"])
            except ControlUnreachable:
                await asyncio.sleep(_LOOK_SECONDS)

    async def _see_through(self, released: Released, enough: Callable[[], bool]) -> None:
        """Look until it is over; once nothing is killed any more, patience has an end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE_SECONDS
        shown = ""
        while loop.time() < until:
            if not enough():
                until = loop.time() + _PATIENCE_SECONDS
            try:
                record = await self._control.release(released.release_id)
                if record.state is State.AWAITING_APPROVAL and record.gate is not None:
                    await self._approve(released, record)
            except ControlUnreachable:
                record = None
            if record is not None:
                shown = self._show(record, shown)
                if record.state.final:
                    released.ended, released.reason = record.state, record.reason or ""
                    return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _approve(self, released: Released, record: ReleaseRecord) -> None:
        if record.gate is None or record.gate.state != "waiting":
            return
        try:
            await self._control.approve(released.release_id, step=record.current_step)
        except ControlRefused as refusal:
            self._say(f"{released.version}: {refusal}")
            return
        released.approvals += 1

    def _show(self, record: ReleaseRecord, shown: str) -> str:
        line = f"{record.version} is {record.state.value} at {record.weight_percent:g} %"
        if line != shown:
            self._say(line)
        return line


def _plan(version: str, *, upstream: str, asks: bool) -> dict[str, Any]:
    model = {"upstream": upstream, "model": f"chat-{version}"}
    return {
        "version_name": version,
        "config_overrides": {"models": {MODEL: model}},
        "auto_promote": {"promotion_steps": list(_STEPS), "step_duration_seconds": _STEP_SECONDS},
        "approval": {"before_steps": [_STEPS[-1]] if asks else []},
        "bake": {"duration_seconds": 2},
        "judge": {"interval_seconds": 1, "min_requests": 30},
        "lease": {"seconds": 20.0},
        "rollback_cooldown_seconds": 0,
        "max_rollbacks_per_hour": 1000,
    }
