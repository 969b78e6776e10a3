"""Prefect's server is patient with its own SQLite file."""

from __future__ import annotations

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from grayscale.up.prefect_server import RetryWhenBusy


class LockedError(Exception):
    """What the database says."""


async def unavailable(_request: Request, _error: Exception) -> Response:
    """The answer to it, as Prefect gives it."""
    return PlainTextResponse("database is locked", 503)


class Busy:
    """An app whose database is locked for the first so many requests."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.bodies: list[bytes] = []

    async def __call__(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        self.left -= 1
        if self.left >= 0:
            raise LockedError
        return PlainTextResponse("done", 201)


def client(busy: Busy) -> httpx.AsyncClient:
    """A client of that app behind three retries."""
    routes = [Route("/resume", busy.__call__, methods=["POST"])]
    inner = Starlette(routes=routes, exception_handlers={Exception: unavailable})
    transport = httpx.ASGITransport(
        RetryWhenBusy(inner, (0.0, 0.0, 0.0)), raise_app_exceptions=False
    )
    return httpx.AsyncClient(transport=transport, base_url="http://prefect.test")


async def test_a_locked_database_is_not_the_callers_affair() -> None:
    """A request that met a locked database is carried out again, with the same body."""
    busy = Busy(2)
    async with client(busy) as http:
        answer = await http.post("/resume", content=b"approve")
    assert (answer.status_code, answer.text) == (201, "done")
    assert busy.bodies == [b"approve"] * 3


async def test_a_database_that_stays_locked_is_told() -> None:
    """After the last try the caller gets the 503 as it is."""
    busy = Busy(99)
    async with client(busy) as http:
        answer = await http.post("/resume")
    assert (answer.status_code, answer.text) == (503, "database is locked")
    assert len(busy.bodies) == 4


async def test_other_answers_pass_at_once() -> None:
    """Nothing else is repeated."""
    async with client(Busy(0)) as http:
        assert (await http.post("/resume")).status_code == 201
        assert (await http.post("/elsewhere")).status_code == 404
