"""`ControlSync`: the same calls for code without an event loop, such as the command line."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio
import httpx

from grayscale.control.client import Control

P = ParamSpec("P")
R = TypeVar("R")


class ControlSync:
    """`control.do(Control.approve, "rel_…", note="…")`: any method of Control, typed, to its end.

    Each call has its own event loop and connection: right for a command that makes a few.
    """

    def __init__(
        self, base_url: str, api_key: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._base_url, self._api_key, self._transport = base_url, api_key, transport

    def do(
        self,
        method: Callable[Concatenate[Control, P], Coroutine[Any, Any, R]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Run one method of Control; raises what it raises."""

        async def once() -> R:
            async with Control(self._base_url, self._api_key, self._transport) as control:
                return await method(control, *args, **kwargs)

        return anyio.run(once)
