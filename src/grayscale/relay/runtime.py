"""What one worker runs on: the state that its requests, its loops and its admin app share."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from grayscale.clock import Clock, SystemClock
from grayscale.relay.brake import Brake
from grayscale.relay.breaker import Breaker, Trip
from grayscale.relay.failover import FailoverBudget
from grayscale.relay.failure_page import FailurePage
from grayscale.relay.inflight import InFlight
from grayscale.relay.meter import Meter, Tally
from grayscale.relay.rates import Rates
from grayscale.relay.routing import Choice, Routing
from grayscale.relay.targets import Target, targets_from
from grayscale.settings import Settings
from grayscale.traffic.counters import CellKey
from grayscale.traffic.snapshot import Snapshot
from grayscale.traffic.versions import Price

_log = logging.getLogger(__name__)

UNWATCHED_AFTER_SECONDS = 30.0


@dataclass(slots=True)
class Health:
    """What `/readyz` tells: ready or not, and why it is only half well."""

    draining: bool = False
    reasons: dict[str, str] = field(default_factory=dict)

    def report(self, part: str, problem: str | None) -> None:
        """Set or clear (None) the problem of one part."""
        if problem is None:
            self.reasons.pop(part, None)
        elif self.reasons.get(part) != problem:
            self.reasons[part] = problem
            _log.warning("%s: %s", part, problem)


class Runtime:
    """One worker's state; `routing` is swapped whole, never changed."""

    def __init__(
        self,
        settings: Settings,
        brake: Brake,
        clock: Clock | None = None,
        failures: FailurePage | None = None,
    ) -> None:
        self.settings = settings
        self.limits = settings.limits
        self.clock = clock or SystemClock()
        self.brake = brake
        self.meter = Meter()
        self.in_flight = InFlight()
        self.rates = Rates()
        self.failover = FailoverBudget()
        self.breaker = Breaker(self.clock.monotonic, self._trip, failures)
        self.trips: list[Trip] = []
        self.flush_wanted = asyncio.Event()
        self.health = Health()
        self.routing: Routing | None = None
        self.workers = 1
        self.beat_at = self.clock.monotonic()
        self._targets: dict[str, Target] = targets_from(settings.upstreams)

    @property
    def snapshot(self) -> Snapshot | None:
        """The state that requests are served by now; None before the first one."""
        return self.routing.snapshot if self.routing is not None else None

    @property
    def watched(self) -> bool:
        """Whether a leader's beat was seen lately, by this worker's own clock, asked right now."""
        return self.clock.monotonic() - self.beat_at < UNWATCHED_AFTER_SECONDS

    @property
    def ready(self) -> bool:
        """Whether this worker takes requests."""
        return self.routing is not None and not self.health.draining

    def install(self, snapshot: Snapshot) -> None:
        """Serve by `snapshot` from now on; raises RoutingError and keeps the old one."""
        asks_for_usage = self.settings.metering == "usage"
        routing = Routing(snapshot, self._targets, self.limits, asks_for_usage=asks_for_usage)
        if self.snapshot is None or self.snapshot.release_id != snapshot.release_id:
            self.failover = FailoverBudget()
        self.routing = routing
        self.meter.count_callers(snapshot.salt)
        self.breaker.guard(snapshot.stable.name, routing.candidates, salt=snapshot.salt)
        self.workers = max(1, snapshot.workers)
        self.rates.keep_only({key.id for key in snapshot.keys.values()})

    def start(
        self, key: CellKey, price: Price | None, choice: Choice, *, rescues: Tally | None = None
    ) -> Tally:
        """Count a request as started; what is compared is counted by caller, and for the breaker.

        Of a retry on stable, `rescues` is the candidate's failure.
        """
        if not choice.compared:
            return self.meter.start(key, price)
        caller = choice.caller
        witness = self.breaker.start(key.version, caller)
        if rescues is not None:
            return self.meter.start(key, price, witness=witness, rescues=rescues)
        return self.meter.start(key, price, caller=caller, witness=witness)

    def may_retry(self, brake_slot: int, percent: float) -> bool:
        """Whether a version's failure may be retried on stable.

        Once the version is out of traffic its last requests need no budget: there are no more.
        """
        if self.brake.banned(brake_slot):
            return percent > 0
        return self.failover.spend(percent)

    def _trip(self, trip: Trip) -> None:
        """The breaker's ban: every worker obeys it at its next request."""
        snapshot = self.snapshot
        version = snapshot.versions.get(trip.version) if snapshot is not None else None
        if version is not None and self.brake.trip(version.brake_slot):
            _log.warning("version %s was taken out of traffic: %s", trip.version, trip.reason)
            self.trips.append(trip)
            self.flush_wanted.set()

    def is_banned(self, brake_slot: int) -> bool:
        """Whether a version may get no traffic: its brake is on, or nobody is watching."""
        return self.brake.banned(brake_slot) or not self.watched
