"""Providers that refuse, hang, answer garbage or break off: what callers get, what is counted."""

import json
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.e2e.processes import PATIENCE_SECONDS, PLAIN, Relay, chat, eventually
from tests.e2e.shapes import by_name, make_candidate, new_name, refused, served

HASTY = {"timeouts": {"first_byte_seconds": 0.4, "idle_seconds": 0.4}}


@pytest.fixture
def caller(one: Relay) -> httpx.Client:
    return one.client()


@pytest.fixture
def hasty(one: Relay) -> dict[str, str]:
    """The header that pins a version with short time-outs, which has no other traffic."""
    return {"X-Relay-Version": make_candidate(one, HASTY)}


def counted(relay: Relay, version: str) -> dict[str, Any]:
    """What the relay has counted of a version."""
    with relay.client() as admin:
        versions = by_name(admin.get("/admin/metrics/errors").json()["versions"])
    return versions.get(version, {"requests": 0, "errors": 0, "by_code": {}, "client_gone": 0})


def frames_until_cut(answer: httpx.Response) -> list[Any]:
    """The data of the frames of a stream whose connection ends before the body does."""
    lines: list[str] = []
    with pytest.raises(httpx.RemoteProtocolError):
        lines.extend(answer.iter_lines())
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [frame if frame == "[DONE]" else json.loads(frame) for frame in data]


def test_nobody_listens(caller: httpx.Client) -> None:
    """A provider whose port is closed is a 502, and a retry may help."""
    error = refused(
        caller.post("/chat/completions", json=chat("nowhere")), 502, "upstream_unreachable"
    )
    assert "cannot be reached" in error["message"]


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_the_connection_is_hung_up(caller: httpx.Client, stream: bool) -> None:  # noqa: FBT001
    """A provider that closes the socket without a word is a 502."""
    answer = caller.post("/chat/completions", json=chat("hangs-up", stream=stream))
    refused(answer, 502, "upstream_unreachable")


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_nothing_is_ever_answered(
    caller: httpx.Client,
    hasty: dict[str, str],
    stream: bool,  # noqa: FBT001
) -> None:
    """A provider that hangs is a 504 after the version's time-out."""
    answer = caller.post("/chat/completions", json=chat("hangs", stream=stream), headers=hasty)
    refused(answer, 504, "upstream_timeout")
    assert answer.headers["x-relay-version"] == hasty["X-Relay-Version"]
    assert answer.elapsed.total_seconds() < PATIENCE_SECONDS


@pytest.mark.parametrize("model", ["html", "half-json"])
def test_garbage_is_no_answer(caller: httpx.Client, model: str) -> None:
    """200 with a page or with half of an object is a 502 in the error shape."""
    refused(caller.post("/chat/completions", json=chat(model)), 502, "upstream_unreadable")


def test_a_page_is_no_stream(caller: httpx.Client) -> None:
    """A stream that was asked for and is none is a 502 before anything is sent."""
    answer = caller.post("/chat/completions", json=chat("html", stream=True))
    refused(answer, 502, "upstream_unreadable")


def test_an_answer_broken_off_is_a_502(caller: httpx.Client) -> None:
    """Half a JSON answer never reaches a caller."""
    refused(caller.post("/chat/completions", json=chat("cuts")), 502, "upstream_unreachable")


def test_an_answer_that_stalls_is_a_504(caller: httpx.Client, hasty: dict[str, str]) -> None:
    """A body that does not go on is given up after the idle time."""
    answer = caller.post("/chat/completions", json=chat("stalls"), headers=hasty)
    refused(answer, 504, "upstream_timeout")


def test_an_error_with_status_200_is_an_error(caller: httpx.Client) -> None:
    """A 200 whose body is an error passes as it is, and counts as the provider's failure."""
    answer = caller.post("/chat/completions", json=chat("error-frame"))
    assert "error" in answer.json()
    assert answer.headers["x-relay-error-source"] == "upstream"


@pytest.mark.parametrize(
    ("model", "code"), [("cuts", "upstream_error"), ("stalls", "upstream_timeout")]
)
def test_a_stream_cut_short_ends_with_an_error_frame(
    caller: httpx.Client, hasty: dict[str, str], model: str, code: str
) -> None:
    """What came is passed on; then one error frame in the usual shape, no [DONE], no last chunk."""
    body = chat(model, stream=True)
    with caller.stream("POST", "/chat/completions", json=body, headers=hasty) as answer:
        assert answer.status_code == 200
        seen = frames_until_cut(answer)
    assert all("choices" in frame for frame in seen[:-1])
    assert len(seen) == 4
    error = seen[-1]["error"]
    assert set(error) == {"code", "message", "type", "param"}
    assert (error["code"], error["type"]) == (code, "server_error")


def test_an_error_frame_in_a_stream_passes(caller: httpx.Client) -> None:
    """The provider's own error frame reaches the caller as it was sent."""
    with caller.stream("POST", "/chat/completions", json=chat("error-frame", stream=True)) as a:
        seen = frames_until_cut(a)
    assert "error" in next(frame for frame in seen if "choices" not in frame)
    assert "[DONE]" not in seen


