"""The channel that tells nobody."""

from __future__ import annotations

from grayscale.notices.seam import Notice


class NullNotifier:
    """Takes every notice and drops it."""

    async def send(self, *, notice: Notice) -> None:
        """Do nothing, well."""
