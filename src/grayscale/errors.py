"""Every error that Grayscale raises on purpose, in one tree.

GrayscaleError
├── PlanError                a plan that cannot be read or makes no sense (grayscale.plan)
├── SettingsError            grayscale.yaml or the environment is wrong
├── NoticeError              a notice could not be delivered (grayscale.notices)
├── LeadLost                 a worker that leads no more tried to (grayscale.relay.leader)
├── JudgeInputError          counters that cannot be true (grayscale.judge)
├── StoreError               the control store cannot be used
│   ├── StoreUnavailable     busy, full or unreachable; worth another try
│   └── StoreLost            the file or database vanished or was replaced
├── Refused                  a request that the control plane does not carry out (has a code)
└── ControlError             what a client of the admin API sees (grayscale.control)
    ├── ControlUnreachable   no answer, or an answer that says "later"
    │   ├── ControlBusy      the answer that says "later", with the reason
    │   └── NotRecorded      a takeaway that is in force; its record follows
    └── ControlRefused       an answer that says no, with its code
"""

from __future__ import annotations


class GrayscaleError(Exception):
    """The root: everything that Grayscale raises on purpose."""


class SettingsError(GrayscaleError):
    """Settings are missing or wrong; the message names the setting and what to do."""


class StoreError(GrayscaleError):
    """The control store cannot be used."""


class StoreUnavailable(StoreError):
    """The store is busy, full or unreachable; traffic goes on, the write may be tried again."""


class StoreLost(StoreError):
    """The store vanished or was replaced under a running relay; nothing is written to it."""


_TYPE_BY_STATUS = {429: "requests", 500: "server_error", 502: "server_error"}


class Refused(GrayscaleError):
    """A request that is not carried out, in the shape that API.md gives to errors.

    `status` is the HTTP status, `code` one of API.md's error codes, `param` the field at fault,
    `extra` further members of the answer (such as the current config of a `config_changed`).
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
        extra: dict[str, object] | None = None,
        error_type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers or {}
        self.extra = extra or {}
        self.error_type = error_type or _TYPE_BY_STATUS.get(
            status, "server_error" if status >= 500 else "invalid_request_error"
        )

    def body(self) -> dict[str, object]:
        """The answer's JSON: `{"error": {"code", "message", "type", "param"}, ...extra}`."""
        error: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "type": self.error_type,
            "param": self.param,
        }
        return {"error": error, **self.extra}


class ControlError(GrayscaleError):
    """What a client of the admin API sees when a call does not succeed."""


class ControlUnreachable(ControlError):
    """The relay did not answer, or answered that it cannot right now (5xx)."""


class ControlBusy(ControlUnreachable):
    """The relay answered that it cannot do this right now (5xx), and why."""


class NotRecorded(ControlUnreachable):
    """The candidate has no traffic any more; the store could not be written, which follows."""


class ControlRefused(ControlError):
    """The relay answered no: `status`, `code`, `param` and `body` say why."""

    def __init__(self, status: int, code: str, message: str, body: dict[str, object]) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.body = body