def test_a_stream_that_begins_with_an_error_has_its_status(caller: httpx.Client) -> None:
    """Nothing was sent yet: the caller has an honest 502 instead of a 200."""
    answer = caller.post("/chat/completions", json=chat("error-first", stream=True))
    assert answer.status_code == 502
    assert answer.headers["x-relay-error-source"] == "upstream"
    assert "error" in answer.json()


@pytest.mark.parametrize(("model", "status", "wait"), [("breaks", 503, "7"), ("busy", 429, "3")])
def test_the_providers_errors_pass_byte_by_byte(
    caller: httpx.Client, model: str, status: int, wait: str
) -> None:
    """Status, body and Retry-After are the provider's, and it is said that they are."""
    answer = caller.post("/chat/completions", json=chat(model))
    assert answer.status_code == status
    assert answer.headers["retry-after"] == wait
    assert answer.headers["x-relay-error-source"] == "upstream"
    assert answer.headers["x-upstream-request-id"].startswith("req_")
    assert answer.json()["error"]["message"]


def test_a_parameter_that_the_provider_refuses(one: Relay, caller: httpx.Client) -> None:
    """A 400 of the provider reaches the caller, and is counted as rejected, not as an error."""
    name = make_candidate(one)
    headers = {"X-Relay-Version": name}
    answer = caller.post("/chat/completions", json={"model": "gpt-4.1"}, headers=headers)
    cell = counted(one, name)
    assert answer.status_code == 400
    assert answer.headers["x-relay-error-source"] == "upstream"
    assert (cell["requests"], cell["rejected"], cell["errors"]) == (1, 1, 0)


def test_each_failure_is_counted_once_by_its_code(one: Relay, hasty: dict[str, str]) -> None:
    """A version's errors and their codes add up to what its callers have seen."""
    caller = one.client(headers=hasty)
    for model, stream in (
        ("gpt-4.1", False),
        ("breaks", False),
        ("busy", False),
        ("nowhere", False),
        ("hangs", False),
        ("half-json", False),
        ("cuts", True),
        ("error-frame", True),
    ):
        with suppress(httpx.RemoteProtocolError):
            caller.post("/chat/completions", json=chat(model, stream=stream))
    cell = counted(one, hasty["X-Relay-Version"])
    assert (cell["requests"], cell["errors"]) == (8, 7)
    assert cell["error_rate_percent"] == 87.5
    assert sum(cell["by_code"].values()) == 7
    assert {"503": 1, "429": 1, "504": 1}.items() <= cell["by_code"].items()


def test_a_model_id_that_the_provider_does_not_have(relay: Relay) -> None:
    """The candidate is at fault: config errors are counted, and stable helps its callers out."""
    overrides = {"models": {"gpt-4.1": {"model": "gpt-4.1-of-tomorrow"}}}
    name = make_candidate(relay, overrides, percent=50)
    caller = relay.client()
    answers = [caller.post("/chat/completions", json=chat()) for _ in range(40)]
    admin = relay.client()
    metrics = f"http://127.0.0.1:{relay.port}/metrics"

    def all_counted() -> bool:
        versions = by_name(admin.get("/admin/metrics/errors?window_seconds=60").json()["versions"])
        missed = versions[name]["by_code"].get("404", 0)
        return bool(missed == versions[name]["requests"] == versions[name]["errors"] > 0)

    assert eventually(all_counted)
    cell = counted(relay, name)
    helped = sum(answer.status_code == 200 for answer in answers)
    assert {answer.status_code for answer in answers} <= {200, 404}
    assert 5 <= cell["requests"] <= 35
    assert cell["failed_over"] > 0
    assert helped == 40 - cell["requests"] + cell["failed_over"]
    labels = f'model="gpt-4.1",outcome="config_error",upstream="main",version="{name}"'
    assert f"grayscale_requests_total{{{labels}}} {cell['errors']}.0" in admin.get(metrics).text


def test_a_pinned_version_is_never_helped_out(one: Relay, caller: httpx.Client) -> None:
    """Whoever asks for a version gets its own failure."""
    overrides = {"models": {"gpt-4.1": {"model": "gpt-4.1-of-tomorrow"}}}
    name = make_candidate(one, overrides, percent=0)
    answer = caller.post("/chat/completions", json=chat(), headers={"X-Relay-Version": name})
    assert answer.status_code == 404
    assert answer.headers["x-relay-version"] == name
    assert answer.headers["x-relay-error-source"] == "upstream"


def test_an_upstream_that_is_not_defined_is_refused_when_named(one: Relay) -> None:
    """A version cannot point at an upstream that grayscale.yaml does not have."""
    overrides = {"models": {"gpt-4.1": {"upstream": "mars"}}}
    body = {"name": new_name(), "base_version": "stable", "config_overrides": overrides}
    error = refused(one.client().post("/admin/versions", json=body), 422, "unknown_upstream")
    assert "mars" in error["message"]


def test_stable_goes_on_beside_all_of_this(one: Relay, caller: httpx.Client) -> None:
    """Hanging requests hold nobody else up."""
    with httpx.Client(base_url=one.url, timeout=httpx.Timeout(20, read=0.3), **PLAIN) as impatient:
        for _ in range(5):
            with pytest.raises(httpx.ReadTimeout):
                impatient.post(
                    "/chat/completions", json=chat("hangs"), headers={"x-api-key": one.admin_key}
                )
    assert served(caller.post("/chat/completions", json=chat())).elapsed.total_seconds() < 5
