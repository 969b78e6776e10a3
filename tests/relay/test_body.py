"""Callers' bodies: what is read, what is refused, what a version makes of them."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grayscale.errors import Refused
from grayscale.relay.body import Call, read_call
from grayscale.relay.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, Endpoint
from grayscale.relay.rewrite import plan_rewrite
from grayscale.traffic.versions import VersionConfig

_TARGET = msgspec.Raw(b'"target"')


def _rewritten(
    body: dict[str, Any], endpoint: Endpoint = CHAT, *, metering: bool = False, **fields: Any
) -> dict[str, Any]:
    plan = plan_rewrite(VersionConfig.model_validate(fields), asks_for_usage=metering)
    call = read_call(msgspec.json.encode({"model": "m"} | body), endpoint)
    result = msgspec.json.decode(plan(call, model=_TARGET, endpoint=endpoint))
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "empty"),
        (b"{", "not valid JSON"),
        (b"[]", "JSON object"),
        (b'"text"', "JSON object"),
        (b'{"model": "m", "temperature": NaN}', "not valid JSON"),
        (b'{"model": "m", "x": Infinity}', "not valid JSON"),
        (b'{"model": "m"} trailing', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b'{"model": "\xff"}', "UTF-8"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"messages": []}', "'model' is missing"),
        (b'{"model": 7}', "'model' must be a string"),
        (b'{"model": null}', "'model' must be a string"),
        (b'{"model": ""}', "'model' is empty"),
        (b'{"model": "m", "stream": "yes"}', "'stream' must be true or false"),
        (b'{"model": "m", "stream": true, "stream_options": 1}', "stream_options"),
    ],
)
def test_bad_bodies_are_refused_with_a_sentence(raw: bytes, says: str) -> None:
    """What is no call is 400, and the message says what is wrong with it."""
    with pytest.raises(Refused, match=says) as refused:
        read_call(raw, CHAT)
    assert refused.value.status == 400
    assert refused.value.body()["error"]["type"] == "invalid_request_error"  # type: ignore[index]


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    """Whatever is sent, the reader answers with a call or a refusal, and nothing else."""
    with contextlib.suppress(Refused):
        assert isinstance(read_call(raw, CHAT), Call)


def test_fields_that_routing_needs() -> None:
    """Model, stream and the sticky key are read; the first sticky field that is there counts."""
    raw = b'{"model":"m","stream":true,"prompt_cache_key":"c","user":"u","stream_options":null}'
    call = read_call(raw, CHAT)
    assert (call.model, call.stream, call.sticky_key) == ("m", True, "u")
    assert not call.wants_usage
    raw = b'{"model":"m","user":5,"safety_identifier":"","prompt_cache_key":"c"}'
    assert read_call(raw, CHAT).sticky_key == "c"


def test_embeddings_do_not_stream() -> None:
    """`stream` means nothing where there are no streams."""
    assert not read_call(b'{"model":"m","stream":true}', EMBEDDINGS).stream


def test_untouched_values_pass_as_sent() -> None:
    """Values that no version touches keep every byte: number format, spaces, escapes."""
    raw = b'{"model":"m","temperature": 1.50e0,"messages":[ {"role":"user","content":"\\u00e9"} ]}'
    plan = plan_rewrite(VersionConfig(), asks_for_usage=False)
    out = plan(read_call(raw, CHAT), model=_TARGET, endpoint=CHAT)
    assert b"1.50e0" in out
    assert b'[ {"role":"user","content":"\\u00e9"} ]' in out
    assert b'"model":"target"' in out


def test_repeated_names_cannot_smuggle() -> None:
    """Of a name given twice only the value that was checked goes out."""
    plan = plan_rewrite(VersionConfig(), asks_for_usage=False)
    raw = b'{"model":"a","api_base":"x","model":"b","api_base":"http://evil"}'
    out = plan(read_call(raw, CHAT), model=_TARGET, endpoint=CHAT)
    assert out == b'{"model":"target"}'


def test_defaults_and_parameters() -> None:
    """Defaults speak where the caller is silent, parameters win over him, some are removed."""
    out = _rewritten(
        {"temperature": 0.9, "top_p": 0.5, "logit_bias": {}, "base_url": "http://evil"},
        defaults={"top_p": 0.1, "max_tokens": 100},
        parameters={"temperature": 0.2},
        remove_parameters=["logit_bias"],
    )
    assert out == {"model": "target", "temperature": 0.2, "top_p": 0.5, "max_tokens": 100}


def test_parameters_cannot_replace_what_routing_decided() -> None:
    """A version's parameters change neither the model nor whether the answer streams."""
    out = _rewritten({}, parameters={"model": "other", "stream": True}, remove_parameters=["model"])
    assert out == {"model": "target"}


