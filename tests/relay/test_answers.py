"""What answers are seen to be: whole, and streamed in any pieces."""

from __future__ import annotations

import json
from itertools import cycle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grayscale.relay.answer import Shape, Signals, read_signals
from grayscale.relay.asked import PLAIN_TEXT, Asked, read_asked
from grayscale.relay.gathering import MAX_GATHERED_BYTES
from grayscale.relay.meter import Meter, Timing
from grayscale.relay.metering import Usage
from grayscale.relay.sse import EventScanner
from grayscale.traffic.counters import COST_UNIT_USD, CellKey, bucket_of
from grayscale.traffic.versions import Price

_TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {}}},
    {"type": "function", "name": "clock", "parameters": {}},
    {"type": "custom", "custom": {"name": "shell"}},
    {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "lookup"}]},
]
_RAW_TOOLS = msgspec.Raw(json.dumps(_TOOLS).encode())
_JSON, _WITH_TOOLS, _BOTH = Asked(json=True), Asked(tools=_RAW_TOOLS), Asked(True, _RAW_TOOLS)
_DONE = b"data: [DONE]\n\n"


def _asked(**fields: Any) -> Asked:
    return read_asked(msgspec.json.decode(json.dumps(fields), type=dict[str, msgspec.Raw]))


def _whole(body: Any, asked: Asked = PLAIN_TEXT) -> Signals:
    return read_signals(msgspec.json.decode(json.dumps(body), type=Shape), asked, None)


def _message(asked: Asked = PLAIN_TEXT, *, ends: str = "stop", **message: Any) -> Signals:
    return _whole({"choices": [{"message": message, "finish_reason": ends}]}, asked)


def _output(*items: Any, asked: Asked = PLAIN_TEXT, **response: Any) -> Signals:
    return _whole({"status": "completed", "output": items} | response, asked)


def _called(name: str | None, arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": "call_1", "type": "function", "function": function}


def _said(text: str) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": text}]}


@pytest.mark.parametrize(
    ("fields", "is_json"),
    [
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, True),
        ({"response_format": {"type": "text"}}, False),
        ({"response_format": None}, False),
        ({"response_format": 5}, False),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}}, True),
        ({"text": {"format": {"type": "text"}}}, False),
        ({"text": {"verbosity": "low"}}, False),
        ({"text": "json_object"}, False),
        ({}, False),
    ],
)
def test_json_is_asked_for(fields: dict[str, Any], *, is_json: bool) -> None:
    """Both surfaces' fields are understood; what is malformed asks for nothing."""
    assert _asked(**fields) == Asked(json=is_json)


def test_tools_are_asked_for() -> None:
    """Tools of any kind and place have a name; no list of tools, or an empty one, asks for none."""
    assert _asked(tools=_TOOLS).tool_names() == frozenset(
        {"weather", "clock", "shell", "crm", "lookup"}
    )
    assert _asked(tools=[{"type": "web_search"}]).tool_names() == frozenset()
    assert _asked(tools=None) == _asked(tools=[]) == PLAIN_TEXT
    assert _asked(tools="weather").tool_names() is None


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        (_message(content="Hi", refusal=None), Signals()),
        (_message(content=None, refusal="No."), Signals(refused=True)),
        (_message(content="Hm", ends="content_filter"), Signals(refused=True)),
        (_message(content="", ends="content_filter"), Signals(refused=True)),
        (_message(content="Once upon", ends="length"), Signals(truncated=True)),
        (_message(content=None, ends="length"), Signals(truncated=True, empty=True)),
        (_message(content=""), Signals(empty=True)),
        (_message(content="", reasoning_content="Hm"), Signals(empty=True)),
        (_message(content=None, tool_calls=[_called("x", "{}")]), Signals()),
        (_message(content=None, function_call={"name": "x"}), Signals()),
        (_message(content=None, audio={"id": "a"}), Signals()),
        (_message(content=[{"type": "text", "text": "Hi"}]), Signals()),
        (_whole({"choices": [{"text": "Hi", "finish_reason": "stop"}]}), Signals()),
        (_whole({"choices": [{"text": "", "finish_reason": "stop"}]}), Signals(empty=True)),
        (_whole({"choices": [{"text": "Hi", "finish_reason": "length"}]}), Signals(truncated=True)),
        (_whole({"choices": []}), Signals(empty=True)),
        (_whole({}), Signals(empty=True)),
        (_whole({"choices": [{"message": 5}]}), Signals()),
        (_whole({"choices": "what"}), Signals()),
    ],
)
def test_chat_and_text_completions(signals: Signals, expected: Signals) -> None:
    """Refused, empty and truncated are told apart; nothing is said of what cannot be read."""
    assert signals == expected


