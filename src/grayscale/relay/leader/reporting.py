"""Every end is reported in Prefect: by the run that conducted, or else by one called to do so.

Whether it was is read from Prefect, and from nothing that a conductor may have died after.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf
from typing import Any

from grayscale.plane import document
from grayscale.plane.conduct import SILENT_AFTER_SECONDS
from grayscale.plane.document import Document
from grayscale.plane.plane import Plane
from grayscale.prefect_api import FlowRun, PrefectApi, PrefectError, PrefectRefused
from grayscale.relay.leader.runs import DEPLOYMENT, LOOK_EVERY_SECONDS, STARTS_WITHIN_SECONDS
from grayscale.release.ending import RUN_ENDS_AS
from grayscale.release.phases import FINAL

_log = logging.getLogger(__name__)
_REPORTERS_AT_MOST = 3


class _Word(Enum):
    """What can be said of a run that should report an end."""

    SPOKEN = auto()
    TO_COME = auto()
    NEVER = auto()


@dataclass(slots=True)
class _Owed:
    """An end that nobody is known to have reported, on the leader's own clock."""

    looked_at: float = -inf
    called: str | None = None
    calls: int = 0
    seen_since: dict[str, float] = field(default_factory=dict)


class Reporter:
    """Looks at the runs of releases that are over until one of them has said so."""

    def __init__(self, plane: Plane, prefect: PrefectApi) -> None:
        self._plane = plane
        self._prefect = prefect
        self._owed: dict[str, _Owed] = {}

    async def run_once(self) -> None:
        """One look at each end that is not known to be reported, every few seconds."""
        async with self._plane.read() as tx:
            due = await document.report_due(tx)
        self._owed = {each: self._owed.get(each, _Owed()) for each in due}
        now = self._plane.clock.monotonic()
        for release_id, owed in self._owed.items():
            if now - owed.looked_at >= LOOK_EVERY_SECONDS:
                owed.looked_at = now
                await self._look(release_id, owed)

    async def _look(self, release_id: str, owed: _Owed) -> None:
        async with self._plane.read() as tx:
            release = await document.load(tx, release_id)
            conductor = await document.conductor_of(tx, release_id)
        if release.state not in FINAL:
            return
        try:
            settled = await self._settle(release, conductor, owed)
        except PrefectError:
            return  # not an answer: the next look may get one
        if settled:
            async with self._plane.write() as tx:
                await document.put_conductor(tx, release_id, report_due=False)

    async def _settle(self, release: Document, conductor: Mapping[str, Any], owed: _Owed) -> bool:
        """Whether nothing is left to be done; calls a run where nobody will say it otherwise."""
        words = [await self._word(run, release, owed) for run in _runs(conductor, owed)]
        if _Word.SPOKEN in words:
            return True
        if _Word.TO_COME in words:
            return False
        if owed.calls == _REPORTERS_AT_MOST:
            _log.warning("%s: no run could report its end in Prefect", release.id)
            return True
        await self._call(release, owed)
        return False

    async def _word(self, run_id: str, release: Document, owed: _Owed) -> _Word:
        try:
            run = await self._prefect.read_run(run_id)
        except PrefectRefused:
            return _Word.NEVER
        if run.over:
            spoken = run.state_name == RUN_ENDS_AS[release.state]
            return _Word.SPOKEN if spoken else _Word.NEVER
        patience = STARTS_WITHIN_SECONDS if run_id == owed.called else SILENT_AFTER_SECONDS
        return _Word.TO_COME if self._may_speak(run, owed, patience) else _Word.NEVER

    def _may_speak(self, run: FlowRun, owed: _Owed, patience_seconds: float) -> bool:
        """Whether it waits for its worker, or may still live: a dead one looks the same."""
        if run.state_type == "SCHEDULED":
            return True
        now = self._plane.clock.monotonic()
        return now - owed.seen_since.setdefault(run.id, now) < patience_seconds

    async def _call(self, release: Document, owed: _Owed) -> None:
        """A run that finds the release over says so, and ends; the same call is the same run."""
        nth = "" if owed.calls == 0 else f"-{owed.calls + 1}"
        run = await self._prefect.create_run(
            DEPLOYMENT,
            parameters={"release_id": release.id},
            idempotency_key=f"{release.id}:report{nth}",
            tags=[f"release:{release.id}"],
            name=f"release {release.version}",
        )
        owed.called, owed.calls = run.id, owed.calls + 1


def _runs(conductor: Mapping[str, Any], owed: _Owed) -> list[str]:
    """Whoever conducted last, whoever was called to, and whoever was called to report."""
    known = (conductor["flow_run_id"], conductor["wake_run_id"], owed.called)
    return [str(run) for run in known if run is not None]
