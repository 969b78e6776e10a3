"""The test upstream misbehaves exactly as it is told."""

import asyncio
import json
import time
from collections import Counter

import httpx
import pytest
from pydantic import ValidationError

from grayscale.testing.behaviour import Behaviour, Dice, Fault, Manners
from grayscale.testing.upstreams import Upstream


def chat(model: str = "m", **fields: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}


async def post(upstream: Upstream, body: dict[str, object], **options: object) -> httpx.Response:
    headers = options.get("headers")
    async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
        return await client.post(
            f"{upstream.base_url}/chat/completions",
            json=body,
            headers=headers if isinstance(headers, dict) else None,
        )


async def test_error_rate_is_kept_per_model() -> None:
    """One server can be sound for model A while a fifth of model B's requests fail."""
    behaviour = Behaviour(models={"b": Manners(error_rate=0.2)}, seed=7)
    async with Upstream(behaviour) as upstream, httpx.AsyncClient(trust_env=False) as client:
        statuses: dict[str, Counter[int]] = {"a": Counter(), "b": Counter()}
        for number in range(200):
            model = "ab"[number % 2]
            url = f"{upstream.base_url}/chat/completions"
            answer = await client.post(url, json=chat(model))
            statuses[model][answer.status_code] += 1
    assert statuses["a"] == {200: 100}
    assert 10 <= statuses["b"][500] <= 30


def test_same_seed_same_fates() -> None:
    """The n-th request for a model meets the same fate in every run, whoever else calls."""
    manners = Manners(error_rate=0.3)
    alone, crowded, other = Dice(1), Dice(1), Dice(2)
    expected = [alone.roll("m", manners) for _ in range(50)]
    seen = []
    for _ in range(50):
        crowded.roll("another", manners)
        seen.append(crowded.roll("m", manners))
    assert seen == expected
    assert [other.roll("m", manners) for _ in range(50)] != expected


def test_fates_do_not_shift_when_manners_change() -> None:
    """A request's draws stay the same when an unrelated setting changes."""
    plain, with_fault = Dice(3), Dice(3)
    errors = [plain.roll("m", Manners(error_rate=0.5)).is_error for _ in range(30)]
    shifted = [
        with_fault.roll("m", Manners(error_rate=0.5, fault=Fault.HANG, fault_rate=0.1)).is_error
        for _ in range(30)
    ]
    assert shifted == errors


async def test_errors_carry_retry_after() -> None:
    """An injected 429 has OpenAI's code and the Retry-After that was asked for."""
    manners = Behaviour(error_rate=1, error_status=429, retry_after_seconds=2.5)
    async with Upstream(manners) as upstream:
        answer = await post(upstream, chat())
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "2.5"
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"


async def test_other_refusals_are_invalid_requests() -> None:
    """An injected 4xx other than 429 has the type of an invalid request."""
    async with Upstream(Behaviour(error_rate=1, error_status=422)) as upstream:
        answer = await post(upstream, chat())
    assert answer.status_code == 422
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_missing_model_is_404() -> None:
    """A model that is said to be missing gets 404 model_not_found, the others are served."""
    async with Upstream(Behaviour(missing_models=("gone",))) as upstream:
        missing = await post(upstream, chat("gone"))
        served = await post(upstream, chat("there"))
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
    assert served.status_code == 200


async def test_rejected_parameter_is_400() -> None:
    """A body field that is said to be unsupported is refused by name."""
    async with Upstream(Behaviour(reject_parameters=("temperature",))) as upstream:
        refused = await post(upstream, chat(temperature=0.2))
        served = await post(upstream, chat())
    error = refused.json()["error"]
    assert refused.status_code == 400
    assert (error["code"], error["param"]) == ("unsupported_parameter", "temperature")
    assert served.status_code == 200


