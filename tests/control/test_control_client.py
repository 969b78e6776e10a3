"""The admin API's client: what it sends, and what it makes of answers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from grayscale.control import Control, ControlSync, OnBehalf, act_key
from grayscale.errors import ControlRefused, ControlUnreachable
from grayscale.plan import plan_from_mapping
from grayscale.release.record import ReleaseRecord

URL = "http://relay.test/v1"
RECORD: dict[str, Any] = {
    "id": "rel_1",
    "version": "v2",
    "state": "soaking",
    "revision": 7,
    "seq": 4,
    "plan": {"version_name": "v2"},
    "steps": [{"index": 0, "step_percent": 10, "weight_percent": 10}],
    "created_at": "2026-01-01T00:00:00.000Z",
}


def answering(
    status: int, body: object, seen: list[httpx.Request] | None = None
) -> httpx.MockTransport:
    """A relay that always gives the same answer."""

    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        if isinstance(body, str):
            return httpx.Response(status, text=body)
        return httpx.Response(status, json=body)

    return httpx.MockTransport(handle)


def failing(error: Exception) -> httpx.MockTransport:
    """A relay to which no request gets through."""

    def handle(_request: httpx.Request) -> httpx.Response:
        raise error

    return httpx.MockTransport(handle)


def leaves(kind: type[Exception]) -> Iterator[type[Exception]]:
    """Every class under `kind`, itself included."""
    yield kind
    for below in kind.__subclasses__():
        yield from leaves(below)


def made(kind: type[Exception]) -> Exception:
    """An exception of this class, whatever its constructor asks for."""
    request = httpx.Request("GET", URL)
    given: dict[str, Any] = {
        "message": "it broke",
        "request": request,
        "response": httpx.Response(500, request=request),
    }
    wanted = inspect.signature(kind).parameters
    if set(wanted) & {"args", "kwargs"}:
        return kind("it broke")
    return kind(**{name: given[name] for name in wanted if name in given})


HTTPX_ERRORS = sorted(
    {
        kind
        for root in (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)
        for kind in leaves(root)
        if kind.__module__ == "httpx"
    },
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", HTTPX_ERRORS, ids=lambda kind: kind.__name__)
async def test_every_httpx_error_becomes_unreachable(kind: type[Exception]) -> None:
    """No exception of the HTTP client gets past the seam."""
    async with Control(URL, "key", failing(made(kind))) as control:
        with pytest.raises(ControlUnreachable, match="admin/releases/rel_1"):
            await control.release("rel_1")


@pytest.mark.parametrize("status", [300, 404, 409, 422, 429, 500, 502, 503, 504])
async def test_every_bad_status_is_an_error_of_ours(status: int) -> None:
    """4xx is a refusal with its code; everything else that is not 2xx may be tried again."""
    body = {"error": {"code": "some_code", "message": "Why", "type": "x", "param": None}}
    async with Control(URL, "key", answering(status, body)) as control:
        with pytest.raises((ControlRefused, ControlUnreachable), match="Why") as caught:
            await control.release("rel_1")
    if 400 <= status < 500:
        assert isinstance(caught.value, ControlRefused)
        assert (caught.value.status, caught.value.code) == (status, "some_code")
        assert caught.value.body == body
    else:
        assert isinstance(caught.value, ControlUnreachable)


@pytest.mark.parametrize("body", ["<html>", {"id": "rel_1"}, [1], "null"])
async def test_an_answer_that_is_no_record_is_unreachable(body: object) -> None:
    """Something else that listens on the relay's port is not taken for a relay."""
    async with Control(URL, "key", answering(200, body)) as control:
        with pytest.raises(ControlUnreachable):
            await control.release("rel_1")


async def test_a_refusal_without_our_shape_keeps_its_text() -> None:
    """A proxy's 403 page is reported with its own words."""
    async with Control(URL, "key", answering(403, "forbidden by the proxy")) as control:
        with pytest.raises(ControlRefused, match="forbidden by the proxy") as caught:
            await control.versions()
    assert caught.value.code == "unknown"