_CUT: dict[str, Any] = {
    "status": "incomplete",
    "incomplete_details": {"reason": "max_output_tokens"},
}
_FILTERED: dict[str, Any] = {
    "status": "incomplete",
    "incomplete_details": {"reason": "content_filter"},
}
_NO = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        (_output(_said("Hi"), incomplete_details=None), Signals()),
        (_output(_NO), Signals(refused=True)),
        (_output(_said("Hi"), **_FILTERED), Signals(refused=True)),
        (_output(_said("Hi"), **_CUT), Signals(truncated=True)),
        (
            _output({"type": "reasoning", "summary": []}, **_CUT),
            Signals(truncated=True, empty=True),
        ),
        (_output(_said("")), Signals(empty=True)),
        (_output(), Signals(empty=True)),
        (_output({"type": "image_generation_call", "result": "x"}), Signals()),
        (_output(status="queued"), Signals()),
        (_output({"type": "message", "content": 5}), Signals()),
    ],
)
def test_responses(signals: Signals, expected: Signals) -> None:
    """The responses surface says the same in other words; a queued response is not empty."""
    assert signals == expected


@pytest.mark.parametrize(
    ("signals", "json_valid"),
    [
        (_message(_JSON, content='{"a": 1}'), True),
        (_message(_JSON, content=" [1]\n"), True),
        (_message(_JSON, content='```json\n{"a": 1}\n```'), False),
        (_message(_JSON, content='{"a": NaN}'), False),
        (_message(_JSON, content="[" * 100_000 + "]" * 100_000), False),
        (_message(_JSON, content=""), False),
        (_message(_JSON, content='{"a', ends="length"), None),
        (_message(_JSON, content='{"a', ends="content_filter"), None),
        (_message(_JSON, content=None, refusal="No."), None),
        (_message(_JSON, content=None, function_call={"name": "x"}), None),
        (_message(_BOTH, content="Let me see.", tool_calls=[_called("clock", "{}")]), None),
        (_message(_JSON, content=[{"type": "text", "text": "x"}]), None),
        (_message(PLAIN_TEXT, content="x"), None),
        (_output(_said("Let me see."), _said('{"a": 1}'), asked=_JSON), True),
        (_output(_said('{"a'), asked=_JSON), False),
        (_output(_said('{"a'), asked=_JSON, **_CUT), None),
    ],
)
def test_json_where_it_was_asked_for(signals: Signals, *, json_valid: bool | None) -> None:
    """Whoever asked for JSON is owed some, unless he got a refusal, a cut answer or a call."""
    assert signals.json_valid is json_valid


_FREE = {"id": "call_1", "type": "custom", "custom": {"name": "shell", "input": "ls"}}


@pytest.mark.parametrize(
    ("calls", "valid"),
    [
        ([_called("weather", '{"city": "Bonn"}')], True),
        ([_called("weather", {"city": "Bonn"})], True),
        ([_called("weather", "{}"), _called("clock", "{")], False),
        ([_called("weather", "[]")], False),
        ([_called("weather", "")], False),
        ([_called("nobody", "{}")], False),
        ([_called(None, "{}")], False),
        ([{"id": "call_1"}], False),
        ([_FREE], True),
        ([], None),
    ],
)
def test_tool_calls(calls: list[Any], *, valid: bool | None) -> None:
    """A call is sound if it names a tool of the caller and brings an object; one bad call spoils."""
    assert _message(_WITH_TOOLS, content=None, tool_calls=calls).tools_valid is valid
    assert _message(PLAIN_TEXT, content=None, tool_calls=calls).tools_valid is None


