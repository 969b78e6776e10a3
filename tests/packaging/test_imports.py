"""What may import what, where the layer contracts cannot say it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JUDGE_MAY_IMPORT = {
    "__future__", "abc", "array", "bisect", "collections", "dataclasses", "enum", "functools", "itertools",
    "math", "operator", "typing", "grayscale.errors", "grayscale.judge",
}  # fmt: skip
WITHOUT_PREFECT = """
import importlib, pkgutil, sys
sys.modules["prefect"] = None  # an import of it now fails
import grayscale
for part in ("relay", "judge", "plan", "release", "plane", "store", "traffic"):
    package = importlib.import_module(f"grayscale.{part}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
importlib.import_module("grayscale.cli.main")
print(len([name for name in sys.modules if name.startswith("grayscale.")]))
"""
SERVER_APP = """
from prefect.server.api.server import create_app
print(len(create_app(ephemeral=True).routes) > 0)
"""


def run_python(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter; its output."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": "src:.", "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def imports_of(path: Path) -> set[str]:
    """The modules that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    return names | {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}


def is_allowed(module: str) -> bool:
    """Whether the judge may import it."""
    return any(module == name or module.startswith(f"{name}.") for name in JUDGE_MAY_IMPORT)


def test_the_judge_is_arithmetic() -> None:
    """The judge imports mathematics and values only: no clock, no I/O, no package."""
    files = sorted((ROOT / "src" / "grayscale" / "judge").rglob("*.py"))
    assert files
    strange = {
        f.name: bad for f in files if (bad := {m for m in imports_of(f) if not is_allowed(m)})
    }
    assert strange == {}


def test_servers_and_the_command_line_start_without_prefect() -> None:
    """Every module of the relay, and the command line itself, imports where Prefect is missing."""
    assert int(run_python(WITHOUT_PREFECT)) > 20


def test_importing_grayscale_does_nothing() -> None:
    """`import grayscale` loads no other module of ours, and gives the version."""
    code = (
        "import sys, grayscale\n"
        "print(grayscale.__version__, [m for m in sys.modules if m.startswith('grayscale.')])"
    )
    assert run_python(code) == "0.1.0 []"


@pytest.mark.timeout(180)
def test_prefects_server_can_be_built(tmp_path: Path) -> None:
    """With a FastAPI newer than the pin, Prefect 3.8.8 fails here: `Body()` lost an argument."""
    assert run_python(SERVER_APP, PREFECT_HOME=str(tmp_path), HOME=str(tmp_path)) == "True"
