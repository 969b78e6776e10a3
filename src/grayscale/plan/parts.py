"""The parts of a plan, each a group of fields (DESIGN.md, "The plan")."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from grayscale.plan.conditions import Condition, ConditionError, parse_condition
from grayscale.plan.faults import fault
from grayscale.plan.names import check_name

Percent = Annotated[float, Field(strict=True, ge=0, le=100)]
Seconds = Annotated[float, Field(strict=True, ge=0, le=2_592_000)]
Minutes = Annotated[float, Field(strict=True, ge=0, le=43_200)]
Count = Annotated[int, Field(strict=True, ge=0)]
Name = Annotated[str, StringConstraints(max_length=64)]
Channel = Literal["slack", "webhook", "email"]
ALL_CHANNELS: tuple[Channel, ...] = ("slack", "webhook", "email")
_DEFAULT_MINUTES = 15.0


class Frozen(BaseModel):
    """A group of fields: frozen, finite numbers only, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _in_seconds(minutes: float, seconds: float | None, *, name: str) -> float:
    """The duration that two fields give: seconds win over minutes left at their default."""
    if seconds is None:
        return minutes * 60
    if minutes != _DEFAULT_MINUTES and not math.isclose(minutes * 60, seconds):
        raise fault(f"{name}_minutes ({minutes:g}) and {name}_seconds ({seconds:g}) disagree")
    return seconds


class HealthCheck(Frozen):
    """The limits that every version must keep."""

    enabled: bool = Field(default=True, description="Judge the candidate's health at every step.")
    error_threshold_percent: Annotated[float, Field(strict=True, gt=0, le=100)] = Field(
        default=5.0, description="The highest bearable share of failed requests, in percent."
    )
    latency_threshold_ms: Annotated[float, Field(strict=True, gt=0)] = Field(
        default=2000.0, description="The highest bearable 95th percentile of latency (p95), in ms."
    )