def test_tool_calls_of_responses() -> None:
    """Function calls and free-form calls are items there; the provider's own tools are not ours."""

    def valid(*items: Any) -> bool | None:
        return _output(*items, asked=_WITH_TOOLS).tools_valid

    assert valid({"type": "function_call", "name": "lookup", "arguments": "{}"}) is True
    assert valid({"type": "function_call", "name": "lookup", "arguments": "{"}) is False
    assert valid({"type": "custom_tool_call", "name": "shell", "input": "ls"}) is True
    assert valid({"type": "custom_tool_call", "name": "no", "input": "ls"}) is False
    assert valid({"type": "mcp_call", "name": "no", "arguments": "{"}, _said("Hi")) is None


# ---------------------------------------------------------------- streams


def _frame(value: Any, **options: Any) -> bytes:
    return b"data: " + json.dumps(value, **options).encode() + b"\n\n"


def _delta(*, ends: str | None = None, index: int = 0, **delta: Any) -> Any:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": ends}], "usage": None}


def _streamed(asked: Asked, *frames: bytes) -> Signals:
    scanner = EventScanner(strips_usage=True, asked=asked)
    for frame in frames:
        scanner.feed(frame)
    assert scanner.done
    return scanner.signals()


_PIECES = st.lists(
    st.text(max_size=6)
    | st.sampled_from(
        [
            '{"a":', " 1}", '"', '"refusal": "x"', '"finish_reason":"length"', "[DONE]",
            '"tool_calls":[{', '"content":"x"', '"error":{', "\n\n", "response.completed",
        ]
    ),
    max_size=4,
)  # fmt: skip
_CALLS = st.tuples(
    st.sampled_from(["weather", "clock", "nobody"]),
    st.lists(st.sampled_from(["{", "}", '"a":', "1", ""]), max_size=4),
)
_CHOICES = st.fixed_dictionaries(
    {
        "reasoning_content": _PIECES,
        "content": _PIECES,
        "refusal": st.just([]) | _PIECES,
        "calls": st.lists(_CALLS, max_size=2),
        "ends": st.sampled_from(["stop", "length", "content_filter", "tool_calls"]),
    }
)


def _as_message(choice: Any) -> Any:
    texts = {
        field: "".join(choice[field]) or None
        for field in ("reasoning_content", "content", "refusal")
    }
    calls = [_called(name, "".join(pieces)) for name, pieces in choice["calls"]]
    message = texts | ({"tool_calls": calls} if calls else {})
    return {"message": message, "finish_reason": choice["ends"]}


def _as_deltas(index: int, choice: Any) -> list[Any]:
    deltas = [_delta(index=index, role="assistant", content="", refusal=None)]
    for field in ("reasoning_content", "content", "refusal"):
        deltas += [_delta(index=index, **{field: piece}) for piece in choice[field]]
    for number, (name, pieces) in enumerate(choice["calls"]):
        deltas.append(_delta(index=index, tool_calls=[{**_called(name, ""), "index": number}]))
        deltas += [
            _delta(index=index, tool_calls=[{"index": number, "function": {"arguments": piece}}])
            for piece in pieces
        ]
    return [*deltas, _delta(index=index, ends=choice["ends"])]


