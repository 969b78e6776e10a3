"""What every test gets."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run on the stock event loop; tests of the server start their own process."""
    return "asyncio", {"use_uvloop": False}