async def test_act_carries_fence_revision_and_key() -> None:
    """A decision is guarded by the fence, the revision and the key of its sequence number."""
    seen: list[httpx.Request] = []
    record = ReleaseRecord.model_validate(RECORD)
    async with Control(URL, "secret", answering(200, RECORD, seen)) as control:
        await control.act(record, "set_split", fence=3, reason="because", step=0)
    (request,) = seen
    assert request.url.path == "/v1/admin/releases/rel_1/act"
    assert request.headers["X-Relay-Fence"] == "3"
    assert request.headers["If-Match"] == "7"
    assert request.headers["Idempotency-Key"] == "rel_1:4:set_split" == act_key(record, "set_split")
    assert request.headers["Authorization"] == "Bearer secret"
    assert json.loads(request.content) == {"verb": "set_split", "step": 0, "reason": "because"}


async def test_a_claim_gives_fence_and_record() -> None:
    """Claiming answers the fence together with the record it was given on."""
    body = {"fence": 2, "lease_seconds": 90, "release": RECORD}
    async with Control(URL, "key", answering(200, body)) as control:
        claim = await control.claim("rel_1", flow_run_id="run")
    assert (claim.fence, claim.lease_seconds, claim.release.id) == (2, 90, "rel_1")


async def test_a_plan_is_sent_as_it_was_written() -> None:
    """Defaults are left to the relay, so that a newer relay's defaults hold."""
    seen: list[httpx.Request] = []
    plan = plan_from_mapping({"version_name": "v2", "bake": {"duration_minutes": 1}})
    async with Control(URL, "key", answering(201, {"id": "rel_1"}, seen)) as control:
        await control.open_release(plan, idempotency_key="flow-run:1")
    assert json.loads(seen[0].content) == {
        "plan": {"version_name": "v2", "bake": {"duration_minutes": 1.0}},
        "trigger": "person",
    }
    assert seen[0].headers["Idempotency-Key"] == "flow-run:1"


async def test_a_reason_in_any_language_fits_into_its_header() -> None:
    """Header values are one line of UTF-8."""
    seen: list[httpx.Request] = []
    async with Control(URL, "key", answering(200, {}, seen)) as control:
        await control.roll_back(reason="zu viele Fehler:\nüber 5 %")
    raw = dict(seen[0].headers.raw)[b"X-Rollback-Reason"]
    assert raw.decode() == "zu viele Fehler: über 5 %"


async def test_names_cannot_leave_their_place_in_the_path() -> None:
    """A release id with a slash stays one path segment."""
    seen: list[httpx.Request] = []
    async with Control(URL, "key", answering(200, RECORD, seen)) as control:
        await control.release("../keys")
    assert seen[0].url.raw_path == b"/v1/admin/releases/..%2Fkeys"


def _name(value: object) -> str:
    return "call" if callable(value) else str(value)[:40]


CALLS: list[tuple[Callable[[Control], Any], str, str]] = [
    (lambda c: c.open_release({"version_name": "v2"}), "POST", "/admin/releases"),
    (lambda c: c.releases(limit=5), "GET", "/admin/releases?limit=5"),
    (lambda c: c.release_events("r", after="evt_1"), "GET", "/admin/releases/r/events?after=evt_1"),
    (lambda c: c.create_version("v2", config_overrides={}), "POST", "/admin/versions"),
    (lambda c: c.split_set({"stable": 100}, reason="x"), "POST", "/admin/traffic/config"),
    (lambda c: c.distribution(), "GET", "/admin/traffic/distribution"),
    (lambda c: c.errors(window_seconds=60), "GET", "/admin/metrics/errors?window_seconds=60"),
    (lambda c: c.latency(), "GET", "/admin/metrics/latency"),
    (lambda c: c.config_history(limit=1), "GET", "/admin/config/history?limit=1"),
    (lambda c: c.roll_back(), "POST", "/admin/rollback"),
    (lambda c: c.rollback_status(), "GET", "/admin/rollback/status"),
    (lambda c: c.rollback_abort(), "POST", "/admin/rollback/abort"),
    (lambda c: c.create_key("ci", scopes=["read"]), "POST", "/admin/keys"),
    (lambda c: c.revoke_key("key_1"), "DELETE", "/admin/keys/key_1"),
    (lambda c: c.events(limit=2), "GET", "/admin/events?limit=2"),
]


