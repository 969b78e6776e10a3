"""The leader's look at releases, once a second: lease, deadlines, judge, guard, ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import delete, select

from grayscale.clock import rfc3339
from grayscale.judge import Outcome
from grayscale.plane import conduct, configs, document, judging, people, takeaway, versions
from grayscale.plane.actor import GUARD, LEASE, RELAY
from grayscale.plane.document import Document
from grayscale.plane.judging import Look
from grayscale.plane.plane import Plane
from grayscale.relay.leader.holding import ask_if_held_for_long, hold_or_go_on
from grayscale.relay.leader.lead import ban_in_time
from grayscale.relay.leader.leftovers import LeftOvers
from grayscale.relay.leader.rules import act_on_broken_rules, rollback_target
from grayscale.relay.leader.trips import LeftOverTrips
from grayscale.release.phases import ACTIVE, GUARDED, State
from grayscale.store import schema
from grayscale.store.database import Tx

DEAD_AFTER_SECONDS = 5.0
_SIGNS_OF_LIFE = select(schema.workers.c.id, schema.workers.c.flushes, schema.workers.c.applied_seq)
_EXPIRED = "lease_expired"


@dataclass(slots=True)
class Pulse:
    """Live workers by how their flush count moves, on the leader's own clock."""

    flushes: dict[str, int] = field(default_factory=dict)
    moved_at: dict[str, float] = field(default_factory=dict)

    def look(self, counts: Mapping[str, int], now: float) -> list[str]:
        """The workers whose count has stood still for too long."""
        for worker, count in counts.items():
            if self.flushes.get(worker) != count:
                self.flushes[worker], self.moved_at[worker] = count, now
        for worker in set(self.flushes) - set(counts):
            del self.flushes[worker], self.moved_at[worker]
        return [w for w, at in self.moved_at.items() if now - at >= DEAD_AFTER_SECONDS]

    def fresh(self, now: float, within_seconds: float) -> bool:
        """Whether every live worker has reported lately."""
        return bool(self.moved_at) and all(
            now - at <= within_seconds for at in self.moved_at.values()
        )