class AutoPromote(Frozen):
    """The ramp: the candidate's weights, and how long each one is watched."""

    enabled: bool = Field(
        default=True, description="Off: a person is asked before every step, the first included."
    )
    promotion_steps: tuple[Annotated[float, Field(strict=True)], ...] = Field(
        default=(10.0, 25.0, 50.0, 100.0),
        min_length=1,
        max_length=20,
        description="The candidate's weights in percent: rising, above 0, the last one 100.",
    )
    step_duration_minutes: Minutes = Field(
        default=_DEFAULT_MINUTES, description="How long each step is watched, in minutes."
    )
    step_duration_seconds: Seconds | None = Field(
        default=None, description="The same in seconds, for short steps; used instead if given."
    )

    @property
    def step_seconds(self) -> float:
        """How long each step must have been watched."""
        return _in_seconds(
            self.step_duration_minutes, self.step_duration_seconds, name="step_duration"
        )

    @field_validator("promotion_steps")
    @classmethod
    def _rises_to_100(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        for before, step in zip((0.0, *steps), steps, strict=False):
            if not before < step <= 100:
                where = f"{step:g} after {before:g}" if before else f"{step:g} as the first step"
                raise fault(f"must rise from above 0 to 100, but has {where}")
        if steps[-1] != 100:
            raise fault(f"must end at 100, not at {steps[-1]:g}")
        return steps

    @model_validator(mode="after")
    def _has_a_duration(self) -> Self:
        if self.step_seconds <= 0:
            raise fault("must be longer than 0", at=("step_duration_minutes",))
        return self


class Bake(Frozen):
    """The watch over the candidate at its full weight, before it becomes stable."""

    hold_back_percent: Annotated[float, Field(strict=True, ge=0, le=50)] = Field(
        default=5.0,
        description="What stays on stable until the bake is over, as the control that tells a bad "
        "version from a bad provider; in percent. 5 tell a grave outage from a bug, 20 a mild one too.",
    )
    duration_minutes: Minutes = Field(
        default=_DEFAULT_MINUTES, description="How long the bake is watched, in minutes; 0: none."
    )
    duration_seconds: Seconds | None = Field(
        default=None, description="The same in seconds; used instead if given."
    )

    @property
    def seconds(self) -> float:
        """How long the bake must have been watched."""
        return _in_seconds(self.duration_minutes, self.duration_seconds, name="duration")

    @model_validator(mode="after")
    def _durations_agree(self) -> Self:
        _in_seconds(self.duration_minutes, self.duration_seconds, name="duration")
        return self


class NotificationRule(Frozen):
    """Who is told when a rule acts."""

    enabled: bool = Field(default=True, description="Tell people when the rule acts.")
    channels: tuple[Channel, ...] = Field(
        default=ALL_CHANNELS, description="Where; channels without a target are skipped."
    )


class RollbackRule(Frozen):
    """A guard rail of the plan's own: a condition, and what to do when it is met."""

    name: Name = Field(description="What the rule is called in records and notices.")
    condition: str = Field(
        description="METRIC OP NUMBER, such as 'error_rate > 5' (percent) or 'p95_latency_ms > "
        "3000'; or 'error_code IN [500, 502]'."
    )
    action: Literal["rollback_to_version", "immediate_rollback", "alert", "pause"] = Field(
        default="rollback_to_version",
        description="immediate_rollback also arms the breaker; alert and pause keep the traffic.",
    )
    target_version: Name = Field(default="stable", description="Where a rollback goes.")
    notification: NotificationRule = Field(default=NotificationRule(), description="Who is told.")

    @property
    def parsed(self) -> Condition:
        """The condition as a value."""
        return parse_condition(self.condition)

    @field_validator("name", "target_version")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return check_name(name)

    @field_validator("condition")
    @classmethod
    def _is_a_condition(cls, text: str) -> str:
        try:
            parse_condition(text)
        except ConditionError as error:
            raise fault(str(error), nearest=error.nearest) from error
        return text


class Approval(Frozen):
    """Where people are asked, whom, and what happens when nobody answers."""

    before_steps: tuple[Percent, ...] = Field(
        default=(), description="The steps (percent) that a person must allow beforehand."
    )
    timeout_minutes: Minutes = Field(default=1440.0, description="How long to wait for an answer.")
    on_timeout: Literal["roll_back", "hold"] = Field(
        default="roll_back", description="What happens when nobody has answered in time."
    )
    approvers: tuple[str, ...] = Field(
        default=(), description="Who may answer (names of keys); empty: everybody who may approve."
    )
    not_author: bool = Field(
        default=False, description="Whoever started the release may not approve it."
    )


class AnswerGates(Frozen):
    """Which traits of answers the candidate is compared with stable by."""

    ttft: bool = Field(default=True, description="Time to the first token of streams.")
    token_speed: bool = Field(default=True, description="Time per output token.")
    cost: bool = Field(default=True, description="What an answer costs, where prices are known.")
    refusals: bool = Field(default=True, description="Answers that refuse.")
    empty_answers: bool = Field(default=True, description="Answers without content.")
    truncations: bool = Field(default=True, description="Answers cut short by the token limit.")
    invalid_json: bool = Field(default=True, description="No valid JSON where it was asked for.")
    invalid_tool_calls: bool = Field(default=True, description="Tool calls that cannot work.")
    stream_aborts: bool = Field(default=True, description="Streams that break off in the middle.")

    @property
    def switched_off(self) -> tuple[str, ...]:
        """The gates that are not wanted."""
        return tuple(name for name in AnswerGates.model_fields if not getattr(self, name))


class JudgeSettings(Frozen):
    """How sure the judge must be, and how long it may take."""

    alpha: Annotated[float, Field(strict=True, gt=0, le=0.5)] = Field(
        default=0.05, description="The highest bearable chance to roll back a good release."
    )
    interval_seconds: Annotated[float, Field(strict=True, ge=1, le=300)] = Field(
        default=10.0, description="How often the judge looks, in seconds."
    )
    min_requests: Annotated[int, Field(strict=True, ge=1)] = Field(
        default=60, description="Candidate requests that a step needs before it can be healthy."
    )
    max_extensions: Count = Field(
        default=3, description="How often a step without evidence is extended; then people decide."
    )
    count_pinned: bool = Field(
        default=False, description="Also judge requests that asked for the version by name."
    )
    gates: AnswerGates = Field(
        default=AnswerGates(),
        description="Traits of answers to compare; one that stable does not show has no weight.",
    )


class Assignment(Frozen):
    """How requests find their version."""

    by: Literal["auto", "request", "key"] = Field(
        default="auto",
        description="auto: by the caller's sticky key where there is one, else per request.",
    )


class Failover(Frozen):
    """The candidate's failures, tried again on stable."""

    enabled: bool = Field(
        default=True, description="Answer from stable when the candidate fails before its answer."
    )
    budget_percent: Percent = Field(
        default=20.0, description="The highest share of the candidate's requests, in percent."
    )


class Lease(Frozen):
    """The conductor's time-limited right to keep the candidate in traffic."""

    seconds: Annotated[float, Field(strict=True, ge=5, le=86_400)] = Field(
        default=90.0, description="How long a silent conductor keeps the right."
    )
    sleep_above_seconds: Seconds = Field(
        default=120.0, description="For a longer soak the conductor's process ends meanwhile."
    )
    asleep_grace_seconds: Seconds = Field(
        default=900.0, description="How much later than planned a sleeping one may wake up."
    )
    on_expiry: Literal["hold_at_stable", "roll_back"] = Field(
        default="hold_at_stable", description="What happens when the right has run out."
    )


class Pause(Frozen):
    """A release that a person has stopped for a while."""

    timeout_minutes: Minutes = Field(
        default=1440.0, description="After this long, all traffic goes to stable."
    )


class SlackNotifications(Frozen):
    """Where in Slack."""

    channel: str | None = Field(
        default=None, description="Such as #releases; empty: the server's own choice."
    )


class Notifications(Frozen):
    """Who is told about the release; addresses and secrets live in grayscale.yaml alone."""

    channels: tuple[Channel, ...] = Field(
        default=ALL_CHANNELS, description="Where; channels without a target are skipped."
    )
    slack: SlackNotifications | None = Field(default=None, description="Where in Slack.")
