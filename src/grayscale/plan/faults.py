"""What validators raise: a message that stands as it is, with the field and the nearest name."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

FAULT_TYPE = "plan_fault"


def fault(
    message: str, *, at: tuple[str | int, ...] = (), nearest: str | None = None
) -> PydanticCustomError:
    """An error at the path `at` below whatever is being validated."""
    context = {"message": message, "at": at, "nearest": nearest}
    return PydanticCustomError(FAULT_TYPE, "{message}", context)
