"""What a version does to a caller's body; planned once per version, applied per call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from grayscale.errors import Refused
from grayscale.relay.body import Call
from grayscale.relay.endpoints import Endpoint
from grayscale.traffic.versions import SystemPrompt, VersionConfig

Fields = dict[str, msgspec.Raw]

_ALWAYS_REMOVED = ("api_base", "base_url")  # a caller's wish to be sent elsewhere
_NEVER_SET = frozenset({"model", "stream", "messages", "input", "prompt"})
_FOR_EMBEDDINGS = frozenset({"dimensions", "encoding_format", "user"})
_ONLY_EMBEDDINGS = _FOR_EMBEDDINGS - {"user"}
_USAGE_OPTION = msgspec.Raw(b'{"include_usage":true}')
_INSTRUCTING_ROLES = frozenset({"system", "developer"})


class _Message(msgspec.Struct):
    role: Any = None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A version's changes to bodies, ready to be laid over them."""

    removed: tuple[str, ...]
    defaults: Fields
    parameters: Fields
    prompt: SystemPrompt | None
    asks_for_usage: bool

    def __call__(self, call: Call, *, model: msgspec.Raw, endpoint: Endpoint) -> bytes:
        """The body that goes to the upstream; raises Refused (400) if it cannot be made."""
        fields = dict(call.fields)
        for name in self.removed:
            fields.pop(name, None)
        for name, value in self.defaults.items():
            if _applies(name, endpoint):
                fields.setdefault(name, value)
        fields |= {
            name: value for name, value in self.parameters.items() if _applies(name, endpoint)
        }
        if self.prompt is not None:
            _put_prompt(fields, self.prompt, endpoint)
        if self.asks_for_usage and call.stream and endpoint.adds_usage_option:
            fields["stream_options"] = _with_usage(fields.get("stream_options"))
        fields["model"] = model
        return msgspec.json.encode(fields)


def plan_rewrite(config: VersionConfig, *, asks_for_usage: bool) -> Rewrite:
    """The changes that `config` asks for."""
    return Rewrite(
        removed=(*_ALWAYS_REMOVED, *(n for n in config.remove_parameters if n not in _NEVER_SET)),
        defaults=_encoded(config.defaults),
        parameters=_encoded(config.parameters),
        prompt=config.system_prompt,
        asks_for_usage=asks_for_usage,
    )


def _encoded(values: dict[str, Any]) -> Fields:
    return {
        name: msgspec.Raw(msgspec.json.encode(value))
        for name, value in values.items()
        if name not in _NEVER_SET
    }


def _applies(name: str, endpoint: Endpoint) -> bool:
    """A version's temperature is not an embedding's business: strict upstreams answer 400."""
    return name not in _ONLY_EMBEDDINGS if endpoint.generates_text else name in _FOR_EMBEDDINGS


def _with_usage(options: msgspec.Raw | None) -> msgspec.Raw:
    if options is None or bytes(options) == b"null":
        return _USAGE_OPTION
    merged = msgspec.json.decode(options, type=dict[str, Any]) | {"include_usage": True}
    return msgspec.Raw(msgspec.json.encode(merged))


def _put_prompt(fields: Fields, prompt: SystemPrompt, endpoint: Endpoint) -> None:
    if endpoint.prompt_field == "messages":
        fields["messages"] = _with_system_message(fields.get("messages"), prompt)
    elif endpoint.prompt_field == "instructions":
        fields["instructions"] = _with_instructions(fields.get("instructions"), prompt)


def _with_system_message(raw: msgspec.Raw | None, prompt: SystemPrompt) -> msgspec.Raw:
    try:
        messages = msgspec.json.decode(raw or b"[]", type=list[msgspec.Raw])
        if prompt.mode == "replace":
            messages = [message for message in messages if not _instructs(message)]
    except msgspec.DecodeError as error:
        message = "'messages' must be a list of objects"
        raise Refused(400, "invalid_request", message, param="messages") from error
    first = msgspec.Raw(msgspec.json.encode({"role": "system", "content": prompt.text}))
    return msgspec.Raw(msgspec.json.encode([first, *messages]))


def _instructs(message: msgspec.Raw) -> bool:
    role = msgspec.json.decode(message, type=_Message).role
    return isinstance(role, str) and role in _INSTRUCTING_ROLES


def _with_instructions(raw: msgspec.Raw | None, prompt: SystemPrompt) -> msgspec.Raw:
    try:
        own = msgspec.json.decode(raw or b"null", type=str | None)
    except msgspec.DecodeError as error:
        message = "'instructions' must be a string"
        raise Refused(400, "invalid_request", message, param="instructions") from error
    text = prompt.text if prompt.mode == "replace" or not own else f"{prompt.text}\n\n{own}"
    return msgspec.Raw(msgspec.json.encode(text))
