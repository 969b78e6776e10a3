"""A Prefect server as the relay's leader sees it: its REST API over a real socket."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from grayscale.testing.loopback import Exchange, LoopbackServer

_RUNS = "/api/flow_runs/"
_DEPLOYMENT = "/api/deployments/name/release/on-demand"


class FakePrefect(LoopbackServer):
    """Runs by id, in the states that tests put them in; idempotency keys are kept.

    `answers_with` is all that it says; `meanwhile` happens once, before its next answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deployment_id = str(uuid4())
        self.runs: dict[str, dict[str, Any]] = {}
        self.by_key: dict[str, str] = {}
        self.looks: list[str] = []
        self.answers_with: tuple[int, Any] | None = None
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    @property
    def api_url(self) -> str:
        """What PREFECT_API_URL would be."""
        return f"{self.origin}/api"

    def put(
        self, run_id: str, state: str, *, name: str = "", form: bool = False, message: str = ""
    ) -> None:
        """Let a run be in a state."""
        details = {"run_input_keyset": {"schema": "s"} if form else None}
        self.runs[run_id] = {
            "id": run_id,
            "name": f"v2 · {run_id}",
            "state_type": state,
            "state": {
                "type": state,
                "name": name or state.title(),
                "message": message,
                "state_details": details,
            },
        }

    def lose_everything(self) -> None:
        """Begin again with an empty database, in which the flows are deployed."""
        self.runs.clear()
        self.by_key.clear()
        self.deployment_id = str(uuid4())

    async def handle(self, exchange: Exchange) -> None:
        """Answer as Prefect's API does."""
        request = exchange.request
        if self.meanwhile is not None:
            happen, self.meanwhile = self.meanwhile, None
            await happen()
        if self.answers_with is not None:
            exchange.answer_json(*self.answers_with)
        elif request.path == _DEPLOYMENT:
            exchange.answer_json(200, {"id": self.deployment_id})
        elif request.path.startswith(_RUNS):
            self._show(exchange, request.path.removeprefix(_RUNS))
        elif request.path == f"/api/deployments/{self.deployment_id}/create_flow_run":
            exchange.answer_json(201, self._create(json.loads(request.body)))
        else:
            exchange.answer_json(404, {"detail": "Not Found"})

    def _show(self, exchange: Exchange, run_id: str) -> None:
        self.looks.append(run_id)
        run = self.runs.get(run_id)
        if run is None:
            exchange.answer_json(404, {"detail": "Flow run not found"})
        else:
            exchange.answer_json(200, run)

    def _create(self, order: dict[str, Any]) -> dict[str, Any]:
        run_id = self.by_key.setdefault(order["idempotency_key"], f"called-{len(self.by_key) + 1}")
        if run_id not in self.runs:
            self.put(run_id, "SCHEDULED")
        return self.runs[run_id]
