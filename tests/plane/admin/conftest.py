"""The admin API in-process, over a real store, with an admin key."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from grayscale.plane import keys, snapshots
from grayscale.plane.actor import RELAY
from grayscale.plane.plane import Plane
from grayscale.relay.admin.app import admin_app
from grayscale.relay.brake import Brake
from grayscale.relay.runtime import Runtime
from grayscale.traffic.snapshot import SCOPES


class Api:
    """The admin API as a caller with one key sees it."""

    def __init__(self, app: Any, secret: str | None) -> None:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://relay/v1", headers=headers
        )
        self.app = app

    def with_key(self, secret: str | None) -> "Api":
        return Api(self.app, secret)

    async def get(self, path: str, *, status: int = 200, **options: Any) -> Any:
        return await self._call("GET", path, status, **options)

    async def post(self, path: str, body: Any = None, *, status: int = 200, **options: Any) -> Any:
        return await self._call("POST", path, status, json=body, **options)

    async def delete(self, path: str, *, status: int = 200) -> Any:
        return await self._call("DELETE", path, status)

    async def _call(self, method: str, path: str, status: int, **options: Any) -> Any:
        response = await self.client.request(method, path, **options)
        assert response.status_code == status, response.text
        return response.json()


@pytest.fixture
async def api(plane: Plane) -> AsyncIterator[Api]:
    async def flush() -> None:
        return None

    assert isinstance(plane.brake, Brake)
    runtime = Runtime(plane.settings, plane.brake, plane.clock)
    runtime.install(await snapshots.load(plane))
    async with plane.write() as tx:
        new = keys.NewKey(name="ann", scopes=list(SCOPES))
        created = await keys.create(tx, new, now=plane.clock.now(), actor=RELAY)
    made = Api(admin_app(plane, runtime, flush), created["key"])
    yield made
    await made.client.aclose()