@pytest.mark.parametrize(("call", "method", "path"), CALLS, ids=_name)
async def test_each_call_goes_where_the_api_says(
    call: Callable[[Control], Any], method: str, path: str
) -> None:
    """Methods and paths are those of API.md."""
    seen: list[httpx.Request] = []
    async with Control(URL, "key", answering(200, {"data": []}, seen)) as control:
        assert await call(control) == {"data": []}
    assert (seen[0].method, seen[0].url.raw_path.decode()) == (method, f"/v1{path}")


VERBS: list[tuple[Callable[[Control], Any], str, dict[str, Any]]] = [
    (lambda c: c.approve("r", step=1, note="ok"), "approve", {"step": 1, "note": "ok"}),
    (
        lambda c: c.approve("r", on_behalf=OnBehalf("Kim")),
        "approve",
        {"step": None, "note": "", "via": "prefect-form", "approved_by": "Kim"},
    ),
    (lambda c: c.reject("r"), "reject", {"step": None, "note": ""}),
    (lambda c: c.pause("r", at_stable=True), "pause", {"at_stable": True, "note": ""}),
    (lambda c: c.resume("r"), "resume", {"note": ""}),
    (lambda c: c.abort("r", note="x"), "abort", {"note": "x"}),
    (lambda c: c.retry("r"), "retry", {"note": ""}),
    (lambda c: c.promote("r", full=True), "promote", {"full": True, "note": ""}),
]


@pytest.mark.parametrize(("call", "verb", "body"), VERBS, ids=_name)
async def test_people_speak_through_verbs(
    call: Callable[[Control], Any], verb: str, body: dict[str, Any]
) -> None:
    """A person's word is a POST to the verb, answered with the record."""
    seen: list[httpx.Request] = []
    async with Control(URL, "key", answering(200, RECORD, seen)) as control:
        assert (await call(control)).revision == 7
    assert seen[0].url.path == f"/v1/admin/releases/r/{verb}"
    assert json.loads(seen[0].content) == body


async def test_lists_come_as_lists() -> None:
    """Versions, keys and models are what the answer's `data` holds."""
    async with Control(URL, "key", answering(200, {"data": [{"id": "a"}]})) as control:
        assert await control.versions() == [{"id": "a"}]
        assert await control.keys() == [{"id": "a"}]
        assert await control.models() == [{"id": "a"}]


async def test_waiting_and_renewing_answer_the_record() -> None:
    """Both look again; waiting says until when."""
    seen: list[httpx.Request] = []
    async with Control(URL, "key", answering(200, RECORD, seen)) as control:
        assert (await control.wait("r", until="person", timeout_seconds=5)).id == "rel_1"
        assert (await control.renew("r", fence=9)).id == "rel_1"
    assert seen[0].url.raw_path.decode().endswith("/r/wait?for=person&timeout_seconds=5")
    assert seen[1].headers["X-Relay-Fence"] == "9"


def test_the_synchronous_client_runs_any_method() -> None:
    """Code without an event loop calls the same methods, with the same errors."""
    control = ControlSync(URL, "key", answering(200, RECORD))
    assert control.do(Control.release, "rel_1").version == "v2"
    refused = ControlSync(URL, "key", answering(401, {"error": {"code": "invalid_api_key"}}))
    with pytest.raises(ControlRefused):
        refused.do(Control.approve, "rel_1", note="go")


async def test_the_key_does_not_show() -> None:
    """A client can be printed without giving its key away."""
    async with Control(URL, "very-secret", answering(200, {})) as control:
        assert "very-secret" not in repr(control)
