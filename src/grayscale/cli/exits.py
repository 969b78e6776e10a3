"""Exit codes: what a script can learn from a command without reading its words."""

from __future__ import annotations

from enum import IntEnum

from grayscale.errors import (
    ControlRefused,
    ControlUnreachable,
    GrayscaleError,
    SettingsError,
    StoreUnavailable,
)
from grayscale.release.phases import State


class ExitCode(IntEnum):
    """DESIGN.md section 10."""

    OK = 0
    FAILED = 1
    USAGE = 2
    WAITING = 3
    CONFLICT = 4
    UNREACHABLE = 5


class UsageProblem(GrayscaleError):
    """What was typed cannot be carried out; the message says what to type instead."""


def exit_code_of_error(error: GrayscaleError) -> ExitCode:
    """What the shell is told about an error."""
    match error:
        case ControlRefused(status=409 | 412):
            return ExitCode.CONFLICT
        case ControlUnreachable() | StoreUnavailable() | ControlRefused(status=429):
            return ExitCode.UNREACHABLE
        case ControlRefused() | SettingsError() | UsageProblem():
            return ExitCode.USAGE
        case _:
            return ExitCode.FAILED


def exit_code_of_state(state: State) -> ExitCode:
    """What the shell is told about a release that is over, or that waits for a person.

    A state in which the release goes on by itself is OK: nothing is wrong yet.
    """
    match state:
        case State.AWAITING_APPROVAL | State.PAUSED:
            return ExitCode.WAITING
        case State.ROLLED_BACK | State.FAILED | State.REJECTED | State.SUPERSEDED:
            return ExitCode.FAILED
        case _:
            return ExitCode.OK
