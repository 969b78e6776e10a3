"""What a release leaves in Prefect's UI for people to read. Nothing depends on it."""

from __future__ import annotations

import re

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from grayscale.release.record import ReleaseRecord
from tasks.house import look_task, only_shown
from tasks.pages import split_caption, split_rows, verdict_caption, verdict_page

# Of a release's id: enough to tell it from others of the same version, and short on a card.
_TELLING_CHARACTERS = 6


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
        key=artifact_key("split", record),
        description=split_caption(record),
    )


@look_task("evaluate gates")
async def evaluate_gates(record: ReleaseRecord) -> None:
    """The judge's answer, in its own words and numbers."""
    await acreate_markdown_artifact(
        markdown=verdict_page(record),
        key=artifact_key("verdict", record),
        description=verdict_caption(record),
    )


def artifact_key(kind: str, record: ReleaseRecord) -> str:
    """Keys take lower-case letters, digits and dashes; one key collects a release's history."""
    release = record.id[-_TELLING_CHARACTERS:]
    return re.sub(r"[^a-z0-9]+", "-", f"{kind}-{record.version}-{release}".lower()).strip("-")
