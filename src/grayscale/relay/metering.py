"""Tokens and money of one answer, as its upstream states them."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from grayscale.traffic.versions import Price

_MTOK = 1_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts; `tokens_in` includes the cached ones."""

    tokens_in: int
    tokens_out: int
    tokens_cached: int

    @property
    def total(self) -> int:
        """What counts against a key's tokens per minute."""
        return self.tokens_in + self.tokens_out

    def cost_usd(self, price: Price | None) -> float:
        """What the answer costs at `price`; 0 without one."""
        if price is None:
            return 0.0
        cached_price = price.cached_input_usd_per_mtok
        if cached_price is None:
            cached_price = price.input_usd_per_mtok
        fresh = max(0, self.tokens_in - self.tokens_cached)
        return (
            fresh * price.input_usd_per_mtok
            + self.tokens_cached * cached_price
            + self.tokens_out * price.output_usd_per_mtok
        ) / _MTOK


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class UsageFields(msgspec.Struct):
    """The `usage` object of OpenAI's surfaces: chat and completions, or responses."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: int | None = None

    def read(self) -> Usage:
        """The counts, wherever this surface keeps them; nothing below 0."""
        details = self.prompt_tokens_details or self.input_tokens_details
        cached = (details.cached_tokens if details else None) or self.prompt_cache_hit_tokens or 0
        return Usage(
            tokens_in=max(0, self.prompt_tokens or self.input_tokens or 0),
            tokens_out=max(0, self.completion_tokens or self.output_tokens or 0),
            tokens_cached=max(0, cached),
        )
