"""The JSON schema of plans: `python -m grayscale.plan.schema [--check] [FILE]`.

Editors read it by the first line of a plan; a check holds the file to the models.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from grayscale.plan.models import Plan

SCHEMA_FILE = Path("schemas/release-plan.schema.json")


def plan_schema() -> dict[str, Any]:
    """The schema of a plan (JSON Schema 2020-12)."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Plan.model_json_schema()}


def schema_text() -> str:
    """The schema as its file holds it."""
    return json.dumps(plan_schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the schema, or with --check compare; 1 if the file is not up to date."""
    parser = argparse.ArgumentParser(prog="python -m grayscale.plan.schema", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=SCHEMA_FILE)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    chosen = parser.parse_args(arguments)
    file: Path = chosen.file
    if not chosen.check:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(schema_text(), encoding="utf-8")
        return 0
    if file.is_file() and file.read_text(encoding="utf-8") == schema_text():
        return 0
    sys.stderr.write(f"{file} is not up to date; run: python -m grayscale.plan.schema\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
