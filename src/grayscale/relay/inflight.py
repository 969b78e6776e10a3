"""The requests that each version is serving right now, so that they can be counted and cut."""

from __future__ import annotations

from grayscale.relay.watch import Cause, Watch


class InFlight:
    """Running requests by version."""

    def __init__(self) -> None:
        self._by_version: dict[str, set[Watch]] = {}
        self.total = 0

    def add(self, version: str, watch: Watch) -> None:
        """`version` begins to serve the request of `watch`."""
        running = self._by_version.get(version)
        if running is None:
            running = self._by_version[version] = set()
        running.add(watch)
        self.total += 1

    def remove(self, version: str, watch: Watch) -> None:
        """`version` is done with the request of `watch`."""
        self._by_version[version].remove(watch)
        self.total -= 1

    def in_flight(self, version: str) -> int:
        """How many requests `version` is serving in this worker."""
        return len(self._by_version.get(version, ()))

    def counts(self) -> dict[str, int]:
        """Running requests by version, without zeros."""
        return {version: len(running) for version, running in self._by_version.items() if running}

    def cut(self, version: str) -> int:
        """End the version's requests: an error frame, or stable if nothing was sent yet."""
        running = list(self._by_version.get(version, ()))
        for watch in running:
            watch.interrupt(Cause.CUT)
        return len(running)

    def cut_all(self) -> int:
        """End every running request; the worker is about to leave."""
        return sum(self.cut(version) for version in list(self._by_version))