class Watcher:
    """What the leader does for releases within one transaction a second."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._pulse = Pulse()
        self._trips = LeftOverTrips(plane)
        self._leftovers = LeftOvers(plane)
        self._judged_at: dict[str, float] = {}
        self._looked_at: float | None = None
        self._owed_seconds: dict[str, float] = {}

    def forget_bans(self) -> None:
        """What this look saw was not written down: whose word it was may come first next time."""
        self._trips.seen.clear()
        self._leftovers.seen.clear()

    async def tick(self, tx: Tx) -> None:
        """One look at everything that may need the leader."""
        now = self._plane.clock.monotonic()
        elapsed = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        applied = await self._workers(tx, now)
        for release in await document.in_states(tx, frozenset({State.QUEUED})):
            if not await self._leftovers.of_release(tx, release):
                await self._lower_lease(tx, release, elapsed)
        for release in await document.in_states(tx, ACTIVE):
            if release.state is State.ROLLING_BACK:
                await self._finish_rollback(tx, release, applied)
            else:
                await self._watch(tx, release, elapsed=elapsed, now=now, applied=applied)
        await self._watch_split_by_hand(tx, now=now, applied=applied)
        await self._leftovers.of_split(tx)

    async def _watch(
        self, tx: Tx, release: Document, *, elapsed: float, now: float, applied: int | None
    ) -> None:
        if await self._braked(tx, release) or await self._overdue(tx, release):
            return
        leased = await self._lower_lease(tx, release, elapsed)
        verified = applied is not None and applied >= release.state_seq
        if release.state in GUARDED:
            look = self._due(release, now, leased=leased, verified=verified)
            if look is not None:
                await self._judge(tx, release, look)

    def _due(self, release: Document, now: float, *, leased: bool, verified: bool) -> Look | None:
        """The look that is due by the plan's interval, if one is."""
        since = self._judged_at.setdefault(release.id, now)
        interval = release.plan.judge.interval_seconds
        if now - since < interval - 0.05:
            return None
        self._judged_at[release.id] = now
        fresh = self._pulse.fresh(now, within_seconds=max(3.0, interval))
        at = rfc3339(self._plane.clock.now())
        return Look(seconds=now - since, at=at, leased=leased, fresh=fresh, verified=verified)

    async def _watch_split_by_hand(self, tx: Tx, *, now: float, applied: int | None) -> None:
        """A split that a person made is judged like a step; the guard can only take it away."""
        config = await configs.current(tx)
        split = judging.by_hand(config)
        if split is None or await self._trips.look(tx, split.version):
            return
        verified = applied is not None and applied >= config.state_seq
        look = self._due(split, now, leased=True, verified=verified)
        verdict = await judging.judge(tx, split, look) if look is not None else None
        if verdict is None or verdict.outcome is not Outcome.HARMFUL:
            return
        await self._ban(tx, split.version)
        aliases = {alias: name for alias, name in config.aliases.items() if alias != "beta"}
        config = replace(config, aliases=aliases)
        await takeaway.to_stable(self._plane, tx, config, actor=GUARD, reason=verdict.sentence)
        await versions.quarantine(
            tx, config, split.version, now=self._plane.clock.now(), actor=GUARD,
            reason=verdict.sentence,
        )  # fmt: skip
        await judging.forget_judging(tx, split.id)

    async def _judge(self, tx: Tx, release: Document, look: Look) -> None:
        verdict = await judging.judge(tx, release, look)
        await document.save(tx, release, now=self._plane.clock.now())
        if verdict is None:
            return
        judged = release.plan.health_check.enabled
        if judged:
            await act_on_broken_rules(self._plane, tx, release, verdict)
        if not judged or verdict.outcome is not Outcome.HARMFUL:
            wrong = judging.trouble(release, look, verdict)
            await hold_or_go_on(
                self._plane, tx, release, verdict, wrong=wrong, seconds=look.seconds
            )
            return
        await self._ban(tx, release.version)
        await takeaway.roll_back(
            self._plane, tx, release, actor=GUARD, reason=verdict.sentence, cause="candidate",
            target=await rollback_target(tx, release, verdict),
        )  # fmt: skip

    async def _ban(self, tx: Tx, name: str) -> None:
        version = await versions.find(tx, name)
        if version is not None:
            ban_in_time(self._plane, version.brake_slot, since=self._looked_at or 0.0)

    async def _braked(self, tx: Tx, release: Document) -> bool:
        """A ban that could not be recorded at the time is carried to its end now."""
        if release.state in GUARDED and await self._trips.look(tx, release.version):
            return True
        return await self._leftovers.of_release(tx, release)

    async def _overdue(self, tx: Tx, release: Document) -> bool:
        now = rfc3339(self._plane.clock.now())
        if release.deadline_at is None or release.deadline_at > now:
            return False
        waiting = release.gate is not None and release.gate.state == "waiting"
        if release.state is State.AWAITING_APPROVAL and waiting:
            return await self._nobody_decided(tx, release)
        await ask_if_held_for_long(self._plane, tx, release)
        if release.state is State.PAUSED:
            release.deadline_at = None
            await people.withdraw_weight(
                self._plane, tx, release, actor=RELAY, reason="paused for too long"
            )
            await document.save(tx, release, now=self._plane.clock.now())
        return False

    async def _nobody_decided(self, tx: Tx, release: Document) -> bool:
        reason = f"nobody decided until {release.deadline_at}"
        if release.plan.approval.on_timeout == "hold":
            release.deadline_at = None
            await people.withdraw_weight(self._plane, tx, release, actor=RELAY, reason=reason)
            await document.save(tx, release, now=self._plane.clock.now())
            return False
        await takeaway.roll_back(
            self._plane, tx, release, actor=RELAY, reason=reason, cause="approval_timeout"
        )
        return True

    async def _lower_lease(self, tx: Tx, release: Document, elapsed: float) -> bool:
        conductor = await document.conductor_of(tx, release.id)
        owed = self._owed_seconds.get(release.id, 0.0) + elapsed
        whole = int(owed)
        self._owed_seconds[release.id] = owed - whole
        leased = _needs_lease(release)
        left = int(conductor["lease_left_seconds"]) - (whole if leased else 0)
        await document.put_conductor(
            tx,
            release.id,
            silent_seconds=int(conductor["silent_seconds"]) + whole,
            lease_left_seconds=max(left, 0),
        )
        if leased and left <= 0:
            await self._lease_expired(tx, release)
        return left > 0

    async def _lease_expired(self, tx: Tx, release: Document) -> None:
        reason = "no conductor has renewed the lease; stable has the traffic"
        await conduct.fence_out(tx, release)
        if release.plan.lease.on_expiry == "roll_back":
            await takeaway.roll_back(
                self._plane, tx, release, actor=LEASE, reason=reason, cause=_EXPIRED
            )
            return
        release.deadline_at = None  # of the hold that it was in: nobody is asked about this one
        release.move(State.HELD, reason=reason, cause=_EXPIRED)
        await people.withdraw_weight(self._plane, tx, release, actor=LEASE, reason=reason)
        await document.save(tx, release, now=self._plane.clock.now())
        await document.tell(self._plane, tx, release, "lease.expired", actor=LEASE, channels=())
        await document.tell(self._plane, tx, release, "release.held", actor=LEASE)

    async def _finish_rollback(self, tx: Tx, release: Document, applied: int | None) -> None:
        if applied is None or applied < release.state_seq:
            return
        ending = release.ending or State.ROLLED_BACK
        release.move(ending, reason=release.reason, cause=release.cause)
        await document.save(tx, release, now=self._plane.clock.now())
        await document.put_conductor(tx, release.id, report_due=True)
        await judging.forget_judging(tx, release.id)
        self._judged_at.pop(release.id, None)
        if ending is not State.REJECTED:  # told when the person said no
            await document.tell(self._plane, tx, release, f"release.{ending.value}", actor=RELAY)

    async def _workers(self, tx: Tx, now: float) -> int | None:
        """Forget dead workers; the state that every live one runs, None without any."""
        rows = await tx.all(_SIGNS_OF_LIFE)
        dead = self._pulse.look({row["id"]: int(row["flushes"]) for row in rows}, now)
        if dead:
            await tx.run(delete(schema.workers).where(schema.workers.c.id.in_(dead)))
        live = [int(row["applied_seq"]) for row in rows if row["id"] not in dead]
        return min(live, default=None)


