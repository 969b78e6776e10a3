"""A worker's counters in memory: counted at the start, settled at the end under the same key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grayscale.relay.answer import NOTHING_SHOWN, Signals
from grayscale.relay.breaker import Witness
from grayscale.relay.metering import Usage
from grayscale.traffic.counters import (
    CALLER_ASKED,
    CALLER_BUCKETS,
    CALLER_FAILED,
    COST_UNIT_USD,
    Cell,
    CellKey,
    Cells,
    bucket_of,
    merge_cells,
)
from grayscale.traffic.outcomes import FAILURES, Assignment, Outcome
from grayscale.traffic.versions import Price

_FIELD = {
    Outcome.OK: "ok",
    Outcome.UPSTREAM_ERROR: "upstream_error",
    Outcome.CONFIG_ERROR: "config_error",
    Outcome.REJECTED: "rejected",
    Outcome.CLIENT_GONE: "client_gone",
}


@dataclass(frozen=True, slots=True)
class Timing:
    """When what of one answer was there, in seconds of a monotonic clock."""

    received: float
    first_content: float | None
    ended: float

    def token_ms(self, tokens_out: int) -> float:
        """Milliseconds per token; a stream's first is not counted, its wait is another matter."""
        if self.first_content is None:
            return (self.ended - self.received) * 1000 / tokens_out
        return (self.ended - self.first_content) * 1000 / (tokens_out - 1)


class Meter:
    """The cells counted since the last `take`."""

    def __init__(self) -> None:
        self._cells: Cells = {}
        self._salt = ""
        self._seen = bytearray(CALLER_BUCKETS)

    def count_callers(self, salt: str) -> None:
        """Count each bucket of callers anew if the salt, and so its callers, is another one."""
        if salt != self._salt:
            self._salt, self._seen = salt, bytearray(CALLER_BUCKETS)

    def take(self) -> Cells:
        """What was counted since the last `take`; counting goes on from zero."""
        taken, self._cells = self._cells, {}
        return taken

    def put_back(self, cells: Cells) -> None:
        """Keep cells that could not be written, for the next `take`."""
        merge_cells(self._cells, cells)

    def start(
        self,
        key: CellKey,
        price: Price | None,
        *,
        caller: int | None = None,
        witness: Witness | None = None,
        rescues: Tally | None = None,
    ) -> Tally:
        """Count a request as started; its tally wants exactly one outcome.

        `caller` is the bucket of a sticky caller, whose first request is counted apart; `witness`
        tells the breaker, and `rescues` is the failure that this request is to make good.
        """
        who = None if caller is None else _Caller(caller, self._seen)
        if who is not None and not who.has(CALLER_ASKED):
            key = key._replace(assignment=Assignment.FIRST.value)
        cell = self.cell(key)
        cell.started += 1
        if who is not None:
            who.did(CALLER_ASKED, cell)
        return Tally(key, price, self.cell, caller=who, witness=witness, rescues=rescues)

    def cell(self, key: CellKey) -> Cell:
        """The cell of `key` since the last `take`."""
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = Cell()
        return found


class _Caller:
    """A bucket of callers, and what each bucket was seen to do in this release."""

    __slots__ = ("_bucket", "_seen")

    def __init__(self, bucket: int, seen: bytearray) -> None:
        self._bucket = bucket
        self._seen = seen

    def has(self, what: int) -> bool:
        """Whether this was seen before."""
        return self._seen[self._bucket] & what != 0

    def did(self, what: int, cell: Cell) -> None:
        """Report what was not seen before."""
        if not self.has(what):
            self._seen[self._bucket] |= what
            cell.callers[self._bucket] = cell.callers.get(self._bucket, 0) | what


class Tally:
    """The counting of one started request; the first outcome given is the one that counts."""

    __slots__ = ("_caller", "_cell", "_key", "_outcome", "_price", "_rescues", "_witness")

    def __init__(
        self,
        key: CellKey,
        price: Price | None,
        cell: Callable[[CellKey], Cell],
        *,
        caller: _Caller | None = None,
        witness: Witness | None = None,
        rescues: Tally | None = None,
    ) -> None:
        self._key = key
        self._price = price
        self._cell = cell
        self._caller = caller
        self._witness = witness
        self._rescues = rescues
        self._outcome: Outcome | None = None

    def spent(self, usage: Usage | None) -> None:
        """Count tokens and their cost, whatever became of the answer."""
        if usage is None:
            return
        cell = self._cell(self._key)
        cell.tokens_in += usage.tokens_in
        cell.tokens_out += usage.tokens_out
        cell.tokens_cached += usage.tokens_cached
        cell.cost_usd += usage.cost_usd(self._price)

    def ok(self, timing: Timing, signals: Signals = NOTHING_SHOWN) -> None:
        """The request was answered whole, and the answer showed these signals."""
        cell = self._settle(Outcome.OK)
        if cell is None:
            return
        duration = bucket_of((timing.ended - timing.received) * 1000)
        latency = duration
        if timing.first_content is not None:
            latency = bucket_of((timing.first_content - timing.received) * 1000)
            cell.ttft[latency] = cell.ttft.get(latency, 0) + 1
        cell.latency[latency] = cell.latency.get(latency, 0) + 1
        cell.duration[duration] = cell.duration.get(duration, 0) + 1
        signals.count_in(cell)
        if signals.usage is not None:
            self._count_use(cell, timing, signals.usage)

    def failed(
        self, outcome: Outcome, code: int, *, failed_over: bool = False, aborted: bool = False
    ) -> None:
        """The request ended in `outcome`, for which `code` is the HTTP status.

        `aborted`: it was a stream of which content had been passed on.
        """
        cell = self._settle(outcome)
        if cell is None:
            return
        cell.by_code[str(code)] = cell.by_code.get(str(code), 0) + 1
        cell.failed_over += failed_over
        cell.aborted += aborted
        if outcome not in FAILURES:
            return
        if self._caller is not None:
            self._caller.did(CALLER_FAILED, cell)
        if self._rescues is not None:
            self._rescues.rescue_failed()

    def rescue_failed(self) -> None:
        """Stable could not make this failure good: it tells nothing about the version alone."""
        if self._outcome not in FAILURES:
            return
        self._cell(self._key).rescue_failed += 1
        if self._witness is not None:
            self._witness.excuse()

    def gone(self, waited_seconds: float | None) -> None:
        """The caller left, or this side ended the request; nobody's failure.

        `waited_seconds` is how long he waited in vain; None if the answer had begun.
        """
        cell = self._settle(Outcome.CLIENT_GONE)
        if cell is not None and waited_seconds is not None:
            bucket = bucket_of(waited_seconds * 1000)
            cell.gone_after[bucket] = cell.gone_after.get(bucket, 0) + 1

    def _count_use(self, cell: Cell, timing: Timing, usage: Usage) -> None:
        if usage.tokens_out > 1:
            bucket = bucket_of(timing.token_ms(usage.tokens_out))
            cell.token_ms[bucket] = cell.token_ms.get(bucket, 0) + 1
        if self._price is not None:
            bucket = bucket_of(usage.cost_usd(self._price) / COST_UNIT_USD)
            cell.cost[bucket] = cell.cost.get(bucket, 0) + 1

    def _settle(self, outcome: Outcome) -> Cell | None:
        if self._outcome is not None:
            return None
        self._outcome = outcome
        cell = self._cell(self._key)
        name = _FIELD[outcome]
        setattr(cell, name, getattr(cell, name) + 1)
        if self._witness is not None:
            self._witness.settle(outcome)
        return cell
