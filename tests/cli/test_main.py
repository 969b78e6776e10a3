"""The command as a shell sees it."""

import subprocess
import sys

import pytest

from grayscale import __version__
from grayscale.cli.exits import ExitCode, UsageProblem, exit_code_of_error
from grayscale.errors import (
    ControlRefused,
    ControlUnreachable,
    GrayscaleError,
    SettingsError,
    StoreLost,
    StoreUnavailable,
)
from tests.cli.conftest import Cli

COMMANDS = (
    "init",
    "demo",
    "up",
    "relay",
    "release",
    "get",
    "status",
    "list",
    "approve",
    "reject",
    "pause",
    "resume",
    "abort",
    "retry",
    "promote",
    "rollback",
    "undo",
    "versions",
    "split",
    "keys",
    "lint",
    "audit",
    "doctor",
)
HEAVY = ("prefect", "pydantic", "httpx", "sqlalchemy", "rich", "yaml", "asyncio")


def python(*args: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a user's shell would."""
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, timeout=30, check=False
    )


def test_help_names_every_command(cli: Cli) -> None:
    """Every command of the design is there."""
    result = cli("--help")
    listed = {
        line.split()[0]
        for line in result.out.splitlines()
        if line.startswith("  ") and line.strip()
    }
    assert result.code == 0
    assert set(COMMANDS) <= listed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli: Cli, command: str) -> None:
    """`COMMAND --help` works for each, and says something."""
    result = cli(command, "--help")
    assert result.code == 0
    assert len(result.out.splitlines()) > 4


def test_version(cli: Cli) -> None:
    """`--version` is the package's."""
    assert cli("--version").out == f"grayscale {__version__}\n"


def test_the_command_line_starts_light() -> None:
    """Help is instant because nothing heavy is imported before a command needs it."""
    code = f"import sys, grayscale.cli.main; print([m for m in {HEAVY} if m in sys.modules])"
    assert python("-c", code).stdout.strip() == "[]"


def test_usage_errors_exit_with_2_in_a_real_process() -> None:
    """An unknown command is usage, without a traceback."""
    ended = python("-m", "grayscale.cli.main", "relaese")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ControlRefused(409, "stale_fence", "", {}), ExitCode.CONFLICT),
        (ControlRefused(412, "config_changed", "", {}), ExitCode.CONFLICT),
        (ControlRefused(422, "invalid", "", {}), ExitCode.USAGE),
        (ControlRefused(404, "release_not_found", "", {}), ExitCode.USAGE),
        (ControlRefused(429, "rate_limit_exceeded", "", {}), ExitCode.UNREACHABLE),
        (ControlUnreachable(""), ExitCode.UNREACHABLE),
        (StoreUnavailable(""), ExitCode.UNREACHABLE),
        (StoreLost(""), ExitCode.FAILED),
        (SettingsError(""), ExitCode.USAGE),
        (UsageProblem(""), ExitCode.USAGE),
        (GrayscaleError(""), ExitCode.FAILED),
    ],
)
def test_every_error_has_its_exit_code(error: GrayscaleError, code: ExitCode) -> None:
    """The exit codes of DESIGN.md section 10."""
    assert exit_code_of_error(error) == code
