"""Compiles the hash-pinned requirement files from pyproject.toml: `lock.py [--upgrade]`.

    dev.txt      everything: the runtime, the checks, the tests
    runtime.txt  what a server needs
    relay.txt    what the relay alone needs: the runtime without Prefect
    build.txt    what builds the project, for installations without build isolation

Run it with the oldest Python that is supported: packages that only newer ones need are rare,
packages that only older ones need would be missing.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
OLDEST_PYTHON = (3, 11)
NOT_FOR_THE_RELAY = ("prefect", "fastapi")
HEADER = "# Written by `make lock` from pyproject.toml; edit that instead.\n"
OPTIONS = (
    "--generate-hashes",
    "--allow-unsafe",  # pip-tools needs pip and setuptools, and then their hashes too
    "--strip-extras",
    "--no-header",
    "--no-emit-index-url",
    "--no-emit-trusted-host",
    "--no-emit-find-links",
    "--no-emit-options",
    "--no-annotate",
    "--quiet",
)


def project_name(requirement: str) -> str:
    """The normalised name in a requirement: `SQLAlchemy[asyncio]>=2` is `sqlalchemy`."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    if match is None:
        raise ValueError(f"not a requirement: {requirement!r}")
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def requirement_sets() -> dict[str, list[str]]:
    """What goes into each file; `dev` first, because the others take their versions from it."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runtime = pyproject["project"]["dependencies"]
    build = pyproject["build-system"]["requires"]
    return {
        "dev": runtime + build + pyproject["dependency-groups"]["dev"],
        "runtime": runtime,
        "relay": [r for r in runtime if project_name(r) not in NOT_FOR_THE_RELAY],
        "build": build,
    }


def compile_set(name: str, requirements: list[str], *, upgrade: bool) -> None:
    """Pin one set with hashes; what it holds already keeps its version unless upgraded."""
    output = REQUIREMENTS / f"{name}.txt"
    command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, "--output-file", str(output)]
    if name != "dev":
        command += ["--constraint", str(REQUIREMENTS / "dev.txt")]
    if upgrade:
        command.append("--upgrade")
    lines = "\n".join(requirements)
    subprocess.run([*command, "-"], input=lines, text=True, check=True, cwd=ROOT)
    output.write_text(HEADER + output.read_text(encoding="utf-8"), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Compile all sets, one after the other."""
    if sys.version_info[:2] != OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        print(f"make lock runs on Python {wanted}, this is {sys.version.split()[0]}")
        return 2
    for name, requirements in requirement_sets().items():
        print(f"requirements/{name}.txt", flush=True)
        compile_set(name, requirements, upgrade="--upgrade" in arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
