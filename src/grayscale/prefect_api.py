"""What the relay and the command line need of Prefect, over its REST API; never imports Prefect.

GrayscaleError
└── PrefectError
    ├── PrefectUnreachable   no answer, or 5xx after the retries (SQLite says 503 when busy)
    └── PrefectRefused       an answer that says no, with its status
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx

from grayscale.errors import GrayscaleError

StateType = Literal[
    "SCHEDULED",
    "PENDING",
    "RUNNING",
    "PAUSED",
    "CANCELLING",
    "CANCELLED",
    "COMPLETED",
    "FAILED",
    "CRASHED",
]
_BUSY = frozenset({429, 502, 503, 504})
_RETRY_DELAYS_SECONDS = (0.1, 0.3, 1.0)
_SCHEMA_DELAYS_SECONDS = (0.2, 0.4, 0.8, 1.6)
_NOT_PREFECT = "is the URL Prefect's API?"
_TIMEOUT = httpx.Timeout(10, connect=3)
_PAGE = 200
# What Prefect says of the runs that it cancels by itself: no slot for it, no deployment any more.
_NOBODY_CANCELLED = ("concurrency limit", "no longer exists")


class PrefectError(GrayscaleError):
    """A call to Prefect's API did not succeed."""


class PrefectUnreachable(PrefectError):
    """Prefect did not answer, or answered that it cannot right now; worth another try later."""


