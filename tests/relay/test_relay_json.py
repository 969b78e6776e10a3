"""JSON calls through the whole relay."""

from pathlib import Path

from grayscale.testing.upstreams import Upstream
from tests.relay.harness import MODEL, STABLE, chat, relay, snapshot


async def test_chat_completion_passes(tmp_path: Path) -> None:
    """A chat completion reaches the upstream under its model name and comes back as it was."""
    async with (
        Upstream() as upstream,
        relay(tmp_path, {"main": upstream.base_url}, snapshot()) as running,
        running.client() as client,
    ):
        answer = await client.post("/v1/chat/completions", json=chat(temperature=0.7))
        assert answer.status_code == 200
        assert answer.json()["choices"][0]["message"]["role"] == "assistant"
        assert answer.headers["x-relay-version"] == STABLE
        assert answer.headers["x-relay-config-id"] == "config-1"
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["x-upstream-request-id"] == "req_1"
        assert "upstream;dur=" in answer.headers["server-timing"]
        sent = upstream.requests[-1]
        assert sent.model == "gpt-4.1-2025"
        assert sent.header("authorization") == "Bearer sk-upstream-main"
        cell = running.cell(STABLE)
        assert (cell.started, cell.ok, cell.errors) == (1, 1, 0)
        assert cell.tokens_out > 0
        assert {cell_key.model for cell_key in running.cells()} == {MODEL}
