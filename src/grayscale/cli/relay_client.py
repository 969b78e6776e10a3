"""The commands' way to the relay: settings from the environment, dry runs, releases by name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio
import httpx
import typer

from grayscale.cli.exits import UsageProblem
from grayscale.cli.output import put, put_json
from grayscale.control import Connection, Control, connection_from
from grayscale.errors import ControlBusy, ControlRefused, ControlUnreachable, GrayscaleError
from grayscale.release.record import ReleaseRecord

R = TypeVar("R")

_NEAREST_SHOWN = 5


class WouldSend(GrayscaleError):
    """A dry run has reached its first write, and ends here."""

    def __init__(self, request: httpx.Request) -> None:
        super().__init__(f"{request.method} {request.url}")
        self.request = request

    def show(self, *, as_json: bool) -> None:
        """Print the request that was not sent, without the key."""
        headers = {
            name: value
            for name, value in self.request.headers.items()
            if name.startswith(("x-", "if-match", "idempotency-"))
        }
        body = json.loads(self.request.content) if self.request.content else None
        if as_json:
            said = {"method": self.request.method, "url": str(self.request.url)}
            put_json({"dry_run": True, **said, "headers": headers, "body": body})
            return
        put(f"{self.request.method} {self.request.url}")
        for name, value in headers.items():
            put(f"{name}: {value}")
        if body is not None:
            put(json.dumps(body, indent=2, ensure_ascii=False))


class ReadOnlyTransport(httpx.AsyncBaseTransport):
    """Sends what reads and raises WouldSend instead of sending what writes."""

    def __init__(self) -> None:
        self._real = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "GET":
            raise WouldSend(request)
        return await self._real.handle_async_request(request)

    async def aclose(self) -> None:
        await self._real.aclose()


def connection() -> Connection:
    """Where the relay is, and the key."""
    return connection_from(os.environ)


def with_relay(
    work: Callable[[Control], Coroutine[Any, Any, R]],
    *,
    dry_run: bool = False,
    as_json: bool = False,
) -> R:
    """Run a piece of work against the relay; its errors say what to do next.

    A dry run ends the command at its first write, after showing it.
    """
    settings = connection()

    async def session() -> R:
        transport = ReadOnlyTransport() if dry_run else None
        async with Control(settings.base_url, settings.api_key, transport) as control:
            return await work(control)

    try:
        return anyio.run(session)
    except ControlBusy as error:
        raise ControlBusy(
            f"the relay cannot do that now: {error}\n"
            "Traffic goes on; `grayscale abort` and `grayscale rollback` need no store. "
            "`grayscale doctor` looks closer."
        ) from error
    except ControlUnreachable as error:
        raise ControlUnreachable(
            f"no answer from the relay: {error}\n"
            "Start one with `grayscale up`, or point GRAYSCALE_URL to it; "
            "`grayscale doctor` looks closer."
        ) from error
    except ControlRefused as error:
        raise with_advice(error) from error
    except WouldSend as unsent:
        unsent.show(as_json=as_json)
        raise typer.Exit from unsent


def with_advice(error: ControlRefused) -> ControlRefused:
    """The same refusal, with what a person at a shell can do about it."""
    advice = {
        401: "Set GRAYSCALE_API_KEY, or run this where .grayscale/admin.key is the relay's.",
        403: "Use a key with that scope: grayscale keys create NAME --scope …",
        412: "It has changed since you looked: read it again, then repeat.",
    }.get(error.status)
    text = f"{error.message} ({error.code})"
    if advice:
        text += f"\n{advice}"
    return ControlRefused(error.status, error.code, text, error.body)


async def find_release(control: Control, name: str) -> ReleaseRecord:
    """The release of this id, or the newest one of this version."""
    if name.startswith("rel_"):
        return await control.release(name)
    versions: dict[str, None] = {}
    after: str | None = None
    while True:
        page = await control.releases(limit=100, after=after)
        for row in page["data"]:
            if row["version"] == name:
                return await control.release(row["id"])
            versions[row["version"]] = None
            after = row["id"]
        if not page.get("has_more") or not page["data"]:
            raise UsageProblem(_no_release(name, list(versions)))


def _no_release(name: str, versions: list[str]) -> str:
    if not versions:
        return f"no release of '{name}'; there are none yet: grayscale release PLAN"
    shown = ", ".join(versions[:_NEAREST_SHOWN])
    return f"no release of '{name}'; the newest are of: {shown} (all: grayscale list)"
