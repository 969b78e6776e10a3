"""`Control`: one method per call of the admin API (API.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx

from grayscale.control.protocol import (
    Claim,
    OnBehalf,
    act_key,
    headers_of,
    read_answer,
    read_claim,
    read_record,
)
from grayscale.errors import ControlUnreachable
from grayscale.plan.models import Plan
from grayscale.release.record import ReleaseRecord

Json = dict[str, Any]
Plans = Plan | Mapping[str, Any]

_TIMEOUT = httpx.Timeout(10, connect=3)
_WAIT_MARGIN_SECONDS = 10


class Control:
    """The admin API of one relay, and the conductor protocol.

    Raises ControlUnreachable when there is no answer or one that says "later" (5xx), and
    ControlRefused for a no (4xx). Use as an async context manager.
    """

    def __init__(
        self, base_url: str, api_key: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._client = httpx.AsyncClient(
            base_url=self._base_url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=_TIMEOUT,
            transport=transport,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"<Control {self._base_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Any call, by its path under `/v1`; the JSON of its answer."""
        try:
            response = await self._client.request(
                method,
                path,
                json=body,
                params={name: value for name, value in (query or {}).items() if value is not None},
                headers=httpx.Headers(headers, encoding="utf-8"),
                timeout=timeout_seconds or _TIMEOUT,
            )
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise ControlUnreachable(
                f"{method} {self._base_url}{path}: {str(error) or type(error).__name__}"
            ) from error
        return read_answer(response)

    # ---------------------------------------------------------------- releases

    async def open_release(
        self,
        plan: Plans,
        *,
        trigger: Literal["person", "schedule"] = "person",
        idempotency_key: str | None = None,
    ) -> Json:
        """Begin a release: at least its id, state and revision."""
        answer: Json = await self.call(
            "POST",
            "/admin/releases",
            body={"plan": plan_json(plan), "trigger": trigger},
            headers=headers_of(idempotency_key=idempotency_key),
        )
        return answer

    async def release(self, release_id: str) -> ReleaseRecord:
        """The record, fresh."""
        return read_record(await self.call("GET", _of(release_id)))

    async def releases(
        self, *, state: str | None = None, limit: int | None = None, after: str | None = None
    ) -> Json:
        """A page of releases, newest first."""
        query = {"state": state, "limit": limit, "after": after}
        answer: Json = await self.call("GET", "/admin/releases", query=query)
        return answer

    async def release_events(
        self, release_id: str, *, after: str | None = None, limit: int | None = None
    ) -> Json:
        """A page of a release's events, oldest first."""
        query = {"after": after, "limit": limit}
        answer: Json = await self.call("GET", _of(release_id, "events"), query=query)
        return answer

    async def release_intervals(
        self, release_id: str, *, after: int | None = None, limit: int | None = None
    ) -> Json:
        """A page of what the judge was told and answered about a release, oldest first."""
        query = {"after": after, "limit": limit}
        answer: Json = await self.call("GET", _of(release_id, "intervals"), query=query)
        return answer

    async def wait(
        self,
        release_id: str,
        *,
        until: Literal["final", "person"] = "final",
        timeout_seconds: int = 30,
    ) -> ReleaseRecord:
        """The record once it is final or waits for a person, or as it is when time is up."""
        return read_record(
            await self.call(
                "GET",
                _of(release_id, "wait"),
                query={"for": until, "timeout_seconds": timeout_seconds},
                timeout_seconds=timeout_seconds + _WAIT_MARGIN_SECONDS,
            )
        )

    async def approve(
        self,
        release_id: str,
        *,
        step: int | None = None,
        note: str = "",
        on_behalf: OnBehalf | None = None,
    ) -> ReleaseRecord:
        """Open the gate."""
        return await self._say(release_id, "approve", step=step, note=note, **_claim(on_behalf))

    async def reject(
        self,
        release_id: str,
        *,
        step: int | None = None,
        note: str = "",
        on_behalf: OnBehalf | None = None,
    ) -> ReleaseRecord:
        """Close the gate for good: the release is rolled back."""
        return await self._say(release_id, "reject", step=step, note=note, **_claim(on_behalf))

    async def pause(
        self,
        release_id: str,
        *,
        at_stable: bool = False,
        note: str = "",
        on_behalf: OnBehalf | None = None,
        idempotency_key: str | None = None,
    ) -> ReleaseRecord:
        """Stop the soak clock; with `at_stable` the candidate has no traffic meanwhile."""
        body = {"at_stable": at_stable, "note": note, **_claim(on_behalf)}
        return await self._say(release_id, "pause", idempotency_key, **body)

    async def resume(
        self, release_id: str, *, note: str = "", on_behalf: OnBehalf | None = None
    ) -> ReleaseRecord:
        """Go on after a pause."""
        return await self._say(release_id, "resume", note=note, **_claim(on_behalf))

    async def abort(
        self,
        release_id: str,
        *,
        note: str = "",
        on_behalf: OnBehalf | None = None,
        idempotency_key: str | None = None,
    ) -> ReleaseRecord:
        """Take the candidate away now; raises NotRecorded where that is all that is done yet."""
        body = {"note": note, **_claim(on_behalf)}
        return await self._say(release_id, "abort", idempotency_key, **body)

    async def retry(self, release_id: str, *, note: str = "") -> ReleaseRecord:
        """The same plan once more, as a new release."""
        return await self._say(release_id, "retry", note=note)

    async def promote(
        self, release_id: str, *, full: bool = False, note: str = ""
    ) -> ReleaseRecord:
        """End this soak if the judge permits; `full` skips the soaks that are left."""
        return await self._say(release_id, "promote", full=full, note=note)

    async def _say(
        self, release_id: str, verb: str, key: str | None = None, /, **body: Any
    ) -> ReleaseRecord:
        guard = headers_of(idempotency_key=key)
        done = await self.call("POST", _of(release_id, verb), body=body, headers=guard)
        return read_record(done)

    # ---------------------------------------------------------------- conductors

    async def claim(self, release_id: str, *, flow_run_id: str) -> Claim:
        """Become the conductor; 409 `conductor_alive`, `release_in_progress`, `release_changed`."""
        body = {"flow_run_id": flow_run_id}
        return read_claim(await self.call("POST", _of(release_id, "claim"), body=body))

    async def renew(self, release_id: str, *, fence: int) -> ReleaseRecord:
        """Keep the lease and look again; 409 `stale_fence`."""
        return read_record(
            await self.call("POST", _of(release_id, "renew"), headers=headers_of(fence=fence))
        )

    async def act(
        self,
        record: ReleaseRecord,
        verb: str,
        *,
        fence: int,
        reason: str,
        step: int | None = None,
        flow_run_id: str | None = None,
    ) -> ReleaseRecord:
        """Carry out one decision that was made on `record`, once however often it is sent."""
        body: Json = {"verb": verb, "step": step, "reason": reason}
        if flow_run_id is not None:
            body["flow_run_id"] = flow_run_id
        guards = headers_of(
            idempotency_key=act_key(record, verb), fence=fence, revision=record.revision
        )
        return read_record(
            await self.call("POST", _of(record.id, "act"), body=body, headers=guards)
        )

    # ---------------------------------------------------------------- versions and traffic

    async def create_version(
        self, name: str, *, base_version: str = "stable", config_overrides: Mapping[str, Any]
    ) -> Json:
        """Create a version, or find the same one."""
        body = {
            "name": name,
            "base_version": base_version,
            "config_overrides": dict(config_overrides),
        }
        answer: Json = await self.call("POST", "/admin/versions", body=body)
        return answer

    async def versions(self) -> list[Json]:
        """Every version."""
        found: list[Json] = (await self.call("GET", "/admin/versions"))["data"]
        return found

    async def say_of_version(
        self, name: str, verb: Literal["quarantine", "lift"], *, reason: str
    ) -> Json:
        """Bar a version's configuration under every name, or lift that again."""
        path = f"/admin/versions/{quote(name, safe='')}/{verb}"
        answer: Json = await self.call("POST", path, body={"reason": reason})
        return answer

    async def split_set(
        self, traffic_split: Mapping[str, float], *, reason: str | None = None
    ) -> Json:
        """Set the split by hand."""
        body: Json = {"traffic_split": dict(traffic_split)}
        if reason is not None:
            body["reason"] = reason
        answer: Json = await self.call("POST", "/admin/traffic/config", body=body)
        return answer

    async def distribution(self, *, window_seconds: int | None = None) -> Json:
        """The split as it is meant and as it was seen."""
        return await self._windowed("/admin/traffic/distribution", window_seconds)

    async def errors(self, *, window_seconds: int | None = None) -> Json:
        """Errors per version."""
        return await self._windowed("/admin/metrics/errors", window_seconds)

    async def latency(self, *, window_seconds: int | None = None) -> Json:
        """Latency per version."""
        return await self._windowed("/admin/metrics/latency", window_seconds)

    async def _windowed(self, path: str, window_seconds: int | None) -> Json:
        answer: Json = await self.call("GET", path, query={"window_seconds": window_seconds})
        return answer

    async def config_history(self, *, limit: int | None = None, after: str | None = None) -> Json:
        """Every split and alias change, newest first."""
        query = {"limit": limit, "after": after}
        answer: Json = await self.call("GET", "/admin/config/history", query=query)
        return answer

    # ---------------------------------------------------------------- rollback

    async def roll_back(
        self,
        *,
        target: str = "stable",
        reason: str | None = None,
        options: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Json:
        """Take traffic back to a version; `options` is the body of API.md's Rollback."""
        extra = {"X-Rollback-Target": target}
        if reason:
            extra["X-Rollback-Reason"] = " ".join(reason.split())
        answer: Json = await self.call(
            "POST",
            "/admin/rollback",
            body=dict(options or {}),
            headers=headers_of(idempotency_key=idempotency_key, extra=extra),
        )
        return answer

    async def rollback_status(self) -> Json:
        """The rollback under way, or the last one."""
        answer: Json = await self.call("GET", "/admin/rollback/status")
        return answer

    async def rollback_abort(self) -> Json:
        """Freeze a person's gradual rollback."""
        answer: Json = await self.call("POST", "/admin/rollback/abort")
        return answer

    # ---------------------------------------------------------------- keys, events, models

    async def create_key(self, name: str, *, scopes: Sequence[str], **limits: Any) -> Json:
        """A new key; its secret is in this answer only."""
        answer: Json = await self.call(
            "POST", "/admin/keys", body={"name": name, "scopes": list(scopes), **limits}
        )
        return answer

    async def keys(self) -> list[Json]:
        """Every key, without its secret."""
        found: list[Json] = (await self.call("GET", "/admin/keys"))["data"]
        return found

    async def revoke_key(self, key_id: str) -> Json:
        """End a key."""
        answer: Json = await self.call("DELETE", f"/admin/keys/{quote(key_id, safe='')}")
        return answer

    async def events(self, *, after: str | None = None, limit: int | None = None) -> Json:
        """A page of all events, oldest first."""
        query = {"after": after, "limit": limit}
        answer: Json = await self.call("GET", "/admin/events", query=query)
        return answer

    async def audit_log(self, *, after: int, limit: int = 500) -> list[Json]:
        """Records of the event log after a number, with their place in the hash chain."""
        page = await self.call("GET", "/admin/audit", query={"after": after, "limit": limit})
        found: list[Json] = page["data"]
        return found

    async def models(self) -> list[Json]:
        """The models that callers may name."""
        found: list[Json] = (await self.call("GET", "/models"))["data"]
        return found


def plan_json(plan: Plans) -> Json:
    """A plan as the API takes it: what was written, defaults left to the relay."""
    if isinstance(plan, Plan):
        return plan.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return dict(plan)


def _claim(on_behalf: OnBehalf | None) -> Json:
    return asdict(on_behalf) if on_behalf else {}


def _of(release_id: str, *verb: str) -> str:
    return "/".join(("/admin/releases", quote(release_id, safe=""), *verb))
