"""The real leader, in a process that can be killed and frozen at each of its looks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from grayscale.errors import GrayscaleError
from grayscale.plane.plane import Plane
from grayscale.relay.leader.leader import Leader, MakeJobs, SideJob
from tests.survival.processes import Effects


class StruckLeader(Leader):
    """Each look at the releases is one of the world's side effects."""

    def __init__(
        self, plane: Plane, name: str, jobs: MakeJobs, effects: Effects, every: float
    ) -> None:
        super().__init__(plane, name, jobs, look_every_seconds=every)
        self._effects = effects

    async def _tick(self, *what: Any) -> bool:
        look = super()._tick
        return await self._effects.carry_out("look", lambda: look(*what))


@dataclass(frozen=True, slots=True)
class Heeded:
    """A side job whose own mistakes are told: the leader would log them, and begin it again."""

    job: SideJob
    tell: Callable[[str], None]

    async def __call__(self) -> object:
        """Do the job."""
        try:
            return await self.job()
        except GrayscaleError:
            raise
        except ExceptionGroup as several:
            if several.split(GrayscaleError)[1] is not None:
                self.tell(repr(several))
            raise
        except Exception as error:
            self.tell(repr(error))
            raise