def _needs_lease(release: Document) -> bool:
    """Whether a candidate has traffic that only a conductor's lease lets it keep.

    While people think, or have paused, their deadline is the limit instead.
    """
    if release.state is State.HELD:
        return release.cause != _EXPIRED
    return release.state in {State.SOAKING, State.BAKING}


class RollbackCarrier:
    """Brings rollback records to their end: switching, draining, gradual steps."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._drained = ("", 0.0)
        self._looked_at = 0.0

    async def tick(self, tx: Tx, elapsed: float) -> None:
        """One look at the newest rollback."""
        self._looked_at = self._plane.clock.monotonic()
        latest = await takeaway.latest_rollback(tx)
        if latest is None or latest["state"] in ("completed", "aborted"):
            return
        if latest["state"] == "gradual":
            await self._lower(tx, latest, elapsed)
        else:
            await self._drain(tx, latest, elapsed)

    async def _drain(self, tx: Tx, latest: dict[str, object], elapsed: float) -> None:
        rows = await tx.all(select(schema.workers.c.applied_seq, schema.workers.c.in_flight))
        target = await configs.find(tx, str(latest["to_config_id"]))
        seq = target.state_seq if target is not None else 0
        leaving = latest["leaving"] if isinstance(latest["leaving"], list) else []
        running = sum(int(row["in_flight"].get(name, 0)) for row in rows for name in leaving)
        switched = all(int(row["applied_seq"]) >= seq for row in rows)
        now = rfc3339(self._plane.clock.now())
        state = "switching" if not switched else "draining"
        rollback_id = str(latest["rollback_id"])
        before = self._drained[1] if self._drained[0] == rollback_id else 0.0
        self._drained = rollback_id, before + elapsed  # a clock that is set cuts nobody
        too_long = self._drained[1] >= float(str(latest["drain_seconds"]))
        if running and too_long:
            await self._cut(tx, leaving)
        if switched and (running == 0 or too_long):
            state = "completed"
        if state != latest["state"]:
            data = {**latest, "finished_at": now if state == "completed" else None}
            await takeaway.put_rollback(tx, rollback_id, state=state, data=data)

    async def _cut(self, tx: Tx, names: list[str]) -> None:
        """Whoever is still answered by these versions has had time enough."""
        for name in names:
            version = await versions.find(tx, name)
            if version is not None and self._plane.brake.banned(version.brake_slot):
                ban_in_time(self._plane, version.brake_slot, since=self._looked_at, cut=True)

    async def _lower(self, tx: Tx, latest: dict[str, object], elapsed: float) -> None:
        waited = float(str(latest["waited_seconds"])) + elapsed
        rollback_id = str(latest["rollback_id"])
        if waited < float(str(latest["step_delay_seconds"])):
            await takeaway.put_rollback(
                tx, rollback_id, state="gradual", data={**latest, "waited_seconds": waited}
            )
            return
        config = await configs.current(tx)
        reason = str(latest["reason"])
        size = float(str(latest["step_size"]))
        weights = {
            name: max(0.0, weight - size)
            for name, weight in config.weights.items()
            if name != config.stable
        }
        if any(weight > 0 for weight in weights.values()):
            await takeaway.lower(self._plane, tx, config, weights, actor=RELAY, reason=reason)
            await takeaway.put_rollback(
                tx, rollback_id, state="gradual", data={**latest, "waited_seconds": 0.0}
            )
            return
        await takeaway.end_gradual(self._plane, tx, config, actor=RELAY, reason=reason)
