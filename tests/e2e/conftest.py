"""Relays with one worker and with two, in front of one provider whose models each have a manner."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.e2e.processes import Provider, Relay, await_ready, begin, end, free_port, provider

BEHAVIOUR = {
    "api_key": "sk-provider",
    "missing_models": ["gpt-4.1-of-tomorrow"],
    "models": {
        "breaks": {"error_rate": 1, "error_status": 503, "retry_after_seconds": 7},
        "busy": {"error_rate": 1, "error_status": 429, "retry_after_seconds": 3},
        "hangs": {"fault": "hang"},
        "hangs-up": {"fault": "refuse"},
        "html": {"fault": "garbage_html"},
        "half-json": {"fault": "garbage_json"},
        "cuts": {"fault": "cut_stream"},
        "stalls": {"fault": "stall_stream"},
        "error-frame": {"fault": "error_frame"},
        "error-first": {"fault": "error_frame", "cut_after_chunks": 0},
        "slow": {"latency_ms": 800, "ttft_ms": 20, "tokens": 20, "chunk_delay_ms": 40},
    },
}
SEED_MODELS = ("gpt-4.1", "claude-sonnet-4-5", "gemini-2.5-flash", "deepseek-v3.2")


def settings(base_url: str) -> dict[str, Any]:
    """grayscale.yaml: the seed's models, one of each bad manner, and one that nobody serves."""
    names = (*SEED_MODELS, "text-embedding-3-small", *BEHAVIOUR["models"])
    models: dict[str, Any] = {name: {"upstream": "main", "model": name} for name in names}
    models["nowhere"] = {"upstream": "gone", "model": "nowhere"}
    return {
        "upstreams": {
            "main": {"base_url": base_url, "api_key": "sk-provider"},
            "gone": {"base_url": f"http://127.0.0.1:{free_port()}/v1"},
        },
        "models": models,
        "limits": {"body_mib": 0.25, "drain_seconds": 1},
        "prefect": {"enabled": False},
    }


@pytest.fixture(scope="package")
def the_provider(measured_environment: Mapping[str, str]) -> Iterator[Provider]:
    with provider(BEHAVIOUR, measured_environment) as running:
        yield running


@pytest.fixture(scope="package")
def relays(
    the_provider: Provider,
    measured_environment: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[int, Relay]]:
    """Both relays, started side by side."""
    started: dict[int, Relay] = {}
    try:
        for workers in (1, 2):
            folder = tmp_path_factory.mktemp(f"relay{workers}")
            given = settings(the_provider.base_url)
            started[workers] = begin(folder, given, workers=workers, measured=measured_environment)
        for relay in started.values():
            await_ready(relay)
        yield started
    finally:
        for relay in started.values():
            relay.hang_up()
            relay.process.terminate()
        for relay in started.values():
            end(relay.process)


@pytest.fixture(params=[1, 2], ids=["1-worker", "2-workers"])
def relay(request: pytest.FixtureRequest, relays: dict[int, Relay]) -> Iterator[Relay]:
    """A relay with all its traffic on stable, and no release under way."""
    chosen = relays[request.param]
    quieten(chosen)
    yield chosen
    chosen.hang_up()


@pytest.fixture
def one(relays: dict[int, Relay]) -> Iterator[Relay]:
    """The relay with one worker, where a second one could not matter."""
    quieten(relays[1])
    yield relays[1]
    relays[1].hang_up()


def quieten(relay: Relay) -> None:
    """End releases that a test has left, and give stable the traffic."""
    with relay.client() as admin:
        for release in admin.get("/admin/releases?limit=500").json()["data"]:
            if release["finished_at"] is None:
                admin.post(f"/admin/releases/{release['id']}/abort").raise_for_status()
                admin.get(f"/admin/releases/{release['id']}/wait?timeout_seconds=10")
        done = admin.post("/admin/rollback", json={"force": True})
        assert done.status_code == 200 or done.json()["error"]["code"] == "nothing_to_roll_back"


@pytest.fixture
def admin(relay: Relay) -> httpx.Client:
    """An operator of `relay` with every scope."""
    return relay.client()