@given(
    choices=st.lists(_CHOICES, min_size=1, max_size=2),
    asked=st.sampled_from([PLAIN_TEXT, _JSON, _WITH_TOOLS, _BOTH]),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    compact=st.booleans(),
    is_ascii=st.booleans(),
)
def test_streams_show_what_whole_answers_show(
    choices: list[Any],
    asked: Asked,
    sizes: list[int],
    line_end: bytes,
    *,
    compact: bool,
    is_ascii: bool,
) -> None:
    """One answer gives the same signals whole and streamed, in pieces of any size."""
    whole = _whole({"choices": [_as_message(choice) for choice in choices]}, asked)
    separators = (",", ":") if compact else (", ", ": ")
    deltas = [delta for index, choice in enumerate(choices) for delta in _as_deltas(index, choice)]
    frames = [_frame(delta, ensure_ascii=is_ascii, separators=separators) for delta in deltas]
    data = b"".join([b": hello\n\n", *frames, _DONE]).replace(b"\n", line_end)
    pieces, start = [], 0
    for size in cycle(sizes):
        if start >= len(data):
            break
        pieces.append(data[start : start + size])
        start += size
    assert _streamed(asked, *pieces) == whole == _streamed(asked, data)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_are_no_answer(field: str) -> None:
    """A stream that only thinks aloud is empty; content after the thoughts is an answer."""
    thought = _frame({"choices": [{"delta": {field: "Hm"}}]})
    assert _streamed(PLAIN_TEXT, thought, thought, _DONE) == Signals(empty=True)
    assert _streamed(PLAIN_TEXT, thought, _frame(_delta(content="Hi")), _DONE) == Signals()


def test_choices_are_kept_apart() -> None:
    """Of several choices the first one's text is looked at, and the calls of each."""
    texts = [_frame(_delta(index=index, content=text)) for index, text in ((1, "x"), (0, "1"))]
    assert _streamed(_JSON, *texts, _DONE).json_valid is True
    whole = {"choices": [{"message": {"content": text}} for text in ("1", "x")]}
    assert _whole(whole, _JSON).json_valid is True
    calls = [
        _frame(_delta(index=index, tool_calls=[{**_called("clock", "{}"), "index": 0}]))
        for index in (0, 1)
    ]
    assert _streamed(_WITH_TOOLS, *calls, _DONE).tools_valid is True


@given(size=st.integers(1, 400))
def test_responses_streams_tell_at_their_end(size: int) -> None:
    """A responses stream repeats its whole output in the last event, in pieces of any size."""
    call = {"type": "function_call", "name": "weather", "arguments": "{"}
    response = {"status": "incomplete", "output": [call], **_CUT}
    events = [
        {"type": "response.created", "response": {"status": "in_progress", "output": []}},
        {"type": "response.function_call_arguments.delta", "delta": "{"},
        {"type": "response.incomplete", "response": response},
    ]
    data = b"".join(map(_frame, events))
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert _streamed(_WITH_TOOLS, *pieces) == _whole(response, _WITH_TOOLS)
    assert _whole(response, _WITH_TOOLS) == Signals(truncated=True, tools_valid=False)


def test_last_event_that_leaves_the_output_out() -> None:
    """Nothing is said of an answer whose last event does not repeat what was sent before."""
    events = [
        {"type": "response.output_text.delta", "delta": "Hi"},
        {"type": "response.completed", "response": {"status": "completed", "output": []}},
    ]
    assert _streamed(_JSON, *map(_frame, events)) == Signals()
    assert _streamed(PLAIN_TEXT, _frame(events[1])) == Signals(empty=True)


def test_calls_that_are_all_number_0() -> None:
    """Where every call has index 0, another id begins another call."""
    parts = [{**_called("weather", "{}"), "index": 0, "id": f"call_{n}"} for n in range(2)]
    frames = [_frame(_delta(tool_calls=[part])) for part in parts]
    assert _streamed(_WITH_TOOLS, *frames, _DONE).tools_valid is True


def test_calls_that_repeat_their_id() -> None:
    """An id or a name that comes with every piece is one call's all the same."""
    parts = [{**_called("clock", piece), "index": 0} for piece in ("{", "}")]
    frames = [_frame(_delta(tool_calls=[part])) for part in parts]
    assert _streamed(_WITH_TOOLS, *frames, _DONE).tools_valid is True


def test_free_form_calls_in_streams() -> None:
    """A custom tool's input is free text."""
    part = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    more = {"index": 0, "custom": {"input": " -l"}}
    frames = [_frame(_delta(tool_calls=[one])) for one in (part, more)]
    assert _streamed(_WITH_TOOLS, *frames, _DONE).tools_valid is True


