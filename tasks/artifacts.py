"""What a release leaves in Prefect's UI for people to read. Nothing depends on it."""

from __future__ import annotations

import re

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from grayscale.release.record import ReleaseRecord
from tasks.house import look_task, only_shown
from tasks.pages import split_caption, split_rows, verdict_page


async def show_split(record: ReleaseRecord) -> None:
    """The ramp as a table."""
    with only_shown():
        await publish_split(record)


async def show_verdict(record: ReleaseRecord) -> None:
    """The judge's answer as a page."""
    with only_shown():
        await evaluate_gates(record)


@look_task("publish split")
async def publish_split(record: ReleaseRecord) -> None:
    """The ramp as a table."""
    await acreate_table_artifact(
        table=split_rows(record),
        key=artifact_key("split", record.id),
        description=split_caption(record),
    )


@look_task("evaluate gates")
async def evaluate_gates(record: ReleaseRecord) -> None:
    """The judge's answer, in its own words and numbers."""
    await acreate_markdown_artifact(
        markdown=verdict_page(record), key=artifact_key("verdict", record.id)
    )


def artifact_key(kind: str, release_id: str) -> str:
    """Keys take lower-case letters, digits and dashes; one key collects a release's history."""
    return re.sub(r"[^a-z0-9]+", "-", f"{kind}-{release_id}".lower()).strip("-")
