"""The recorded intervals over the admin API."""

from typing import Any

from sqlalchemy import insert

from grayscale.plane.plane import Plane
from grayscale.store import schema
from tests.plane.admin.test_releases_api import created


async def test_intervals_are_handed_out_in_pages(api: Any, plane: Plane) -> None:
    """Oldest first, `after` an interval's number, and a release's own alone."""
    release_id = (await created(api))["id"]
    async with plane.write() as tx:
        for owner, number in ((release_id, 1), (release_id, 2), (release_id, 3), ("rel_x", 1)):
            data = {"at": "", "config": "config-1", "interval": {"id": number}, "verdict": {}}
            await tx.run(
                insert(schema.intervals).values(release_id=owner, interval_id=number, data=data)
            )
    path = f"/admin/releases/{release_id}/intervals"
    first = await api.get(f"{path}?limit=2")
    rest = await api.get(f"{path}?after=2")
    assert [row["id"] for row in first["data"]] == [1, 2]
    assert first["data"][0] == {
        "id": 1, "at": None, "config_id": "config-1", "stopped_by": None, "interval": {"id": 1},
        "verdict": {},
    }  # fmt: skip
    assert ([row["id"] for row in rest["data"]], rest["has_more"]) == ([3], False)
    assert first["has_more"] is True
    wrong = await api.get(f"{path}?after=x", status=422)
    assert wrong["error"]["param"] == "after"
    await api.get("/admin/releases/rel_none/intervals", status=404)
