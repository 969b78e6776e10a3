"""JSON calls through the whole relay."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from grayscale.relay.app import Listener
from grayscale.testing.upstreams import Behaviour, Fault, Upstream
from tests.relay.harness import (
    CANDIDATE,
    MODEL,
    OPERATOR,
    PATIENCE_SECONDS,
    SECRET,
    STABLE,
    chat,
    config,
    key,
    relay,
    snapshot,
)

_CHAT = "/v1/chat/completions"


async def test_chat_completion_passes(tmp_path: Path) -> None:
    """A chat completion reaches the upstream under its model name and comes back as it was."""
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat(temperature=0.7))
        assert answer.status_code == 200
        assert answer.json()["choices"][0]["message"]["role"] == "assistant"
        assert answer.headers["x-relay-version"] == STABLE
        assert answer.headers["x-relay-config-id"] == "config-1"
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["x-upstream-request-id"] == "req_1"
        relay_part, upstream_part = answer.headers["server-timing"].split(", ")
        assert 0 < float(relay_part.removeprefix("relay;dur=")) < 1000
        assert 0 < float(upstream_part.removeprefix("upstream;dur=")) < 1000
        sent = upstream.requests[-1]
        assert sent.model == "gpt-4.1-2025"
        assert sent.header("authorization") == "Bearer sk-upstream-main"
        cell = running.cell(STABLE)
        assert (cell.started, cell.ok, cell.errors) == (1, 1, 0)
        assert cell.tokens_out > 0
        assert {cell_key.model for cell_key in running.cells()} == {MODEL}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": MODEL, "prompt": "Hi"}),
        ("/v1/embeddings", {"model": MODEL, "input": "Hi"}),
        ("/v1/responses", {"model": MODEL, "input": "Hi"}),
    ],
)
async def test_other_surfaces_pass(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    """The other proxied calls take the same way: model, version, counting."""
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        answer = await client.post(path, json=body)
        assert answer.status_code == 200
        assert answer.headers["x-relay-version"] == STABLE
        assert (upstream.requests[-1].path, upstream.requests[-1].model) == (path, "gpt-4.1-2025")
        assert running.cell(STABLE).ok == 1
        assert running.cell(STABLE).tokens_in > 0


async def test_pinning_by_header(tmp_path: Path) -> None:
    """X-Relay-Version pins in any case of the header's name; the answer says who served."""
    state = snapshot(candidate=config(model="gpt-4.1-2026"), weight=0)
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, state) as running,
        running.client() as client,
    ):
        for name, value, version in [
            ("X-Relay-Version", "beta", CANDIDATE),
            ("x-relay-VERSION", CANDIDATE, CANDIDATE),
            ("X-Relay-Version", "stable", STABLE),
        ]:
            answer = await client.post(_CHAT, json=chat(), headers={name: value})
            assert answer.headers["x-relay-version"] == version
        assert upstream.requests[0].model == "gpt-4.1-2026"
        assert running.cell(CANDIDATE, "pinned").ok == 2
        answer = await client.post(_CHAT, json=chat(), headers={"X-Relay-Version": "v7"})
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "version_not_found"
        assert "v2-beta" in answer.json()["error"]["message"]


async def test_models_list(tmp_path: Path) -> None:
    """GET /v1/models is OpenAI's list, of the version and the models that the caller may use."""
    models = {
        "gpt-4.1": {"upstream": "main", "model": "a", "aliases": ["gpt-4"]},
        "gemini-2.5-flash": {"upstream": "main", "model": "b"},
    }
    limited = key("gs_limited_0123456789abcdef012345", models=frozenset({"gemini-2.5-flash"}))
    state = snapshot(config(models=models), keys=(key(), limited))
    async with relay(tmp_path, {"main": "http://127.0.0.1:9/v1"}, state) as running:
        async with running.client() as client:
            answer = await client.get("/v1/models")
        assert answer.status_code == 200
        assert answer.json()["object"] == "list"
        ids = [model["id"] for model in answer.json()["data"]]
        assert ids == ["gemini-2.5-flash", "gpt-4", "gpt-4.1"]
        for model in answer.json()["data"]:
            assert (model["object"], model["owned_by"]) == ("model", "main")
            assert isinstance(model["created"], int)
        headers = {"authorization": "Bearer gs_limited_0123456789abcdef012345"}
        async with running.client(headers=headers) as client:
            answer = await client.get("/v1/models")
            assert [model["id"] for model in answer.json()["data"]] == ["gemini-2.5-flash"]
            refused = await client.post(_CHAT, json=chat())
            assert refused.status_code == 404
            assert refused.json()["error"]["code"] == "model_not_found"
            assert "gemini-2.5-flash" in refused.json()["error"]["message"]