async def test_key_is_demanded() -> None:
    """With an api_key set, another key is 401."""
    async with Upstream(Behaviour(api_key="sk-right")) as upstream:
        wrong = await post(upstream, chat(), headers={"authorization": "Bearer sk-wrong"})
        right = await post(upstream, chat(), headers={"authorization": "Bearer sk-right"})
    assert (wrong.status_code, right.status_code) == (401, 200)


async def test_refuse_closes_the_socket() -> None:
    """`refuse` gives no answer at all."""
    async with Upstream(Behaviour(fault=Fault.REFUSE)) as upstream:
        with pytest.raises(httpx.RemoteProtocolError):
            await post(upstream, chat())


async def test_hang_never_answers() -> None:
    """`hang` keeps the socket open and says nothing; the caller's leaving is recorded."""
    async with Upstream(Behaviour(fault=Fault.HANG)) as upstream:
        async with httpx.AsyncClient(
            timeout=httpx.Timeout(20, read=0.2), trust_env=False
        ) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(f"{upstream.base_url}/chat/completions", json=chat())
        async with asyncio.timeout(20):
            await upstream.requests[-1].ended.wait()
        assert upstream.requests[-1].client_gone


@pytest.mark.parametrize("fault", [Fault.GARBAGE_HTML, Fault.GARBAGE_JSON])
async def test_garbage_is_a_200_that_cannot_be_read(fault: Fault) -> None:
    """Garbage has status 200 and no JSON in it."""
    async with Upstream(Behaviour(fault=fault)) as upstream:
        answer = await post(upstream, chat())
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


async def test_cut_stream_ends_without_done() -> None:
    """A cut stream gives the frames before the cut, no [DONE], and an unclean end."""
    behaviour = Behaviour(fault=Fault.CUT_STREAM, cut_after_chunks=4)
    async with Upstream(behaviour) as upstream:
        received, error = await _read_stream(upstream)
    assert received.count("data: ") == 4
    assert "[DONE]" not in received
    assert isinstance(error, httpx.RemoteProtocolError)


async def test_cut_json_answer_is_too_short() -> None:
    """The same fault cuts a whole answer before its promised length."""
    async with Upstream(Behaviour(fault=Fault.CUT_STREAM)) as upstream:
        with pytest.raises(httpx.RemoteProtocolError):
            await post(upstream, chat())


async def test_stalled_stream_begins_and_never_ends() -> None:
    """A stalled stream sends its first frames and then nothing, with the socket open."""
    behaviour = Behaviour(fault=Fault.STALL_STREAM, cut_after_chunks=2)
    async with Upstream(behaviour) as upstream:
        received, error = await _read_stream(upstream, silence_seconds=0.3)
    assert received.count("data: ") == 2
    assert isinstance(error, httpx.ReadTimeout)


async def test_error_frame_comes_inside_a_200() -> None:
    """An error frame arrives in a stream that began well, and no [DONE] follows."""
    async with Upstream(Behaviour(fault=Fault.ERROR_FRAME, cut_after_chunks=2)) as upstream:
        received, error = await _read_stream(upstream)
        whole = await post(upstream, chat())
    frames = received.removesuffix("\n\n").split("\n\n")
    assert error is None
    assert len(frames) == 3
    assert json.loads(frames[-1].removeprefix("data: "))["error"]["code"] == "server_error"
    assert (whole.status_code, "error" in whole.json()) == (200, True)


async def test_latencies_are_waited_for() -> None:
    """A whole answer waits `latency_ms`; a stream waits `ttft_ms`, then between its frames."""
    behaviour = Behaviour(latency_ms=80, ttft_ms=30, tokens=4, chunk_delay_ms=10)
    async with Upstream(behaviour) as upstream:
        began = time.perf_counter()
        await post(upstream, chat())
        whole_seconds = time.perf_counter() - began
        began = time.perf_counter()
        await post(upstream, chat(stream=True))
        stream_seconds = time.perf_counter() - began
    assert whole_seconds >= 0.08
    assert stream_seconds >= 0.03 + 6 * 0.01


