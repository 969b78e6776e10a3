"""What the demo shows: two upstreams, a release that deserves to go out, and one that does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grayscale.release.phases import State
from grayscale.testing.behaviour import Behaviour

MODEL = "demo-chat"
STEPS = (10, 25, 50, 100)
_STEP_SECONDS = 10
_BAKE_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Act:
    """One release of the demo, and how it has to end."""

    title: str
    plan: dict[str, Any]
    must_end: State

    @property
    def version(self) -> str:
        """The version that it releases."""
        return str(self.plan["version_name"])


STEADY = Behaviour(
    latency_ms=40, latency_jitter_ms=15, ttft_ms=20, tokens=6, served_models=("chat-1", "chat-2")
)
FLAKY = STEADY.model_copy(update={"error_rate": 0.2, "served_models": ("chat-3",)})


def settings(*, steady_url: str, flaky_url: str) -> dict[str, Any]:
    """The demo's grayscale.yaml."""
    return {
        "upstreams": {"steady": {"base_url": steady_url}, "flaky": {"base_url": flaky_url}},
        "models": {MODEL: {"upstream": "steady", "model": "chat-1"}},
    }


def acts() -> tuple[Act, Act]:
    """The good release, then the bad one."""
    good = _plan(
        "v2-good", upstream="steady", model="chat-2", what="A new model, as good as before."
    )
    bad = _plan("v3-bad", upstream="flaky", model="chat-3", what="Fails one request in five.")
    return (
        Act("A good release", good, State.PROMOTED),
        Act("A bad release", bad, State.ROLLED_BACK),
    )


def _plan(name: str, *, upstream: str, model: str, what: str) -> dict[str, Any]:
    """A ramp in seconds instead of hours; 10 s at 10 % are some 100 requests."""
    return {
        "version_name": name,
        "description": what,
        "config_overrides": {"models": {MODEL: {"upstream": upstream, "model": model}}},
        "auto_promote": {"promotion_steps": list(STEPS), "step_duration_seconds": _STEP_SECONDS},
        "bake": {"duration_seconds": _BAKE_SECONDS},
        "judge": {"interval_seconds": 1},
        "rollback_cooldown_seconds": 0,
    }
