"""Release records to decide on."""

from typing import Any

from grayscale.plan import plan_from_mapping
from grayscale.release.record import ReleaseRecord

ENOUGH: dict[str, Any] = {"watched_seconds": 900.0, "required_seconds": 900.0}
HEALTHY: dict[str, Any] = {"outcome": "healthy", "sentence": "fine"}
TOO_FEW: dict[str, Any] = {
    "outcome": "inconclusive",
    "cause": "not_enough_data",
    "sentence": "9 of 60 requests",
}


def record(
    *, state: str = "soaking", stage: dict[str, Any] | None = None, plan: Any = None, **changes: Any
) -> ReleaseRecord:
    """A release at its first step, of which `stage` changes fields."""
    the_plan = plan_from_mapping({"version_name": "v2", **(plan or {})})
    steps: list[dict[str, Any]] = [
        {"index": index, "step_percent": percent, "weight_percent": the_plan.weight_percent(index)}
        for index, percent in enumerate(the_plan.steps_percent)
    ]
    current = changes.get("current_step", 0)
    if current is not None and "bake" not in changes:
        steps[current] = {**steps[current], "state": "running", **(stage or {})}
    return ReleaseRecord.model_validate(
        {
            "id": "rel_1", "version": "v2", "state": state, "revision": 3, "seq": 2,
            "plan": the_plan.model_dump(mode="json"), "current_step": 0, "steps": steps,
            "weight_percent": 10.0, "version_created": True,
            "workers": {"total": 2, "applied": 2}, "created_at": "2026-01-02T03:04:05.000Z",
            **changes,
        }
    )  # fmt: skip
