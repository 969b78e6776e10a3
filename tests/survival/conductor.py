"""The real conductor, without a Prefect server: the flow's own loop and the tasks' own bodies.

Real: `flows.release.conduct`, every task's function, `decide`, the control client, its HTTP
requests and the admin application that answers them. Stood in for: Prefect's engine (a task is
tried again by its own delays), its pages, its forms (tests.survival.prefect).
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State

from flows import endings
from flows.hands import Hands
from flows.release import conduct
from grayscale.errors import ControlRefused, ControlUnreachable
from grayscale.release.record import ReleaseRecord
from grayscale.release.sleeping import is_asleep
from tasks import approvals, asking, releases, soak, traffic
from tasks.house import RETRY_DELAYS_SECONDS, connected_by
from tests.survival.prefect import MemoryPrefect, Run, Suspended
from tests.survival.wire import Wire

ASLEEP = "asleep"


def tried_again(task: Task[..., Any]) -> Callable[..., Awaitable[Any]]:
    """A task's own function, tried again as Prefect does while the relay is away."""
    return while_away(task.fn)


def while_away(deed: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """It is tried again as a task of the house is."""

    async def call(*args: Any, **named: Any) -> Any:
        for delay in RETRY_DELAYS_SECONDS:
            try:
                return await deed(*args, **named)
            except ControlUnreachable:
                await asyncio.sleep(delay)
        return await deed(*args, **named)

    return call


class Conductor:
    """One flow run's process."""

    def __init__(self, run: Run, prefect: MemoryPrefect, wire: Wire) -> None:
        self._run = run
        self._prefect = prefect
        self._wire = wire

    async def main(self) -> str:
        """What the flow run does; the name of its final state."""
        with connected_by(lambda: self._wire):
            ended: State[Any] = await conduct(self._run.release_id, self._hands())
        return str(ended.name)

    def _hands(self) -> Hands:
        return Hands(
            run_id=lambda: self._run.id,
            claim=tried_again(releases.claim_release),
            create_version=tried_again(releases.create_version),
            set_split=tried_again(traffic.set_split),
            verify_split=tried_again(traffic.verify_split),
            soak=tried_again(soak.soak),
            sleep=self._sleep,
            extend=tried_again(releases.extend_soak),
            ask=tried_again(releases.ask_for_approval),
            wait_for_person=partial(asking.wait_for_person, door=self._door()),
            bake=tried_again(releases.begin_bake),
            promote=tried_again(releases.promote),
            give_up=tried_again(releases.give_up),
            refused=_refused,
            join=_shown,
            close_older_runs=self._close_older_runs,
            name_run=_shown,
            show_split=_shown,
            show_verdict=_shown,
        )

    async def _close_older_runs(self, _release_id: str) -> None:
        self._prefect.close_others(self._run)

    def _door(self) -> asking.Door:
        """The forms are in memory."""
        return asking.Door(
            run_id=lambda: self._run.id,
            name_question=tried_again(approvals.name_question),
            stored_answer=self._stored_answer,
            hand_in=tried_again(approvals.hand_in),
            announce_form=tried_again(approvals.announce_form),
            show_form=_suspended,
        )

    async def _stored_answer(self, release_id: str, question: str) -> Any:
        return self._prefect.stored_answer(release_id, question)

    async def _sleep(self, record: ReleaseRecord, *, fence: int, reason: str) -> ReleaseRecord:
        """`tasks.sleep.sleep`, with the form in memory."""
        record = await self._goes("sleep", record, fence, reason)
        if is_asleep(record) and record.waiting_run_id == self._run.id:
            raise Suspended(ASLEEP)
        return record

    async def _goes(
        self, verb: str, record: ReleaseRecord, fence: int, reason: str
    ) -> ReleaseRecord:
        """The tasks ask Prefect's context which run they are in; here it is told."""
        run_id = self._run.id

        async def go() -> ReleaseRecord:
            return await releases.act(record, verb, fence=fence, reason=reason, flow_run_id=run_id)

        gone: ReleaseRecord = await while_away(go)()
        return gone


async def _refused(refusal: ControlRefused, release_id: str) -> State[Any]:
    """`flows.endings.refused`, without Prefect's list of runs."""
    if refusal.code == "release_changed":
        return endings.end(await tried_again(releases.read_release)(release_id))
    return await endings.refused(refusal, release_id)


async def _suspended(_record: object, question: str, *, what: str, **_page: object) -> None:
    """Leave as behind Prefect's form, which is begun anew by its answer."""
    raise Suspended(f"{what}: {question}")


async def _shown(*_shown: object) -> None:
    """What people would see in Prefect."""
