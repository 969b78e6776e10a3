"""What every answer of the admin API carries, and what workers are told about the store."""

from typing import Any

from grayscale.plane import snapshots, workers
from grayscale.plane.plane import Plane


async def test_every_answer_has_a_request_id(api: Any) -> None:
    """The caller's own comes back; without one, or with a bad one, the relay makes one."""
    paths = ("/v1/admin/versions", "/v1/admin/nothing", "/v1/admin/releases/none", "/healthz")
    for path in paths:
        kept = await api.client.get(f"http://relay{path}", headers={"X-Request-Id": "mine-1"})
        made = await api.client.get(f"http://relay{path}", headers={"X-Request-Id": "not mine"})
        assert kept.headers.get_list("x-request-id") == ["mine-1"]
        assert made.headers["x-request-id"].startswith("req_")


async def test_a_refusal_says_whether_to_try_again(api: Any) -> None:
    """Clients that retry 409 by themselves are told that it cannot help."""
    body = {"traffic_split": {"stable": 50}}
    refused = await api.client.post("/admin/traffic/config", json=body)
    assert refused.status_code == 422
    assert refused.headers["x-should-retry"] == "false"
    assert refused.headers["x-relay-error-source"] == "relay"
    assert refused.headers["content-type"] == "application/json"


async def test_a_snapshot_says_when_versions_were_made(plane: Plane) -> None:
    """`created` of the model list is the moment at which the version was made."""
    snapshot = await snapshots.load(plane)
    assert snapshot.stable.created_at == plane.clock.now()


async def test_a_snapshot_counts_the_live_workers(plane: Plane) -> None:
    """A worker knows its share of a key's rate before its first flush."""
    assert (await snapshots.load(plane)).workers == 1
    for worker in ("worker-1", "worker-2"):
        await workers.flush(plane, worker_id=worker, pid=1, applied_seq=0, cells={}, in_flight={})
    assert (await snapshots.load(plane)).workers == 2


async def test_what_was_not_foreseen_is_a_500_in_the_error_shape(api: Any) -> None:
    """The error is logged, the caller is told that it was, and the connection can be used again."""

    async def broken() -> None:
        raise RuntimeError("a bug")

    api.app.state.flush = broken
    failed = await api.get("/admin/metrics/errors", status=500)
    assert failed["error"]["code"] == "internal_error"
    assert failed["error"]["type"] == "server_error"
    assert "bug" not in failed["error"]["message"]
