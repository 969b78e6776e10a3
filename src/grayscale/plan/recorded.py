"""The plan within a record: read again and again, and checked once, because it never changes."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import to_json

from grayscale.plan.models import Plan

_KEPT = 64


def _known(plan: Any) -> Any:
    return _checked(to_json(plan)) if isinstance(plan, dict) else plan


@lru_cache(maxsize=_KEPT)
def _checked(text: bytes) -> Plan:
    return Plan.model_validate_json(text)


RecordedPlan = Annotated[Plan, BeforeValidator(_known)]
