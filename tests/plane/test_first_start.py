"""The admin key: made once, kept beside the store, and to be had again when the file is gone."""

from pathlib import Path

import pytest

from grayscale.errors import SettingsError
from grayscale.plane import keys
from grayscale.plane.bootstrap import KEY_FILE, admin_key, first_start
from grayscale.plane.plane import Plane

_GIVEN = "0123456789abcdef" * 2


async def test_a_lost_admin_key_is_replaced_by_a_given_one(plane: Plane, tmp_path: Path) -> None:
    """Who moves to another machine without the file is told, and gets in by GRAYSCALE_ADMIN_KEY."""
    kept = admin_key(tmp_path, given=None)
    (tmp_path / KEY_FILE).unlink()
    assert await first_start(plane, tmp_path, given_key=None) is None
    with pytest.raises(SettingsError, match="put the file back, or set GRAYSCALE_ADMIN_KEY"):
        admin_key(tmp_path, given=None)
    assert await first_start(plane, tmp_path, given_key=_GIVEN) is None
    assert admin_key(tmp_path, given=_GIVEN) == _GIVEN
    async with plane.read() as tx:
        known = [await keys.find_by_secret(tx, secret) for secret in (kept, _GIVEN)]
    assert all(known)
