"""How a test upstream behaves: settable when it is made and at run time, per model if need be."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

SEED_MODELS = ("gpt-4.1", "claude-sonnet-4-5", "gemini-2.5-flash", "deepseek-v3.2")


class Fault(StrEnum):
    """Ways to go wrong other than an honest HTTP error."""

    REFUSE = "refuse"
    """The socket is closed without an answer."""
    HANG = "hang"
    """Nothing is ever answered."""
    GARBAGE_HTML = "garbage_html"
    """200 with an HTML page."""
    GARBAGE_JSON = "garbage_json"
    """200 that says JSON and is none."""
    CUT_STREAM = "cut_stream"
    """The socket is closed in the middle of the answer."""
    STALL_STREAM = "stall_stream"
    """The answer begins and never ends."""
    ERROR_FRAME = "error_frame"
    """200 whose body, or whose stream's frame after `cut_after_chunks`, is an error."""


class Manners(BaseModel):
    """Behaviour towards one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_ms: float = Field(default=0, ge=0, description="until a JSON answer, on average")
    latency_jitter_ms: float = Field(default=0, ge=0, description="at most so much more or less")
    ttft_ms: float | None = Field(default=None, ge=0, description="until a stream's first frame")
    tokens: int = Field(default=16, ge=1, description="length of a reply")
    chunk_delay_ms: float = Field(default=0, ge=0, description="between a stream's frames")
    error_rate: float = Field(default=0, ge=0, le=1, description="share of requests, 0.2 = 20 %")
    error_status: int = Field(default=500, ge=400, le=599)
    error_latency_ms: float = Field(default=0, ge=0, description="errors are usually fast")
    retry_after_seconds: float | None = Field(default=None, ge=0)
    fault: Fault | None = None
    fault_rate: float = Field(default=1, ge=0, le=1, description="share of requests with the fault")
    cut_after_chunks: int = Field(default=3, ge=0, description="frames before a cut or error frame")
    refusal_rate: float = Field(default=0, ge=0, le=1, description="share of answers that refuse")
    empty_rate: float = Field(default=0, ge=0, le=1, description="share of answers without content")
    truncation_rate: float = Field(
        default=0, ge=0, le=1, description="share of texts cut short, finish_reason `length`"
    )
    bad_json_rate: float = Field(
        default=0, ge=0, le=1, description="share of JSON answers that do not parse"
    )
    tool_call_rate: float = Field(
        default=0, ge=0, le=1, description="share of requests with tools answered by a call"
    )
    unknown_tool_rate: float = Field(
        default=0, ge=0, le=1, description="share of calls that name none of the tools"
    )
    bad_arguments_rate: float = Field(
        default=0, ge=0, le=1, description="share of calls whose arguments are no JSON"
    )


class Behaviour(Manners):
    """Behaviour of a whole upstream; `models` overrides single fields for single models."""

    models: dict[str, Manners] = Field(default_factory=dict)
    served_models: tuple[str, ...] = Field(
        default=SEED_MODELS, description="what GET /v1/models lists; any other is answered too"
    )
    missing_models: tuple[str, ...] = Field(default=(), description="answered 404 model_not_found")
    reject_parameters: tuple[str, ...] = Field(
        default=(), description="body fields answered 400 unsupported_parameter"
    )
    api_key: str | None = Field(default=None, description="demanded as Bearer, else 401")
    response_headers: dict[str, str] = Field(
        default_factory=dict, description="added to every answer, such as Set-Cookie"
    )
    seed: int = 0

    def towards(self, model: str) -> Manners:
        """The manners for one model: its overrides on top of the upstream's own."""
        override = self.models.get(model)
        if override is None:
            return self
        changed = {name: getattr(override, name) for name in override.model_fields_set}
        return self.model_copy(update=changed)


@dataclass(frozen=True, slots=True)
class Look:
    """How a good answer looks; the first that is true of refused, empty, a call wins."""

    is_refused: bool = False
    is_empty: bool = False
    is_truncated: bool = False
    spoils_json: bool = False
    calls_tool: bool = False
    misnames_tool: bool = False
    spoils_arguments: bool = False


@dataclass(frozen=True, slots=True)
class Fate:
    """What chance decided for one request."""

    is_error: bool
    is_faulty: bool
    jitter: float
    """Between -1 and 1."""
    look: Look


class Dice:
    """Fates by seed: the n-th request for a model meets the same one in every run."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._sources: dict[str, random.Random] = {}

    def roll(self, model: str, manners: Manners) -> Fate:
        """The next request's fate; takes the same number of draws whatever the manners are."""
        source = self._source(model)
        error_draw, fault_draw, jitter = source.random(), source.random(), source.uniform(-1, 1)
        return Fate(
            is_error=error_draw < manners.error_rate,
            is_faulty=manners.fault is not None and fault_draw < manners.fault_rate,
            jitter=jitter,
            look=_look(self._source(f"{model}:look"), manners),
        )

    def _source(self, name: str) -> random.Random:
        source = self._sources.get(name)
        if source is None:
            source = self._sources[name] = random.Random(f"{self._seed}:{name}")  # noqa: S311
        return source


def _look(source: random.Random, manners: Manners) -> Look:
    return Look(
        is_refused=source.random() < manners.refusal_rate,
        is_empty=source.random() < manners.empty_rate,
        is_truncated=source.random() < manners.truncation_rate,
        spoils_json=source.random() < manners.bad_json_rate,
        calls_tool=source.random() < manners.tool_call_rate,
        misnames_tool=source.random() < manners.unknown_tool_rate,
        spoils_arguments=source.random() < manners.bad_arguments_rate,
    )
