"""A relay as a conductor sees it: the conductor protocol over a real record and a real socket.

It keeps the protocol's guards (fence, revision, idempotency) and a world that tests can shape:
verdicts, absences, and what people do meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from grayscale.plan import plan_from_mapping
from grayscale.release.phases import State
from grayscale.release.record import (
    ApprovalView,
    ReleaseRecord,
    StepView,
    VerdictView,
)
from grayscale.release.sleeping import is_asleep
from grayscale.testing.loopback import Exchange, LoopbackServer

BASE = "/v1/admin/releases"
HEALTHY = VerdictView(outcome="healthy", sentence="0 of 100 failed", evidence={"rate": 0.0})
HARMFUL = VerdictView(outcome="harmful", sentence="11 of 158 failed")


class Refusal(Exception):
    """A no, with status and code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class FakeRelay(LoopbackServer):
    """One release at a time; `verdicts` are given to the stages in order (the last one stays)."""

    def __init__(self) -> None:
        super().__init__()
        self.release_id = f"rel_{uuid4().hex[:8]}"  # Prefect is shared: runs are found by it
        self.record: ReleaseRecord | None = None
        self.calls: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.verdicts = [HEALTHY]
        self.away_for = 0
        self.refuse: dict[str, Refusal] = {}
        self.before: dict[str, Callable[[], None]] = {}
        self.after: dict[str, Callable[[], Awaitable[object]]] = {}  # done, and not answered yet
        self.versions: list[dict[str, Any]] = []
        self.fence = 0
        self.conductor: str | None = None
        self.soak_looks = 1

    # ---------------------------------------------------------------- the wire

    async def handle(self, exchange: Exchange) -> None:
        """Answer as the relay does, or with 503 while it is away."""
        if self.away_for > 0:
            self.away_for -= 1
            exchange.answer_json(503, {"error": {"code": "store_unavailable", "message": "away"}})
            return
        try:
            status, body = self._answer(exchange)
        except Refusal as refusal:
            body = {"error": {"code": refusal.code, "message": f"no: {refusal.code}"}}
            exchange.answer_json(refusal.status, body)
            return
        if self.calls and self.calls[-1] in self.after:
            await self.after.pop(self.calls[-1])()
        exchange.answer_json(status, body)

    def _answer(self, exchange: Exchange) -> tuple[int, Any]:
        request = exchange.request
        body = json.loads(request.body) if request.body else {}
        path = request.path.removeprefix("/v1/admin/")
        if path == "versions":
            return 200, {"data": self.versions}
        if path.startswith("rollback"):
            return self._rollback(request.method, body)
        parts = path.split("/")
        verb = parts[2] if len(parts) > 2 else ("open" if request.method == "POST" else "read")
        if verb == "act":
            verb = body["verb"]
        self.calls.append(verb)
        self.bodies.append(body)
        if verb in self.before:
            self.before.pop(verb)()
        if verb in self.refuse:
            raise self.refuse.pop(verb)
        key = request.header("idempotency-key")
        if key is not None and key in self.answers:
            return 200, self.answers[key]
        answer = self._carry_out(verb, parts[1:], body, request)
        if key is not None:
            self.answers[key] = answer
        return (201 if verb == "open" else 200), answer

    def _carry_out(self, verb: str, parts: list[str], body: dict[str, Any], request: Any) -> Any:
        if verb == "open":
            return self._open(body)
        record = self.there
        if parts and parts[0] != record.id:
            raise Refusal(404, "release_not_found")
        if verb == "claim":
            return self._claim(body)
        if verb == "events":
            return {"data": self.events, "has_more": False}
        if verb in {"approve", "reject", "pause", "resume", "abort"}:
            self._people(verb, body)
        elif verb == "renew":
            self._check_fence(request)
            self._time_passes()
        elif verb != "read":
            self._check_fence(request)
            if request.header("if-match") != str(record.revision):
                raise Refusal(409, "release_changed")
            self._act(verb, body)
        return self._view()

    # ---------------------------------------------------------------- the record

    @property
    def there(self) -> ReleaseRecord:
        """The record that is there."""
        if self.record is None:
            raise Refusal(404, "release_not_found")
        return self.record

    def change(self, **values: Any) -> None:
        """Move the record on."""
        values.setdefault("revision", self.there.revision + 1)
        self.record = self.there.model_copy(update=values)

    def tell(self, kind: str) -> None:
        """Write an event."""
        self.events.append({"id": f"evt_{len(self.events)}", "type": kind})

    def begin(self, plan: dict[str, Any], **values: Any) -> ReleaseRecord:
        """Put a release on record."""
        read = plan_from_mapping(plan)
        steps = [
            StepView(
                index=index,
                step_percent=percent,
                weight_percent=read.weight_percent(index),
                required_seconds=1,
            )
            for index, percent in enumerate(read.steps_percent)
        ]
        self.record = ReleaseRecord(
            id=self.release_id,
            version=read.version_name,
            state=State.QUEUED,
            revision=1,
            seq=1,
            plan=read,
            steps=steps,
            created_at="2026-01-01T00:00:00.000Z",
        ).model_copy(update=values)
        return self.there

    def soak_ends(self) -> None:
        """The relay has watched long enough, alone."""
        self._time_passes()

    def pause(self) -> None:
        """A person pauses the release."""
        self.tell("release.paused")
        self.change(state=State.PAUSED, reason="paused by Kim")

    def take_away(self) -> None:
        """The guard rolls back."""
        self.change(state=State.ROLLED_BACK, weight_percent=0.0, reason="harmful", verdict=HARMFUL)

    def _view(self) -> dict[str, Any]:
        conductor: dict[str, Any] = {"flow_run_id": self.conductor, "fence": self.fence}
        if self.conductor is None and is_asleep(self.there):
            conductor["asleep_until"] = "2026-01-01T14:05:00.000Z"
        return {**self.there.model_dump(mode="json"), "conductor": conductor}

    def _open(self, body: dict[str, Any]) -> dict[str, Any]:
        record = self.begin(body["plan"], trigger=body["trigger"])
        return {"id": record.id, "state": record.state, "revision": record.revision}

    def _claim(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.there.state.final:
            raise Refusal(409, "release_changed")
        if self.there.state is State.QUEUED:
            self.change(state=State.PREPARING)
        self.fence += 1
        self.change(waiting_run_id=None, revision=self.there.revision)
        self.conductor = body["flow_run_id"]
        return {"fence": self.fence, "lease_seconds": 90, "release": self._view()}

    def _check_fence(self, request: Any) -> None:
        if request.header("x-relay-fence") != str(self.fence):
            raise Refusal(409, "stale_fence")

    def _time_passes(self) -> None:
        stage = self.there.stage
        if self.there.state is State.ROLLING_BACK:
            self.take_away()
        if stage is None or self.there.state not in {State.SOAKING, State.BAKING}:
            return
        watched = stage.watched_seconds + stage.required_seconds / self.soak_looks
        verdict = None
        if watched >= stage.required_seconds:
            verdict = self.verdicts[0]
            if len(self.verdicts) > 1:
                self.verdicts.pop(0)
        self._put_stage(watched_seconds=watched, verdict=verdict)
        if verdict is not None and verdict.outcome == "harmful":
            self.change(state=State.ROLLING_BACK)

    def _put_stage(self, **values: Any) -> None:
        record = self.there
        if record.bake is not None:
            self.change(bake=record.bake.model_copy(update=values), revision=record.revision)
            return
        steps = list(record.steps)
        index = record.current_step or 0
        steps[index] = steps[index].model_copy(update=values)
        self.change(steps=steps, revision=record.revision)

    def _act(self, verb: str, body: dict[str, Any]) -> None:
        record = self.there
        match verb:
            case "create_version":
                self.change(version_created=True)
            case "set_split":
                weight = record.steps[body["step"]].weight_percent
                state = State.BAKING if record.bake is not None else State.SOAKING
                self.change(
                    state=state, current_step=body["step"], weight_percent=weight, gate=None
                )
            case "extend":
                stage = self._running()
                self._put_stage(
                    extensions=stage.extensions + 1, required_seconds=stage.required_seconds + 1
                )
            case "ask":
                self.tell("release.approval_requested")
                gate = ApprovalView(state="waiting", why=body["reason"])
                self.change(state=State.AWAITING_APPROVAL, gate=gate)
            case "wait":
                self.change(waiting_run_id=body["flow_run_id"], revision=record.revision)
            case "sleep":
                self.conductor, self.fence = None, self.fence + 1
                self.change(waiting_run_id=body["flow_run_id"], revision=record.revision)
            case "bake":
                bake = record.steps[-1].model_copy(
                    update={"index": len(record.steps), "watched_seconds": 0.0, "verdict": None}
                )
                self.change(state=State.BAKING, bake=bake)
            case "promote":
                self.change(state=State.PROMOTED, weight_percent=100.0, verdict=HEALTHY)
            case "fail":
                self.change(state=State.FAILED, weight_percent=0.0, reason=body["reason"])
            case _:
                raise Refusal(422, "unknown_verb")
        self.change(seq=record.seq + 1, revision=self.there.revision)

    def _running(self) -> StepView:
        stage = self.there.stage
        if stage is None:
            raise Refusal(409, "release_changed")
        return stage

    def _people(self, verb: str, body: dict[str, Any]) -> None:
        if verb in {"approve", "reject"} and self.there.state is not State.AWAITING_APPROVAL:
            raise Refusal(409, "step_moved_on")
        match verb:
            case "approve":
                gate = ApprovalView(state="approved", decided_by=body.get("approved_by"))
                self.change(gate=gate)
            case "reject":
                self.change(state=State.REJECTED, weight_percent=0.0, reason="rejected")
            case "pause":
                self.tell("release.paused")
                self.change(state=State.PAUSED, reason=body["note"], waiting_run_id=None)
            case "resume":
                self.change(state=State.SOAKING, reason="resumed")
            case _:
                self.change(state=State.ROLLED_BACK, weight_percent=0.0, reason=body["note"])

    def _rollback(self, method: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.calls.append("rollback" if method == "POST" else "rollback_status")
        if method == "POST":
            self.bodies.append(body)
            return 200, {"rollback_id": "rb_1"}
        looks = self.calls.count("rollback_status")
        return 200, {"rollback_id": "rb_1", "state": "completed" if looks > 1 else "gradual"}