async def test_refusals_have_one_shape(tmp_path: Path) -> None:
    """Every error of the relay's own is OpenAI's shape, names its source, and is told apart."""
    no_scope = key("gs_reader_0123456789abcdef0123456", scopes=frozenset({"read"}))
    state = snapshot(keys=(key(), no_scope))
    async with (
        relay(tmp_path, {"main": "http://127.0.0.1:9/v1"}, state) as running,
        running.client() as client,
    ):
        other = {"authorization": "Bearer gs_reader_0123456789abcdef0123456"}
        answers = {
            "invalid_api_key": await client.post(
                _CHAT, json=chat(), headers={"authorization": "Bearer nonsense"}
            ),
            "insufficient_scope": await client.post(_CHAT, json=chat(), headers=other),
            "invalid_request": await client.post(_CHAT, content=b"{"),
            "model_not_found": await client.post(_CHAT, json=chat(model="gpt-9")),
            "unknown_path": await client.get("/v1/files"),
            "method_not_allowed": await client.get(_CHAT),
            "upstream_unreachable": await client.post(_CHAT, json=chat()),
        }
        statuses = [answer.status_code for answer in answers.values()]
        assert statuses == [401, 403, 400, 404, 404, 405, 502]
        for code, answer in answers.items():
            error = answer.json()["error"]
            assert set(error) == {"code", "message", "type", "param"}
            assert error["code"] == code
            assert answer.headers["x-relay-error-source"] == "relay"
            assert answer.headers["x-request-id"]
            assert ("x-should-retry" in answer.headers) == (answer.status_code < 500)
        assert answers["method_not_allowed"].headers["allow"] == "POST"
        assert running.cell(STABLE).started == 1  # only the one that was assigned


async def test_connection_survives_refusals(tmp_path: Path) -> None:
    """A refused call with a small body leaves its connection usable."""
    async with (
        relay(tmp_path, {"main": "http://127.0.0.1:9/v1"}, snapshot()) as running,
        running.client() as client,
    ):
        for _ in range(3):
            answer = await client.post(_CHAT, json=chat(), headers={"authorization": "x"})
            assert answer.status_code == 401
            assert "connection" not in answer.headers
        assert len(running.server.connections) == 1


