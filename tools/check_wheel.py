"""Builds the wheel as a user gets it, and uses it in an environment that holds nothing else.

1. source distribution, and from that (so nothing is missing in it) the wheel
2. one import name in it, and the application (flows, tasks, plans) as data
3. the relay, installed without Prefect, serves
4. `grayscale up` runs from a folder that holds somebody else's `flows/`
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from tools.wheel_runs import (
    FOREIGN_FLOW,
    Served,
    WheelProblem,
    clean_environment,
    free_port,
    served,
)

ROOT = Path(__file__).resolve().parent.parent
IMPORT_NAME = "grayscale"
RELAY_SETTINGS = """
upstreams:
  nobody: {base_url: "http://127.0.0.1:9/v1"}
models:
  some-model: {upstream: nobody, model: some-model}
"""
SHIPPED = (
    "grayscale/py.typed",
    "grayscale/_app/flows/release.py",
    "grayscale/_app/tasks/__init__.py",
    "grayscale/_app/prefect.yaml",
)


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command; its output is shown only if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise WheelProblem(f"{' '.join(map(str, command))} failed:\n{done.stdout}")


def build(folder: Path) -> Path:
    """The wheel, built from the unpacked source distribution."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def problems_in(names: list[str]) -> list[str]:
    """What is wrong with a wheel that holds these files."""
    tops = {name.split("/")[0] for name in names}
    imports = sorted(top for top in tops if not top.endswith(".dist-info"))
    problems = [f"{name} is missing" for name in SHIPPED if name not in names]
    if imports != [IMPORT_NAME]:
        problems.append(f"import names {imports}, not only {IMPORT_NAME!r}")
    if not any(n.startswith("grayscale/_app/deployments/") for n in names):
        problems.append("no deployments in grayscale/_app")
    problems += [f"{n} has no place in it" for n in names if "__pycache__" in n or "/tests/" in n]
    return problems


def make_environment(folder: Path) -> Path:
    """An environment with nothing but pip; answers its `bin` folder."""
    venv.create(folder, with_pip=True)
    return folder / "bin"


def make_folder(folder: Path) -> Path:
    """An empty folder to run in."""
    folder.mkdir()
    return folder


def install(binaries: Path, *what: str | Path) -> None:
    """Install with the environment's own pip, from outside the source tree."""
    pip = (binaries / "python", "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "install", *what, cwd=binaries)


def install_pinned(binaries: Path, name: str) -> None:
    """Install a hash-pinned file; it is its own constraint, as in the Makefile."""
    pinned = ROOT / "requirements" / name
    install(binaries, "--require-hashes", "-r", pinned, "-c", pinned)


def check_relay(binaries: Path, folder: Path) -> None:
    """The relay starts where Prefect is not installed, answers, and stops on a SIGTERM."""
    absent = "import importlib.util as u; raise SystemExit(u.find_spec('prefect') is not None)"
    run(binaries / "python", "-c", absent, cwd=folder)
    (folder / "grayscale.yaml").write_text(RELAY_SETTINGS, encoding="utf-8")
    port = free_port()
    command = [str(binaries / "grayscale"), "relay", "--listen", f"127.0.0.1:{port}"]
    with served(Served(command, f"http://127.0.0.1:{port}/healthz", folder, 60)):
        pass


def check_up(binaries: Path, folder: Path) -> None:
    """`up` serves beside somebody else's `flows/`, and Prefect knows our deployments."""
    (folder / "flows").mkdir()
    (folder / "flows" / "__init__.py").write_text(FOREIGN_FLOW, encoding="utf-8")
    port, prefect_port = free_port(), free_port()
    command = [str(binaries / "grayscale"), "up", "--listen", f"127.0.0.1:{port}"]
    command += ["--prefect-port", str(prefect_port)]
    deployment = f"http://127.0.0.1:{prefect_port}/api/deployments/name/release/on-demand"
    with served(Served(command, deployment, folder, 180)):
        pass


def check(folder: Path, *, with_up: bool) -> None:
    """All of it, in this folder."""
    wheel = build(folder)
    if problems := problems_in(zipfile.ZipFile(wheel).namelist()):
        raise WheelProblem("\n".join([wheel.name, *problems]))
    print(f"wheel: {wheel.name} holds {IMPORT_NAME} alone, and the application as data")
    binaries = make_environment(folder / "environment")
    install_pinned(binaries, "relay.txt")
    install(binaries, "--no-deps", wheel)
    check_relay(binaries, make_folder(folder / "relay"))
    print("wheel: the relay serves without Prefect")
    if with_up:
        install_pinned(binaries, "runtime.txt")
        check_up(binaries, make_folder(folder / "up"))
        print("wheel: `grayscale up` serves beside somebody else's flows")


def main() -> int:
    """0 if the wheel is what users need."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--relay-only", action="store_true", help="leave out step 4")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="grayscale-wheel-") as name:
        try:
            check(Path(name), with_up=not arguments.relay_only)
        except WheelProblem as problem:
            print(problem, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