async def test_behaviour_changes_at_run_time() -> None:
    """PUT /__behaviour replaces the behaviour whole; a bad one is refused and changes nothing."""
    async with Upstream() as upstream, httpx.AsyncClient(trust_env=False) as client:
        control = f"{upstream.origin}/__behaviour"
        changed = await client.put(control, json={"error_rate": 1, "error_status": 503})
        assert changed.json()["error_status"] == 503
        assert (await post(upstream, chat())).status_code == 503
        refused = await client.put(control, json={"error_rate": 20})
        assert refused.status_code == 422
        assert "less than or equal to 1" in refused.json()["error"]["message"]
        assert (await client.get(control)).json()["error_status"] == 503
        await client.put(control, json={})
        assert (await post(upstream, chat())).status_code == 200


async def test_requests_are_recorded() -> None:
    """GET /__requests shows headers, body, model and status of the latest; DELETE forgets them."""
    async with Upstream() as upstream, httpx.AsyncClient(trust_env=False) as client:
        await post(upstream, chat("m", user="u-1"), headers={"x-trace": "abc"})
        control = f"{upstream.origin}/__requests"
        seen = (await client.get(control)).json()
        recorded = seen["data"][0]
        assert seen["total"] == 1
        assert ["x-trace", "abc"] in recorded["headers"]
        assert json.loads(recorded["body"])["user"] == "u-1"
        assert (recorded["model"], recorded["status"]) == ("m", 200)
        await client.delete(control)
        assert (await client.get(control)).json() == {"total": 0, "data": []}


async def test_record_is_bounded() -> None:
    """Neither many requests nor a large body grow the record without end."""
    async with Upstream() as upstream:
        answer = await post(upstream, chat(padding="x" * 400_000))
        recorded = upstream.requests[-1]
        assert answer.status_code == 200
        assert len(recorded.body) == 256 * 1024
        assert recorded.body_bytes > 400_000
        assert upstream.requests.maxlen == 500


async def test_unknown_control_is_404() -> None:
    """A misspelt control is an error, not an API call that is recorded."""
    async with Upstream() as upstream, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{upstream.origin}/__request")
        assert answer.status_code == 404
        assert upstream.total == 0


async def test_slow_readers_get_the_whole_stream() -> None:
    """A caller that reads nothing for a while stops the stream, which then goes on to its end."""
    async with Upstream(Behaviour(tokens=20_000)) as upstream:
        reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port, limit=1024)
        body = json.dumps(chat(stream=True)).encode()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        await reader.readuntil(b"\r\n\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await upstream.requests[-1].ended.wait()
        received = await reader.read()
        writer.close()
    assert received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert received.count(b"data: ") == 20_003


async def test_stop_and_start_keep_the_port() -> None:
    """A stopped upstream refuses connections; started again it is where it was."""
    upstream = Upstream()
    async with upstream:
        base_url = upstream.base_url
        assert (await post(upstream, chat())).status_code == 200
    with pytest.raises(httpx.ConnectError):
        await post(upstream, chat())
    async with upstream:
        assert upstream.base_url == base_url
        assert (await post(upstream, chat())).status_code == 200


def test_unknown_settings_are_refused() -> None:
    """A misspelt behaviour is an error, not a healthy server."""
    with pytest.raises(ValidationError, match="error_rat"):
        Behaviour.model_validate({"error_rat": 0.2})


async def _read_stream(
    upstream: Upstream, *, silence_seconds: float = 20
) -> tuple[str, Exception | None]:
    """What came of a stream, and how it ended if not well."""
    received = ""
    async with (
        httpx.AsyncClient(
            timeout=httpx.Timeout(20, read=silence_seconds), trust_env=False
        ) as client,
        client.stream(
            "POST", f"{upstream.base_url}/chat/completions", json=chat(stream=True)
        ) as answer,
    ):
        assert answer.status_code == 200
        try:
            async for text in answer.aiter_text():
                received += text
        except httpx.TransportError as error:
            return received, error
    return received, None
