"""The words of the conductor protocol, and what the relay's answers mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import httpx
from pydantic import ValidationError
from pydantic_core import from_json

from grayscale.errors import ControlBusy, ControlRefused, ControlUnreachable, NotRecorded
from grayscale.release.record import ReleaseRecord


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to drive a release: the fence that proves it, and the record it was given on."""

    fence: int
    lease_seconds: float
    release: ReleaseRecord


@dataclass(frozen=True, slots=True)
class OnBehalf:
    """Whose word a conductor hands in, and through which door; the name is only a claim."""

    approved_by: str
    via: str = "prefect-form"


def act_key(record: ReleaseRecord, verb: str) -> str:
    """`<release>:<seq>:<verb>`: one decision, one key, however often it is sent."""
    return f"{record.id}:{record.seq}:{verb}"


def headers_of(
    *,
    idempotency_key: str | None = None,
    fence: int | None = None,
    revision: int | None = None,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The request headers that guard a write."""
    guards = {
        "Idempotency-Key": idempotency_key,
        "X-Relay-Fence": None if fence is None else str(fence),
        "If-Match": None if revision is None else str(revision),
    }
    return {name: value for name, value in guards.items() if value is not None} | dict(extra or {})


def read_answer(response: httpx.Response) -> Any:
    """The JSON of a good answer; raises ControlRefused for a 4xx, ControlBusy else."""
    if response.is_success:
        return {} if response.status_code == 204 else _json(response)
    if response.is_client_error:
        _refuse(response)
    raise ControlBusy(f"{_call(response)} answered {response.status_code}: {_why(response)}")


def read_claim(answer: Any) -> Claim:
    """The claim in an answer; raises ControlUnreachable if it is none."""
    try:
        fence, lease_seconds = int(answer["fence"]), float(answer["lease_seconds"])
        return Claim(fence, lease_seconds, read_record(answer["release"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ControlUnreachable(f"claim answered without {error}; is it a relay?") from error


def read_record(answer: Any) -> ReleaseRecord:
    """The record in an answer; raises ControlUnreachable if it is none."""
    if isinstance(answer, dict) and answer.get("recorded") is False:
        raise NotRecorded(str(answer.get("message")))
    try:
        return ReleaseRecord.model_validate(answer)
    except ValidationError as error:
        raise ControlUnreachable(
            f"the answer is no release record ({error.error_count()} fields at fault); "
            "do client and relay have the same version?"
        ) from error


def _json(response: httpx.Response) -> Any:
    try:
        return from_json(response.content)
    except ValueError as error:
        raise ControlUnreachable(
            f"{_call(response)} answered something other than JSON; is the URL a relay's?"
        ) from error


def _refuse(response: httpx.Response) -> NoReturn:
    body = _error_body(response)
    error = body.get("error")
    details: Mapping[str, Any] = error if isinstance(error, dict) else {}
    raise ControlRefused(
        response.status_code, str(details.get("code") or "unknown"), _why(response), body
    )


def _why(response: httpx.Response) -> str:
    error = _error_body(response).get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return str(message or response.text[:200] or response.reason_phrase)


def _error_body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _call(response: httpx.Response) -> str:
    return f"{response.request.method} {response.request.url}"