def test_embeddings_get_their_own_parameters_only() -> None:
    """A temperature is not put into an embedding call, nor dimensions into a chat."""
    parameters = {"temperature": 0.2, "dimensions": 256}
    assert _rewritten({}, EMBEDDINGS, parameters=parameters) == {
        "model": "target",
        "dimensions": 256,
    }
    assert _rewritten({}, CHAT, parameters=parameters) == {"model": "target", "temperature": 0.2}


def test_system_prompt_before_messages() -> None:
    """A prompt goes before the caller's messages, or instead of his instructions."""
    messages = [{"role": "system", "content": "mine"}, {"role": "user", "content": "hi"}]
    first = {"role": "system", "content": "ours"}
    prepended = _rewritten({"messages": messages}, system_prompt={"text": "ours"})
    assert prepended["messages"] == [first, *messages]
    replaced = _rewritten({"messages": messages}, system_prompt={"text": "ours", "mode": "replace"})
    assert replaced["messages"] == [first, messages[1]]


def test_system_prompt_as_instructions() -> None:
    """On the responses surface a prompt goes into `instructions`."""
    prompt = {"text": "ours"}
    assert _rewritten({}, RESPONSES, system_prompt=prompt)["instructions"] == "ours"
    both = _rewritten({"instructions": "mine"}, RESPONSES, system_prompt=prompt)
    assert both["instructions"] == "ours\n\nmine"
    replacing = prompt | {"mode": "replace"}
    out = _rewritten({"instructions": "mine"}, RESPONSES, system_prompt=replacing)
    assert out["instructions"] == "ours"


@pytest.mark.parametrize(
    ("endpoint", "field", "value"),
    [
        (CHAT, "messages", "text"),
        (CHAT, "messages", None),
        (CHAT, "messages", [7]),
        (RESPONSES, "instructions", 7),
    ],
)
def test_prompt_into_something_else_is_refused(endpoint: Endpoint, field: str, value: Any) -> None:
    """Where a prompt cannot be put, the caller hears which field is wrong."""
    prompt = {"text": "ours", "mode": "replace"}
    with pytest.raises(Refused, match=field) as refused:
        _rewritten({field: value}, endpoint, system_prompt=prompt)
    assert refused.value.status == 400


def test_usage_is_asked_for_in_streams() -> None:
    """Metering asks for usage in streams that have the option, and keeps the caller's others."""
    stream = {"stream": True}
    asked = {"include_usage": True}
    assert _rewritten(stream, CHAT, metering=True)["stream_options"] == asked
    assert _rewritten(stream, COMPLETIONS, metering=True)["stream_options"] == asked
    options = stream | {"stream_options": {"include_obfuscation": False}}
    out = _rewritten(options, CHAT, metering=True)
    assert out["stream_options"] == asked | {"include_obfuscation": False}
    assert "stream_options" not in _rewritten(stream, RESPONSES, metering=True)
    assert "stream_options" not in _rewritten({}, CHAT, metering=True)
    assert "stream_options" not in _rewritten(stream, CHAT, metering=False)
