"""Callers' bodies: the few fields that routing needs, without decoding the rest."""

from __future__ import annotations

import msgspec

from grayscale.errors import Refused
from grayscale.relay.asked import Asked, read_asked
from grayscale.relay.endpoints import Endpoint

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_STICKY_FIELDS = ("safety_identifier", "user", "prompt_cache_key")
_MAX_STICKY_CHARACTERS = 512


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Call(msgspec.Struct):
    """A caller's body: its top-level fields as sent, and those that the relay itself reads.

    `asked` is None where no text is generated.
    """

    fields: dict[str, msgspec.Raw]
    size_bytes: int
    model: str
    stream: bool
    wants_usage: bool
    sticky_key: str | None
    asked: Asked | None


def read_call(raw: bytes, endpoint: Endpoint) -> Call:
    """The call in `raw`; raises Refused (400) saying what is wrong with it."""
    fields = _decoded(raw)
    stream = endpoint.streams and _flag(fields, "stream")
    return Call(
        fields=fields,
        size_bytes=len(raw),
        model=_model(fields),
        stream=stream,
        wants_usage=stream and _asks_for_usage(fields),
        sticky_key=_sticky_key(fields),
        asked=read_asked(fields) if endpoint.generates_text else None,
    )


def _decoded(raw: bytes) -> dict[str, msgspec.Raw]:
    if not raw:
        raise _malformed("The body is empty; send a JSON object with 'model'")
    try:
        if not raw.isascii():
            raw.decode()
        return _FIELDS.decode(raw)
    except UnicodeDecodeError as error:
        raise _malformed(f"The body is not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise _malformed("The body is nested too deeply") from error
    except msgspec.ValidationError as error:
        raise _malformed('The body must be a JSON object such as {"model": …}') from error
    except msgspec.DecodeError as error:
        raise _malformed(f"The body is not valid JSON: {error}") from error


def _model(fields: dict[str, msgspec.Raw]) -> str:
    raw = fields.get("model")
    if raw is None:
        raise _malformed("'model' is missing; GET /v1/models lists the names", param="model")
    try:
        model = _TEXT.decode(raw)
    except msgspec.DecodeError as error:
        raise _malformed("'model' must be a string", param="model") from error
    if not model:
        raise _malformed("'model' is empty; GET /v1/models lists the names", param="model")
    return model


def _flag(fields: dict[str, msgspec.Raw], name: str) -> bool:
    raw = bytes(fields.get(name, b"false"))
    if raw == b"true":
        return True
    if raw in {b"false", b"null"}:
        return False
    raise _malformed(f"'{name}' must be true or false", param=name)


def _asks_for_usage(fields: dict[str, msgspec.Raw]) -> bool:
    raw = fields.get("stream_options")
    if raw is None or bytes(raw) == b"null":
        return False
    try:
        return msgspec.json.decode(raw, type=_StreamOptions).include_usage is True
    except msgspec.DecodeError as error:
        message = 'stream_options must be an object such as {"include_usage": true}'
        raise _malformed(message, param="stream_options") from error


def _sticky_key(fields: dict[str, msgspec.Raw]) -> str | None:
    for name in _STICKY_FIELDS:
        raw = fields.get(name)
        if raw is None:
            continue
        try:
            key = _TEXT.decode(raw)
        except msgspec.DecodeError:
            continue  # the field is the upstream's to judge
        if key:
            return key[:_MAX_STICKY_CHARACTERS]
    return None


def _malformed(message: str, *, param: str | None = None) -> Refused:
    return Refused(400, "invalid_request", message, param=param)
