"""The callers' side of API.md over real HTTP: headers, errors, and bad input."""

import http.client
from typing import Any

import pytest

from tests.e2e.processes import Provider, Relay, chat
from tests.e2e.shapes import refused, served


def test_each_proxied_path_names_its_version(relay: Relay) -> None:
    """Chat, completions, embeddings and responses are served alike, streamed or not."""
    caller = relay.client()
    calls: list[tuple[str, dict[str, Any]]] = [
        ("/chat/completions", chat()),
        ("/chat/completions", chat(stream=True)),
        ("/completions", {"model": "gpt-4.1", "prompt": "Hello"}),
        ("/embeddings", {"model": "text-embedding-3-small", "input": "Hello"}),
        ("/responses", {"model": "gpt-4.1", "input": "Hello"}),
        ("/responses", {"model": "gpt-4.1", "input": "Hello", "stream": True}),
    ]
    for path, body in calls:
        answer = served(caller.post(path, json=body))
        assert answer.headers["x-relay-version"] == "v1"
        streams = answer.headers["content-type"].startswith("text/event-stream")
        assert streams is body.get("stream", False)


def test_the_model_list(one: Relay) -> None:
    """OpenAI's shape; it too names version and config."""
    answer = one.client().get("/models")
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["x-relay-version"] == "v1"
    assert answer.headers["x-relay-config-id"].startswith("config-")
    assert answer.headers["x-request-id"]
    assert body["object"] == "list"
    assert {"id", "object", "created", "owned_by"} == set(body["data"][0])


def test_a_request_id_is_kept_if_it_is_one(one: Relay, the_provider: Provider) -> None:
    """1 to 128 visible characters go through to the provider and back; others are replaced."""
    caller = one.client()
    for given in ("a", "trace/42:7", "x" * 128):
        answer = caller.post("/chat/completions", json=chat(), headers={"X-Request-Id": given})
        assert answer.headers["x-request-id"] == given
        assert answer.headers["x-upstream-request-id"].startswith("req_")
        assert len(the_provider.requests(given)) == 1
    for bad in ("two words", "x" * 129):
        answer = caller.post("/chat/completions", json=chat(), headers={"X-Request-Id": bad})
        assert answer.headers["x-request-id"].startswith("req_")


def test_the_provider_never_sees_the_callers_key(one: Relay, the_provider: Provider) -> None:
    """It is sent its own key; a body cannot redirect the request either."""
    headers = {"X-Request-Id": "whose-key", "Cookie": "session=1"}
    body = chat(api_base="http://127.0.0.1:1", base_url="http://127.0.0.1:1")
    served(one.client().post("/chat/completions", json=body, headers=headers))
    (seen,) = the_provider.requests("whose-key")
    sent = dict(seen["headers"])
    assert sent["authorization"] == "Bearer sk-provider"
    assert one.admin_key not in str(seen)
    assert "cookie" not in sent
    assert "api_base" not in seen["body"]
    assert "base_url" not in seen["body"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer gs_unknown"},
        {"authorization": "Basic Z3M6Z3M="},
        {"authorization": "Bearer"},
        {"x-api-key": "gs_unknown"},
    ],
    ids=["none", "unknown", "not-bearer", "empty", "x-api-key"],
)
def test_a_key_that_is_none(one: Relay, headers: dict[str, str]) -> None:
    """Missing, malformed and unknown keys are all alike, on both sides of the API."""
    caller = one.client(key="", headers=headers)
    bodies = []
    for method, path in (
        ("GET", "/models"),
        ("POST", "/chat/completions"),
        ("GET", "/admin/versions"),
        ("POST", "/admin/rollback"),
    ):
        answer = caller.request(method, path)
        error = refused(answer, 401, "invalid_api_key")
        assert error["message"].startswith("Authentication failed")
        bodies.append(answer.json())
    assert all(body == bodies[0] for body in bodies)


