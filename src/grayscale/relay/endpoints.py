"""The calls that are proxied, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One proxied path below `/v1`.

    `prompt_field` is where a system prompt goes (`messages`, `instructions`, or none);
    `adds_usage_option` says that streamed usage must be asked for with `include_usage`.
    """

    path: str
    streams: bool = True
    prompt_field: str | None = None
    adds_usage_option: bool = False
    generates_text: bool = True


CHAT = Endpoint("/chat/completions", prompt_field="messages", adds_usage_option=True)
COMPLETIONS = Endpoint("/completions", adds_usage_option=True)
RESPONSES = Endpoint("/responses", prompt_field="instructions")
EMBEDDINGS = Endpoint("/embeddings", streams=False, generates_text=False)

ENDPOINTS = (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS)
BY_PATH = {f"/v1{endpoint.path}": endpoint for endpoint in ENDPOINTS}