@pytest.mark.parametrize(("size", "json_valid"), [(10, False), (MAX_GATHERED_BYTES // 3, None)])
def test_gathering_is_bounded(size: int, *, json_valid: bool | None) -> None:
    """Of too long an answer nothing is kept, and it does not count as one that JSON was asked of."""
    frames = [_frame(_delta(content="x" * size))] * 4
    assert _streamed(_BOTH, *frames, _DONE) == Signals(json_valid=json_valid)
    calls = [_frame(_delta(tool_calls=[{**_called("clock", "x" * size), "index": 0}]))] * 4
    assert _streamed(_BOTH, *calls, _DONE) == Signals(tools_valid=json_valid)


def test_calls_without_end_are_bounded() -> None:
    """Empty calls are not free either."""
    part = _called("clock", "{}")
    many = [{**part, "index": number} for number in range(MAX_GATHERED_BYTES // 64 + 1)]
    assert _streamed(_WITH_TOOLS, _frame(_delta(tool_calls=many)), _DONE) == Signals()


@pytest.mark.parametrize("strange", [b'data: {"choices": 5}\n\n', b'data: {"choices"\n\n'])
def test_a_piece_that_cannot_be_read(strange: bytes) -> None:
    """Where a piece is missing nothing is said of the whole."""
    frames = [_frame(_delta(content='{"a":')), strange, _frame(_delta(content="1"))]
    assert _streamed(_JSON, *frames, _DONE) == Signals()
    call = _delta(tool_calls=[_called("clock", "{}")])
    assert _streamed(_BOTH, strange + _frame(call), _DONE) == Signals()
    both = _delta(content=[{"type": "text", "text": "1"}], tool_calls=[_called("clock", "{}")])
    assert _streamed(_BOTH, _frame(both), _DONE) == Signals()


# ---------------------------------------------------------------- counting

_KEY = CellKey("config-1", "v1", "gpt-4.1", "main", "weighted", stream=False)


def test_signals_are_counted() -> None:
    """Each signal has its column; `asked` and `called` count what could be judged."""
    meter = Meter()
    for signals in (
        Signals(refused=True),
        Signals(empty=True, json_valid=False),
        Signals(json_valid=True),
        Signals(truncated=True, tools_valid=False),
        Signals(tools_valid=True),
    ):
        meter.start(_KEY, None).ok(Timing(0.0, None, 1.0), signals)
    cell = meter.take()[_KEY]
    assert (cell.ok, cell.refused, cell.empty, cell.truncated) == (5, 1, 1, 1)
    assert (cell.json_asked, cell.json_invalid) == (2, 1)
    assert (cell.tools_called, cell.tools_invalid) == (2, 1)


@pytest.mark.parametrize(
    ("first_content", "tokens_out", "token_ms"),
    [(None, 100, 20.0), (1.0, 101, 10.0), (None, 1, None), (1.0, 1, None), (1.0, 0, None)],
)
def test_milliseconds_per_token(
    first_content: float | None, tokens_out: int, token_ms: float | None
) -> None:
    """A stream's pace begins with its first content; a single token has none."""
    meter = Meter()
    signals = Signals(Usage(tokens_in=9, tokens_out=tokens_out, tokens_cached=0))
    meter.start(_KEY, None).ok(Timing(0.0, first_content, 2.0), signals)
    expected = {} if token_ms is None else {bucket_of(token_ms): 1}
    assert meter.take()[_KEY].token_ms == expected


def test_cost_of_good_answers() -> None:
    """Only what has a price and was used costs something; failures are in no histogram."""
    price = Price(input_usd_per_mtok=2.0, output_usd_per_mtok=8.0)
    usage = Usage(tokens_in=1000, tokens_out=500, tokens_cached=0)
    meter = Meter()
    meter.start(_KEY, price).ok(Timing(0.0, None, 1.0), Signals(usage))
    meter.start(_KEY, price).ok(Timing(0.0, None, 1.0), Signals())
    meter.start(_KEY, None).ok(Timing(0.0, None, 1.0), Signals(usage))
    meter.start(_KEY, price).gone(None)
    assert meter.take()[_KEY].cost == {bucket_of(0.006 / COST_UNIT_USD): 1}
