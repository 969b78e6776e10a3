"""Seeded bad luck: whatever can happen to a process, a message, a clock or a decision."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tests.survival.processes import PROCESS, Edge, Effects, Harm, Lost

T = TypeVar("T")
_LONGEST_FREEZE_SECONDS = 60.0
_LONGEST_DELAY_SECONDS = 4.0
_HARMS = [Harm.KILL, Harm.FREEZE, Harm.LOSE, Harm.FAIL]
_AS_OFTEN_AS = [3, 2, 4, 2]


@dataclass(slots=True)
class Chaos(Effects):
    """Side effects that are delayed, doubled, lost, or the last thing that a process does.

    `share` of them are struck until `calm`; then nothing is any more.
    """

    rng: random.Random = field(default_factory=random.Random)
    share: float = 0.0
    calm: bool = False
    log: list[str] = field(default_factory=list)

    async def carry_out(self, label: str, deed: Callable[[], Awaitable[T]]) -> T:
        """Do it; whatever strikes it is drawn beforehand, so that a seed says all."""
        await PROCESS.get().goes_on()
        self.seen.append(label)
        strikes = not self.calm and self.rng.random() < self.share
        if not strikes:
            return await deed()
        harm, edge = self._draw(label)
        if edge is Edge.BEFORE:
            await self._strike(harm)
        done = await deed()
        if edge is Edge.AFTER:
            await self._strike(harm)
        return done

    def _draw(self, label: str) -> tuple[Harm | None, Edge]:
        delayed = self.rng.random() < 0.2
        harm = None if delayed else self.rng.choices(_HARMS, _AS_OFTEN_AS)[0]
        edge = self.rng.choice(list(Edge))
        now = asyncio.get_running_loop().time()
        said = "delay" if harm is None else harm.value
        self.log.append(f"{now:7.2f} {PROCESS.get().name}: {said} {edge.value} {label}")
        return harm, edge

    async def _strike(self, harm: Harm | None) -> None:
        process = PROCESS.get()
        match harm:
            case None:
                await asyncio.sleep(self.rng.uniform(0, _LONGEST_DELAY_SECONDS))
            case Harm.KILL:
                process.kill()
                await asyncio.Event().wait()
            case Harm.FREEZE:
                await process.freeze(self.rng.uniform(1, _LONGEST_FREEZE_SECONDS))
            case Harm.LOSE:
                raise Lost(self.log[-1])
            case Harm.FAIL:
                process.commits_fail += 1
