"""The watch over a candidate: counter rows between two cursors become one judge's interval.

Cursor, judge's state, verdict and watched seconds are written in one transaction under the
leader's fence: nothing is counted twice, whoever is killed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from grayscale.judge import Interval, JudgeInputError, JudgeState, Verdict, start
from grayscale.judge.recorded import interval_from, interval_json, look_once, verdict_json
from grayscale.plan.guard_rails import settings_of
from grayscale.plan.models import Plan
from grayscale.plane import configs, document, intervals
from grayscale.plane.arms import CallerBook, arms_of, of_release
from grayscale.plane.configs import Config
from grayscale.plane.document import Document
from grayscale.release import soak_clock
from grayscale.release.phases import ACTIVE, State
from grayscale.release.record import StepView, VerdictView
from grayscale.store import schema
from grayscale.store.database import Tx
from grayscale.traffic.counters import Cells, load_cells, merge_cells

_log = logging.getLogger(__name__)

_AT_ONCE = 500
_CLOCK_RUNS = frozenset({State.SOAKING, State.BAKING})

_counters, _judging = schema.counters.c, schema.judging.c
_COUNTED = (
    select(_counters.seq, _counters.cells)
    .where(_counters.seq > bindparam("cursor"), _counters.span_seconds == 1)
    .order_by(_counters.seq)
)
_JUDGED = select(schema.judging).where(_judging.release_id == bindparam("of"))
_JUDGE = update(schema.judging).where(_judging.release_id == bindparam("of"))
_KEEP = insert(schema.intervals)


@dataclass(frozen=True, slots=True)
class Look:
    """How long the leader has looked until `at`, and whether that time may count as watched."""

    seconds: float
    at: str = ""
    leased: bool = True
    fresh: bool = True
    verified: bool = True

    @property
    def watched(self) -> bool:
        """Only time with fresh counters, a verified split and a conductor's lease is soak."""
        return self.leased and self.fresh and self.verified


async def begin(tx: Tx, release: Document) -> None:
    """Count from now on, so that a release's first interval is not lost."""
    await _row(tx, release)


async def judge(tx: Tx, release: Document, look: Look) -> Verdict | None:
    """Judge one interval, and put the verdict into the document; None without a candidate."""
    stage = release.stage
    if stage is None:
        return None
    weight = (await configs.current(tx)).weights.get(release.version, 0.0)
    if weight == 0:
        _stand_still(release, stage, look)
        return None
    row = await _row(tx, release)
    cells, cursor = await _counted_since(tx, int(row["cursor"]))
    kept = row["state"] or {}
    book = CallerBook.from_json(kept.get("callers"))
    book, interval = _interval(
        release,
        stage,
        look,
        of_release(cells, release),
        number=int(row["interval_id"]) + 1,
        weight_percent=weight,
        book=book,
    )
    before = await _learnt(tx, release, kept.get("judge"))
    after, verdict = look_once(before, interval)
    stopped = _stopped_by(release, look, verdict)
    seen = {"at": look.at, "stopped_by": stopped, "config": release.config_id}
    state = {"judge": after.to_json(), "callers": book.to_json()}
    await _keep(tx, release, interval, verdict, state=state, cursor=cursor, seen=seen)
    _put(release, stage, interval, verdict, stopped=stopped)
    return verdict


def _interval(
    release: Document,
    stage: StepView,
    look: Look,
    counted: Cells,
    *,
    number: int,
    weight_percent: float,
    book: CallerBook,
) -> tuple[CallerBook, Interval]:
    """What the judge is told of these counts, and the callers known after them."""
    arms, independent = arms_of(counted, release)
    book, (stable, candidate) = book.read(
        counted, arms, version=release.version, weight_percent=weight_percent
    )
    runs = look.watched and release.state in _CLOCK_RUNS
    watched = stage.watched_seconds + (look.seconds if runs else 0.0)
    return book, Interval(
        id=number,
        seconds=look.seconds,
        step=stage.index,
        weight_percent=weight_percent,
        step_seconds=watched,
        soak_done=watched >= stage.required_seconds,
        stable=stable,
        candidate=candidate,
        fresh=look.fresh,
        split_verified=look.verified,
        independent=independent,
    )


def _put(
    release: Document, stage: StepView, interval: Interval, verdict: Verdict, *, stopped: str | None
) -> None:
    """Verdict and watched time into the document."""
    release.verdict = VerdictView.model_validate(verdict_json(verdict))
    changes = soak_clock.after_look(
        stage,
        seconds=interval.seconds,
        stopped=stopped,
        stable_requests=interval.stable.requests,
        candidate_requests=interval.candidate.requests,
    )
    release.put_stage(verdict=release.verdict, **changes)


