"""The plan: how one version is released (DESIGN.md, "The plan").

The same model is the YAML schema, the body of the API and the form in Prefect's UI.
"""

from __future__ import annotations

import math
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from grayscale.plan.faults import fault
from grayscale.plan.names import check_name, resolve_date
from grayscale.plan.parts import (
    Approval,
    Assignment,
    AutoPromote,
    Bake,
    Failover,
    Frozen,
    HealthCheck,
    JudgeSettings,
    Lease,
    Name,
    Notifications,
    Pause,
    RollbackRule,
    Seconds,
)


class Plan(Frozen):
    """How one version is released."""

    model_config = ConfigDict(
        title="Grayscale release plan", json_schema_extra={"patternProperties": {"^x-": {}}}
    )

    version_name: str = Field(
        default="",
        description="The version to release, such as v2.1.0; may hold {date}. It is created if it "
        "does not exist. Empty: the present candidate (beta).",
        json_schema_extra={
            "pattern": r"^(([A-Za-z0-9]|\{date\})([A-Za-z0-9._-]|\{date\}){0,63})?$"
        },
    )
    base_version: Name = Field(
        default="stable", description="The version that it changes: stable, previous or a name."
    )
    config_overrides: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="What it changes: a JSON merge patch (RFC 7396) on the base version, such as "
        '{"models": {"gpt-4.1": {"model": "gpt-4.1-2026"}}}.',
    )
    description: str = Field(default="", max_length=10_000, description="For people.")
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="git_sha, owner and the like: copied to every event and notice.",
    )
    auto_promote: AutoPromote = Field(default=AutoPromote(), description="The ramp.")
    traffic_split: dict[str, Annotated[float, Field(strict=True)]] | None = Field(
        default=None,
        description="The first split in percent, such as {stable: 90, beta: 10}; adds up to 100 "
        "and equals the first step. Empty: taken from the steps.",
    )
    health_check: HealthCheck = Field(default=HealthCheck(), description="The limits.")
    approval: Approval = Field(default=Approval(), description="Where people are asked.")
    bake: Bake = Field(default=Bake(), description="The watch at full weight.")
    rollback_rules: tuple[RollbackRule, ...] = Field(
        default=(), max_length=50, description="Further guard rails."
    )
    rollback_cooldown_seconds: Seconds = Field(
        default=300.0, description="No new release or raise for this long after a rollback."
    )
    max_rollbacks_per_hour: Annotated[int, Field(strict=True, ge=1)] = Field(
        default=3, description="After this many rollbacks within an hour, no new release or raise."
    )
    judge: JudgeSettings = Field(default=JudgeSettings(), description="How sure the judge is.")
    assignment: Assignment = Field(
        default=Assignment(), description="How requests find their version."
    )
    failover: Failover = Field(default=Failover(), description="Failures tried again on stable.")
    lease: Lease = Field(default=Lease(), description="The conductor's right.")
    pause: Pause = Field(default=Pause(), description="Limits of a person's pause.")
    on_conflict: Literal["queue", "supersede", "reject"] = Field(
        default="queue", description="What to do while another release is under way."
    )
    notifications: Notifications = Field(default=Notifications(), description="Who is told.")
    schema_version: Literal[1] = Field(default=1, description="The version of this format.")

    @property
    def steps_percent(self) -> tuple[float, ...]:
        """The ramp as the plan says it."""
        return self.auto_promote.promotion_steps

    def weight_percent(self, step_index: int) -> float:
        """The candidate's weight at a step: what the plan says, less what is held back."""
        return min(self.steps_percent[step_index], 100 - self.bake.hold_back_percent)

    def asks_before(self, step_index: int) -> bool:
        """Whether a person is asked before this step begins."""
        step = self.steps_percent[step_index]
        return not self.auto_promote.enabled or step in self.approval.before_steps

    def resolve_version_name(self, today: date) -> str:
        """The version's name, with the day in place of `{date}`; empty if the plan names none."""
        return resolve_date(self.version_name, today)

    @model_validator(mode="before")
    @classmethod
    def _ignore_extensions(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if not str(key).startswith("x-")}

    @field_validator("version_name")
    @classmethod
    def _is_a_new_name(cls, name: str) -> str:
        if name:
            check_name(resolve_date(name, date(2000, 1, 1)), reserved=True)
        return name

    @field_validator("base_version")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return check_name(name)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.version_name == self.base_version:
            raise fault("is the version to release itself", at=("base_version",))
        self._check_split()
        for step in self.approval.before_steps:
            if step not in self.steps_percent:
                raise fault(f"{step:g} is none of the steps", at=("approval", "before_steps"))
        for index, rule in enumerate(self.rollback_rules):
            if rule.target_version in {"beta", self.version_name}:
                at = ("rollback_rules", index, "target_version")
                raise fault(f"{rule.target_version!r} is the version to leave", at=at)
            if rule.name in {earlier.name for earlier in self.rollback_rules[:index]}:
                raise fault(f"{rule.name!r} is taken", at=("rollback_rules", index, "name"))
        return self

    def _check_split(self) -> None:
        """The split names both versions, adds up, and is that of the first step."""
        if self.traffic_split is None:
            return
        for name, share in self.traffic_split.items():
            if name not in {"stable", "beta", self.base_version, self.version_name}:
                raise fault(f"'{name}' is neither stable nor beta", at=("traffic_split", name))
            if not 0 <= share <= 100:
                raise fault(f"{share:g} is no percentage", at=("traffic_split", name))
        total = math.fsum(self.traffic_split.values())
        if abs(total - 100) > 1e-6:
            raise fault(f"must add up to 100, not {total:g}", at=("traffic_split",))
        beta = sum(self.traffic_split.get(name, 0.0) for name in ("beta", self.version_name))
        if abs(beta - self.steps_percent[0]) > 1e-6:
            raise fault(
                f"gives the candidate {beta:g}, but auto_promote.promotion_steps begins with "
                f"{self.steps_percent[0]:g}",
                at=("traffic_split",),
            )