async def test_rate_limit(tmp_path: Path) -> None:
    """Over its rate a key gets 429 with the time to wait, in seconds and milliseconds."""
    state = snapshot(keys=(key(requests_per_minute=2),))
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, state) as running,
        running.client() as client,
    ):
        answers = [await client.post(_CHAT, json=chat()) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        error = answers[2].json()["error"]
        assert (error["code"], error["type"]) == ("rate_limit_exceeded", "requests")
        assert error["message"].startswith("Too many requests")
        assert 1 <= int(answers[2].headers["retry-after"]) <= 30
        assert int(answers[2].headers["retry-after-ms"]) <= 30_000
        assert upstream.total == 2


async def test_tokens_are_counted_against_the_key(tmp_path: Path) -> None:
    """What upstreams say was used is taken off the key's tokens per minute."""
    state = snapshot(keys=(key(tokens_per_minute=40),))
    async with (
        Upstream(Behaviour(tokens=50)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, state) as running,
        running.client() as client,
    ):
        assert (await client.post(_CHAT, json=chat())).status_code == 200
        refused = await client.post(_CHAT, json=chat())
        assert refused.status_code == 429
        assert refused.json()["error"]["type"] == "tokens"


async def test_upstream_errors_pass_byte_exact(tmp_path: Path) -> None:
    """An upstream's error comes back with its status, body and Retry-After, and says whose it is."""
    behaviour = Behaviour(error_rate=1, error_status=429, retry_after_seconds=7)
    async with (
        Upstream(behaviour) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat())
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "7"
        assert answer.headers["x-relay-error-source"] == "upstream"
        assert answer.json()["error"]["message"] == "Rate limit reached."
        cell = running.cell(STABLE)
        assert (cell.started, cell.upstream_error, cell.by_code) == (1, 1, {"429": 1})


@pytest.mark.parametrize(
    ("behaviour", "outcome", "code"),
    [
        (Behaviour(error_rate=1, error_status=500), "upstream_error", "500"),
        (Behaviour(error_rate=1, error_status=408), "upstream_error", "408"),
        (Behaviour(error_rate=1, error_status=401), "config_error", "401"),
        (Behaviour(missing_models=("gpt-4.1-2025",)), "config_error", "404"),
        (Behaviour(error_rate=1, error_status=422), "rejected", "422"),
        (Behaviour(reject_parameters=("temperature",)), "rejected", "400"),
    ],
)
async def test_outcomes_by_status(
    tmp_path: Path, behaviour: Behaviour, outcome: str, code: str
) -> None:
    """An upstream's status decides the outcome; the caller sees that very status."""
    async with (
        Upstream(behaviour) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat(temperature=1))
        assert str(answer.status_code) == code
        cell = running.cell(STABLE)
        assert (cell.started, getattr(cell, outcome), cell.by_code) == (1, 1, {code: 1})


@pytest.mark.parametrize(
    "fault", [Fault.GARBAGE_HTML, Fault.GARBAGE_JSON, Fault.CUT_STREAM, Fault.REFUSE]
)
async def test_garbage_is_502(tmp_path: Path, fault: Fault) -> None:
    """A 200 that is no answer never reaches a caller as one: 502, and the version's error."""
    async with (
        Upstream(Behaviour(fault=fault)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat())
        assert answer.status_code == 502
        assert answer.json()["error"]["type"] == "server_error"
        assert answer.headers["x-relay-error-source"] == "relay"
        assert running.cell(STABLE).upstream_error == 1
        assert upstream.total == 1  # a POST is never sent twice


async def test_error_in_a_200_counts_as_an_error(tmp_path: Path) -> None:
    """A 200 whose body is an error counts as one, whatever its status says."""
    async with (
        Upstream(Behaviour(fault=Fault.ERROR_FRAME)) as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat())
        assert "error" in answer.json()
        assert running.cell(STABLE).upstream_error == 1


@pytest.mark.parametrize("limit", ["first_byte_seconds", "total_seconds"])
async def test_hanging_upstream_is_504(tmp_path: Path, limit: str) -> None:
    """An upstream that hangs is given up at the limit, and its connection is closed."""
    async with (
        Upstream(Behaviour(fault=Fault.HANG)) as upstream,
        relay(
            tmp_path, {"main": upstream.base_url}, snapshot(config(timeouts={limit: 0.1}))
        ) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat())
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "upstream_timeout"
        assert running.cell(STABLE).by_code == {"504": 1}
        await asyncio.wait_for(upstream.requests[-1].ended.wait(), PATIENCE_SECONDS)
        assert upstream.requests[-1].client_gone


async def test_cookies_of_an_upstream_stay_there(tmp_path: Path) -> None:
    """No caller sees an upstream's cookie, and none is sent on a later caller's behalf."""
    behaviour = Behaviour(response_headers={"Set-Cookie": "who=alice; Path=/"})
    async with (
        Upstream(behaviour) as upstream,
        relay(
            tmp_path, {"main": upstream.base_url.replace("127.0.0.1", "localhost")}, snapshot()
        ) as running,
        running.client() as client,
    ):
        for _ in range(2):
            answer = await client.post(_CHAT, json=chat(), headers={"cookie": "mine=1"})
            assert "set-cookie" not in answer.headers
        assert [sent.header("cookie") for sent in upstream.requests] == [None, None]


async def test_request_id_is_kept_and_passed_on(tmp_path: Path) -> None:
    """A caller's request id is his answer's, and reaches the upstream."""
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat(), headers={"x-request-id": "mine-1"})
        assert answer.headers["x-request-id"] == "mine-1"
        assert upstream.requests[-1].header("x-request-id") == "mine-1"


async def test_version_changes_the_call(tmp_path: Path) -> None:
    """What a version says about parameters and prompt is what the upstream gets."""
    stable = config(
        parameters={"temperature": 0.2}, system_prompt={"text": "Be brief."}, defaults={"n": 1}
    )
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot(stable)) as running,
        running.client() as client,
    ):
        await client.post(_CHAT, json=chat(temperature=1, api_base="http://evil"))
        sent = json.loads(upstream.requests[-1].body)
        assert sent["temperature"] == 0.2
        assert sent["n"] == 1
        assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
        assert "api_base" not in sent