def _stand_still(release: Document, stage: StepView, look: Look) -> None:
    """All traffic is with stable for a while: there is nothing to judge, and nothing soaks."""
    stopped = soak_clock.stopped_by(
        release.state, cause=release.cause, leased=look.leased, wrong=None
    )
    changes = soak_clock.after_look(
        stage,
        seconds=look.seconds,
        stopped=stopped or soak_clock.SPLIT,
        stable_requests=0,
        candidate_requests=0,
    )
    release.put_stage(**changes)


def trouble(release: Document, look: Look, verdict: Verdict) -> str | None:
    """What is wrong by the look or, where the plan has the candidate judged, by the verdict."""
    judged = release.plan.health_check.enabled and verdict.cause is not None
    return soak_clock.trouble(
        fresh=look.fresh,
        verified=look.verified,
        verdict_cause=str(verdict.cause) if judged else None,
    )


def _stopped_by(release: Document, look: Look, verdict: Verdict) -> str | None:
    return soak_clock.stopped_by(
        release.state,
        cause=release.cause,
        leased=look.leased,
        wrong=trouble(release, look, verdict),
    )


def by_hand(config: Config) -> Document | None:
    """A split made by hand, as a release of one step; None if there is nobody to compare."""
    others = [name for name in config.weights if name != config.stable]
    if config.release_id is not None or len(others) != 1 or config.stable not in config.weights:
        return None
    (version,) = others
    weight = config.weights[version]
    step = StepView(index=0, step_percent=weight, weight_percent=weight)
    return Document(
        id=config.config_id,
        version=version,
        state=State.SOAKING,
        plan=Plan(version_name=version),
        steps=(step,),
        current_step=0,
        config_id=config.config_id,
        state_seq=config.state_seq,
    )


async def _learnt(tx: Tx, release: Document, kept: dict[str, Any] | None) -> JudgeState:
    """What the judge knows of a release; another build's state is made anew of what is recorded."""
    state = start(settings_of(release.plan))
    if kept is None:
        return state
    try:
        return JudgeState.from_json(kept)
    except JudgeInputError as error:
        _log.warning("the judge's state of %s: %s, from its intervals", release.version, error)
    last = 0
    while recorded := await intervals.listed(tx, release.id, after=last, limit=_AT_ONCE):
        for one in recorded:
            state, _ = look_once(state, interval_from(one["interval"]))
        last = recorded[-1]["id"]
    return state


async def _counted_since(tx: Tx, cursor: int) -> tuple[Cells, int]:
    """The sum of the counter rows after a cursor, and the cursor after them."""
    rows = await tx.all(_COUNTED, cursor=cursor)
    cells: Cells = {}
    for row in rows:
        merge_cells(cells, load_cells(row["cells"]))
        cursor = int(row["seq"])
    return cells, cursor


async def _row(tx: Tx, release: Document) -> dict[str, Any]:
    table = schema.judging
    row = await tx.one(_JUDGED, of=release.id)
    if row is not None:
        return dict(row)
    newest = await tx.one(select(func.max(schema.counters.c.seq).label("seq")))
    cursor = int(newest["seq"] or 0) if newest else 0
    await tx.run(
        insert(table).values(release_id=release.id, cursor=cursor, interval_id=0, state=None)
    )
    return {"cursor": cursor, "interval_id": 0, "state": None}


async def _keep(
    tx: Tx,
    release: Document,
    interval: Interval,
    verdict: Verdict,
    *,
    state: dict[str, Any],
    cursor: int,
    seen: dict[str, Any],
) -> None:
    await tx.run(_JUDGE, of=release.id, cursor=cursor, interval_id=interval.id, state=state)
    data = {"interval": interval_json(interval), "verdict": verdict_json(verdict), **seen}
    await tx.run(_KEEP, release_id=release.id, interval_id=interval.id, data=data)


async def read_up_to(tx: Tx) -> int | None:
    """The counter row up to which every judge has read; None if nothing is being judged."""
    judged = {release.id for release in await document.in_states(tx, ACTIVE)}
    judged.add((await configs.current(tx)).config_id)
    table = schema.judging
    await tx.run(delete(table).where(table.c.release_id.not_in(judged)))
    row = await tx.one(select(func.min(table.c.cursor).label("cursor")))
    return None if row is None or row["cursor"] is None else int(row["cursor"])


async def forget_judging(tx: Tx, release_id: str) -> None:
    """Drop the judge's working state of a release that is over; its intervals stay."""
    await tx.run(delete(schema.judging).where(schema.judging.c.release_id == release_id))