def test_x_api_key_will_do(one: Relay) -> None:
    """Clients that send `x-api-key` are let in by it."""
    caller = one.client(key="", headers={"x-api-key": one.admin_key})
    served(caller.post("/chat/completions", json=chat()))
    assert caller.get("/admin/versions").status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b'{"model": "gpt-4.1",}', None),
        (b"[]", None),
        (b'"gpt-4.1"', None),
        (b"\xff\xfe{}", None),
        (b'{"messages": []}', "model"),
        (b'{"model": 4.1}', "model"),
        (b'{"model": ""}', "model"),
        (b'{"model": null}', "model"),
        (b'{"model": "gpt-4.1", "stream": "yes"}', "stream"),
        (b"[" * 100_000, None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_malformed_body_is_a_400(one: Relay, body: bytes, param: str | None) -> None:
    """What is no JSON object with a model is refused by the relay, saying where it is wrong."""
    error = refused(one.client().post("/chat/completions", content=body), 400, "invalid_request")
    assert error["param"] == param


def test_an_unknown_model_is_a_404_with_the_nearest_names(one: Relay) -> None:
    """The message begins with the tutorial's sentence, and a slip is put right."""
    answer = one.client().post("/chat/completions", json=chat("gpt-4.2"))
    error = refused(answer, 404, "model_not_found")
    assert error["message"].startswith("Model 'gpt-4.2' is not available")
    assert "gpt-4.1" in error["message"]
    assert error["param"] == "model"


def test_an_unknown_version_is_a_404_with_those_there_are(relay: Relay) -> None:
    """A header that names no version is never ignored."""
    headers = {"X-Relay-Version": "v9"}
    answer = relay.client().post("/chat/completions", json=chat(), headers=headers)
    error = refused(answer, 404, "version_not_found")
    assert error["message"].startswith("Target version 'v9' does not exist")
    assert "stable" in error["message"]


def test_beta_is_stable_where_there_is_no_candidate(relay: Relay) -> None:
    """`beta` always resolves; the answer says who really served, in any case of the header."""
    for header in ("X-Relay-Version", "x-relay-version", "X-RELAY-VERSION"):
        answer = relay.client().post("/chat/completions", json=chat(), headers={header: "beta"})
        assert served(answer).headers["x-relay-version"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("POST", "/files"),
        ("DELETE", "/models/gpt-4.1"),
        ("GET", "/admin"),
        ("GET", "/admin/nothing"),
        ("GET", "/admin/versions/"),
    ],
)
def test_an_unknown_path_is_a_404_in_the_error_shape(one: Relay, method: str, path: str) -> None:
    """Nothing under /v1 answers HTML or an empty page."""
    answer = one.client().request(method, path)
    error = answer.json()["error"]
    assert answer.status_code == 404
    assert set(error) == {"code", "message", "type", "param"}
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/chat/completions"), ("POST", "/models"), ("DELETE", "/admin/versions")],
)
def test_a_wrong_method_is_a_405_that_names_the_right_one(
    one: Relay, method: str, path: str
) -> None:
    """The Allow header says what would be possible."""
    answer = one.client().request(method, path)
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"]


def test_a_body_over_the_limit_is_a_413(relay: Relay) -> None:
    """Announced or in chunks of unknown number, too much is refused and the next call is served."""
    caller = relay.client()
    text = "x" * (300 * 1024)

    def chunks() -> Any:
        for _ in range(30):
            yield b"x" * 16_384

    announced = caller.post("/chat/completions", json=chat(user=text))
    chunked = caller.post("/chat/completions", content=chunks())
    refused(announced, 413, "body_too_large")
    refused(chunked, 413, "body_too_large")
    served(caller.post("/chat/completions", json=chat()))


def test_headers_over_the_limit_are_a_431(one: Relay) -> None:
    """Endless headers are refused in the error shape, and the connection is closed."""
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=10)
    try:
        connection.putrequest("GET", "/v1/models")
        for number in range(20):
            connection.putheader(f"X-Long-{number}", "x" * 4000)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert answer.status == 431
    assert b'"param"' in body


def test_the_probes_need_no_key(one: Relay) -> None:
    """/healthz and /readyz are for machines that watch; /metrics is for keys with scope read."""
    root = f"http://127.0.0.1:{one.port}"
    stranger = one.client(key="")
    ready = stranger.get(f"{root}/readyz")
    assert stranger.get(f"{root}/healthz").status_code == 200
    assert ready.status_code == 200
    assert ready.json()["status"] == "ok", ready.text
    refused(stranger.get(f"{root}/metrics"), 401, "invalid_api_key")
    assert one.client().get(f"{root}/metrics").status_code == 200


def test_a_caller_who_leaves_is_counted_as_gone(one: Relay) -> None:
    """The upstream is let go at once, and the request is nobody's error."""
    before = gone(one)
    with one.client() as caller:
        body = chat("slow", stream=True)
        with caller.stream("POST", "/chat/completions", json=body) as answer:
            next(answer.iter_bytes())
    for _ in range(100):
        if gone(one) > before:
            return
    raise AssertionError("the caller who left was never counted")


def gone(relay: Relay) -> int:
    """How many callers have left before their answer was complete."""
    with relay.client() as admin:
        versions = admin.get("/admin/metrics/errors").json()["versions"]
        return sum(version["client_gone"] for version in versions)
