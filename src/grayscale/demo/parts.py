"""The demo's real parts: two upstreams, and all that `grayscale up` runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from grayscale.demo.scenario import FLAKY, STEADY, settings
from grayscale.testing.upstreams import Upstream
from grayscale.up.stack import Stack


@asynccontextmanager
async def open_parts(folder: Path, *, announce: Callable[[str], None]) -> AsyncIterator[Stack]:
    """Everything on free ports, with nothing of the user's own Grayscale in it."""
    async with Upstream(STEADY) as steady, Upstream(FLAKY) as flaky:
        config = folder / "grayscale.yaml"
        config.write_text(
            yaml.safe_dump(settings(steady_url=steady.base_url, flaky_url=flaky.base_url)),
            encoding="utf-8",
        )
        scratch = folder / "tmp"  # Prefect leaves things in the folder for temporary files
        scratch.mkdir()
        kept = {name: text for name, text in os.environ.items() if not _is_grayscales(name)}
        async with Stack(
            data_dir=folder / "data",
            config=config,
            listen="127.0.0.1:0",
            prefect_port=0,
            environ=kept | {"TMPDIR": str(scratch)},
            announce=announce,
        ) as stack:
            yield stack


def _is_grayscales(name: str) -> bool:
    return name.startswith("GRAYSCALE_")