class PrefectRefused(PrefectError):
    """Prefect answered no: `status` is the HTTP status, or 200 for a refused change of state."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class FlowRun:
    """A flow run as far as we care; `state_type` is None before its first state."""

    id: str
    name: str
    state_type: str | None
    state_name: str | None
    state_message: str
    has_form: bool
    tags: tuple[str, ...]
    parameters: Mapping[str, Any]

    @property
    def over(self) -> bool:
        """Whether it will never run again."""
        return self.state_type in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

    @property
    def cancelled(self) -> bool:
        """Whether somebody cancelled it, or is doing so; Prefect also does, for its own reasons."""
        cancelled = self.state_type in {"CANCELLING", "CANCELLED"}
        return cancelled and not any(why in self.state_message for why in _NOBODY_CANCELLED)

    @property
    def suspended_from_outside(self) -> bool:
        """Whether somebody suspended it: a run that suspends itself shows a form."""
        return self.state_type == "PAUSED" and not self.has_form


class PrefectApi:
    """Prefect's REST API at `api_url` (ends in `/api`). Use as an async context manager."""

    def __init__(
        self,
        api_url: str,
        *,
        auth_string: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        user, _, password = (auth_string or "").partition(":")
        self._deployment_ids: dict[str, str] = {}
        self._api_url = api_url.rstrip("/")
        self._client = httpx.AsyncClient(
            base_url=self._api_url,
            auth=httpx.BasicAuth(user, password) if auth_string else None,
            timeout=_TIMEOUT,
            transport=transport,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"<PrefectApi {self._api_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def healthy(self) -> bool:
        """Whether the API answers and its database works."""
        try:
            return bool(await self._call("GET", "/ready"))
        except PrefectError:
            return False

    async def create_run(
        self,
        deployment: str,
        *,
        parameters: Mapping[str, Any],
        idempotency_key: str | None = None,
        tags: Iterable[str] = (),
        name: str | None = None,
    ) -> FlowRun:
        """A new run of `flow/deployment`; the same key gives the same run, however often sent."""
        body: dict[str, Any] = {
            "parameters": dict(parameters),
            "tags": list(tags),
            "state": {"type": "SCHEDULED"},
        }
        optional = {"idempotency_key": idempotency_key, "name": name}
        body |= {key: value for key, value in optional.items() if value is not None}
        where = f"/deployments/{await self._deployment_id(deployment)}/create_flow_run"
        try:
            return _flow_run(await self._call("POST", where, body))
        except PrefectRefused as refusal:
            if refusal.status == 404:  # deleted and deployed anew since we looked its id up
                self._deployment_ids.pop(deployment, None)
            raise

    async def read_run(self, run_id: str) -> FlowRun:
        """One run; PrefectRefused 404 if there is none."""
        return _flow_run(await self._call("GET", f"/flow_runs/{run_id}"))

    async def find_deployment(self, deployment: str) -> str | None:
        """The id that `flow/deployment` has now; None if Prefect knows none of that name."""
        try:
            found = await self._call("GET", f"/deployments/name/{quote(deployment)}")
        except PrefectRefused as refused:
            if refused.status == 404:
                return None
            raise
        return _id_of(found)

    async def runs_by_tag(
        self, tag: str, *, states: Iterable[StateType] | None = None
    ) -> list[FlowRun]:
        """The runs that carry a tag, newest first (the newest 200)."""
        wanted: dict[str, Any] = {"tags": {"all_": [tag]}}
        if states is not None:
            wanted["state"] = {"type": {"any_": list(states)}}
        body = {"flow_runs": wanted, "sort": "START_TIME_DESC", "limit": _PAGE}
        found = await self._call("POST", "/flow_runs/filter", body)
        if not isinstance(found, list):
            raise PrefectUnreachable(f"{_NOT_PREFECT}: a list of runs was {found!r:.100}")
        return [_flow_run(run) for run in found]

    async def force_state(
        self, run_id: str, state_type: StateType, *, name: str, message: str
    ) -> None:
        """Put a run that does not run into a state, whatever Prefect's rules say."""
        state = {"type": state_type, "name": name, "message": message}
        answer = await self._call(
            "POST", f"/flow_runs/{run_id}/set_state", {"state": state, "force": True}
        )
        _accepted(answer, "set the state of", run_id)

    async def resume(self, run_id: str, run_input: Mapping[str, Any] | None = None) -> None:
        """Answer a suspended run's form.

        The state shows a moment before the form is stored; an answer in between is sent again.
        """
        body = {"run_input": dict(run_input)} if run_input is not None else {}
        answer = await self._call("POST", f"/flow_runs/{run_id}/resume", body)
        for delay in _SCHEMA_DELAYS_SECONDS:
            if "schema not found" not in _reason(answer):
                break
            await asyncio.sleep(delay)
            answer = await self._call("POST", f"/flow_runs/{run_id}/resume", body)
        _accepted(answer, "resume", run_id)

    async def _deployment_id(self, deployment: str) -> str:
        if deployment not in self._deployment_ids:
            found = await self._call("GET", f"/deployments/name/{quote(deployment)}")
            self._deployment_ids[deployment] = _id_of(found)
        return self._deployment_ids[deployment]

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        for delay in _RETRY_DELAYS_SECONDS:
            response = await self._send(method, path, body)
            if response.status_code not in _BUSY:
                return _answer(response)
            await asyncio.sleep(delay)
        return _answer(await self._send(method, path, body))

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        try:
            return await self._client.request(method, path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            where = f"{method} {self._api_url}{path}"
            raise PrefectUnreachable(f"{where}: {str(error) or type(error).__name__}") from error


def _answer(response: httpx.Response) -> Any:
    call = f"{response.request.method} {response.request.url}"
    if response.is_server_error or response.status_code == 429:
        raise PrefectUnreachable(f"{call} answered {response.status_code}: {response.text[:200]}")
    if not response.is_success:
        raise PrefectRefused(response.status_code, f"{call}: {response.text[:400]}")
    try:
        return response.json() if response.content else None
    except ValueError as error:
        raise PrefectUnreachable(f"{call} answered no JSON; {_NOT_PREFECT}") from error


def _accepted(answer: Any, verb: str, run_id: str) -> None:
    status = answer.get("status") if isinstance(answer, dict) else None
    if status != "ACCEPT":
        raise PrefectRefused(200, f"Prefect did not {verb} run {run_id}: {_reason(answer)}")


def _reason(answer: Any) -> str:
    details = answer.get("details") if isinstance(answer, dict) else None
    return str((details or {}).get("reason") or "")


def _flow_run(data: Any) -> FlowRun:
    run_id = _id_of(data)
    state = data.get("state") or {}
    details = state.get("state_details") or {}
    return FlowRun(
        id=run_id,
        name=str(data.get("name") or ""),
        state_type=data.get("state_type") or state.get("type"),
        state_name=data.get("state_name") or state.get("name"),
        state_message=str(state.get("message") or ""),
        has_form=bool(details.get("run_input_keyset")),
        tags=tuple(data.get("tags") or ()),
        parameters=data.get("parameters") or {},
    )


def _id_of(data: Any) -> str:
    if not isinstance(data, dict) or not data.get("id"):
        raise PrefectUnreachable(f"{_NOT_PREFECT}: it answered {data!r:.100}")
    return str(data["id"])
