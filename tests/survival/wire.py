"""The way to the admin application: its own calls and answers, without HTTP's bytes between."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx
from starlette.types import ASGIApp, Message

from grayscale.control import Control
from grayscale.control.protocol import read_answer
from grayscale.errors import ControlUnreachable
from tests.survival.invariants import Witness
from tests.survival.processes import Effects, Lost

KEY = "gs_survival_0123456789abcdefghijklmnop"


class Wire(Control):
    """A conductor's client: each of its calls is one of the world's side effects."""

    def __init__(self, app: ASGIApp, effects: Effects, witness: Witness) -> None:
        self._app = app
        self._effects = effects
        self._witness = witness

    async def __aexit__(self, *_raised: object) -> None:
        """There is nothing to give back."""

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """The JSON of its answer, unless something happens to it on its way."""

        async def send() -> httpx.Response:
            outdated = self._witness.outdated(headers or {})
            answer = await answered(self._app, method, path, body, query=query, headers=headers)
            if outdated and answer.is_success:
                self._witness.broken.append(f"broken: an outdated fence is refused: {path}")
            return answer

        try:
            return read_answer(await self._effects.carry_out(_label(path, body), send))
        except Lost as lost:
            raise ControlUnreachable(str(lost)) from lost


def _label(path: str, body: Mapping[str, Any] | None) -> str:
    verb = path.rpartition("/")[2]
    if verb == "act" and body is not None:
        verb = f"act {body['verb']}"
    return "read" if verb.startswith("rel_") else verb


async def answered(
    app: ASGIApp,
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    *,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """What the application says to a call by its path under `/v1`."""
    content = b"" if body is None else json.dumps(body).encode()
    given = {"Authorization": f"Bearer {KEY}", **(headers or {})}
    asked = {name: value for name, value in (query or {}).items() if value is not None}
    scope = {
        "type": "http",
        "method": method,
        "path": f"/v1{path}",
        "query_string": urlencode(asked).encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
    }
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        said.append(message)

    await app(scope, receive, send)
    return httpx.Response(
        said[0]["status"],
        content=b"".join(message.get("body", b"") for message in said[1:]),
        request=httpx.Request(method, "http://relay") if said[0]["status"] >= _AN_ERROR else None,
    )


_AN_ERROR = 400