async def test_body_over_the_limit_is_413(tmp_path: Path) -> None:
    """A body over the limit is refused, declared or not, and the caller can read why."""

    async def pieces() -> Any:
        for _ in range(64):
            yield b" " * 65536

    async with (
        relay(
            tmp_path, {"main": "http://127.0.0.1:9/v1"}, snapshot(), limits={"body_mib": 1}
        ) as running,
        running.client() as client,
    ):
        for content in (b" " * 3_000_000, pieces()):
            answer = await client.post(_CHAT, content=content)
            assert answer.status_code == 413
            assert "1 MiB" in answer.json()["error"]["message"]


async def test_encoded_body_is_415(tmp_path: Path) -> None:
    """A compressed body is refused: nobody can send a bomb."""
    async with (
        relay(tmp_path, {"main": "http://127.0.0.1:9/v1"}, snapshot()) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, content=b"x", headers={"content-encoding": "gzip"})
        assert answer.status_code == 415


async def test_overload_is_503(tmp_path: Path) -> None:
    """Over the number of requests that a worker takes, the next is told to come back."""
    async with (
        Upstream(Behaviour(latency_ms=300)) as upstream,
        relay(
            tmp_path, {"main": upstream.base_url}, snapshot(), limits={"in_flight": 2}
        ) as running,
        running.client() as client,
    ):
        answers = await asyncio.gather(*(client.post(_CHAT, json=chat()) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503]
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert refused.json()["error"]["code"] == "overloaded"
        assert refused.headers["retry-after"] == "1"


async def test_without_a_snapshot_nothing_is_served(tmp_path: Path) -> None:
    """Before its first configuration a relay says 503, not 401: the key may well be good."""
    async with (
        relay(tmp_path, {"main": "http://127.0.0.1:9/v1"}) as running,
        running.client() as client,
    ):
        answer = await client.post(_CHAT, json=chat())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_listeners(tmp_path: Path) -> None:
    """With a listener of its own the admin API is 404 on the callers', and nothing else on its own."""
    upstreams = {"main": "http://127.0.0.1:9/v1"}
    expected = {
        Listener.ALL: {"/v1/admin/keys": 200, "/healthz": 200, "/v1/models": 200},
        Listener.CALLERS: {"/v1/admin/keys": 404, "/healthz": 200, "/v1/models": 200},
        Listener.ADMIN: {"/v1/admin/keys": 200, "/metrics": 200, "/v1/models": 404},
    }
    for listener, paths in expected.items():
        async with (
            relay(tmp_path, upstreams, snapshot(), listener=listener) as running,
            running.client() as client,
        ):
            got = {path: (await client.get(path)).status_code for path in paths}
            assert got == paths


async def test_operators_may_pin_what_was_taken_out(tmp_path: Path) -> None:
    """A braked candidate gets no traffic, and answers 409 to a pin without scope `operate`."""
    state = snapshot(candidate=config(model="gpt-4.1-2026"), weight=100)
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, state) as running,
        running.client() as client,
    ):
        running.runtime.brake.ban(9)
        assert (await client.post(_CHAT, json=chat())).headers["x-relay-version"] == STABLE
        pin = {"x-relay-version": CANDIDATE}
        assert (await client.post(_CHAT, json=chat(), headers=pin)).status_code == 409
        allowed = pin | {"authorization": f"Bearer {OPERATOR}"}
        answer = await client.post(_CHAT, json=chat(), headers=allowed)
        assert answer.headers["x-relay-version"] == CANDIDATE
        beta = await client.post(_CHAT, json=chat(), headers={"x-relay-version": "beta"})
        assert beta.headers["x-relay-version"] == STABLE
        assert SECRET not in repr(running.runtime.snapshot)
