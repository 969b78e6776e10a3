"""Prefect as releases meet it: runs, forms whose answers are kept, a worker that starts runs.

Like the real one it never runs a killed run again: its state stays as it was.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from grayscale.prefect_api import FlowRun, PrefectApi, PrefectRefused, PrefectUnreachable
from tests.survival.processes import Effects, Lost, Process

STARTS_AFTER_SECONDS = 2.0


class Suspended(Exception):
    """How a conductor leaves that sleeps behind its form."""


@dataclass(slots=True)
class Run:
    """One flow run, its form, and the answers that were given to it."""

    id: str
    release_id: str
    state: str = "SCHEDULED"
    state_name: str = ""
    form: str | None = None
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    process: Process | None = None
    began: int = 0

    def seen(self) -> FlowRun:
        """As Prefect's API shows it."""
        return FlowRun(
            id=self.id,
            name=self.id,
            state_type=self.state,
            state_name=self.state_name or self.state.title(),
            state_message="",
            has_form=self.form is not None,
            tags=(f"release:{self.release_id}",),
            parameters={"release_id": self.release_id},
        )


class MemoryPrefect(PrefectApi):
    """The three calls that the leader makes, over runs in memory; `main` is what a run does."""

    def __init__(self, effects: Effects, main: Callable[[Run], Coroutine[Any, Any, str]]) -> None:
        self._effects = effects
        self._main = main
        self._starting: set[asyncio.Task[None]] = set()
        self.runs: dict[str, Run] = {}
        self.by_key: dict[str, str] = {}
        self.away = False

    async def create_run(
        self,
        deployment: str,
        *,
        parameters: Mapping[str, Any],
        idempotency_key: str | None = None,
        tags: Iterable[str] = (),
        name: str | None = None,
    ) -> FlowRun:
        """A new run, or the one that this key has made."""

        async def create() -> FlowRun:
            key = idempotency_key or str(len(self.runs))
            if key not in self.by_key:
                self.by_key[key] = self.add(parameters["release_id"]).id
            return self.runs[self.by_key[key]].seen()

        self._check()
        try:
            return await self._effects.carry_out("create run", create)
        except Lost as lost:
            raise PrefectUnreachable(str(lost)) from lost

    async def read_run(self, run_id: str) -> FlowRun:
        """One run; 404 if there is none."""
        self._check()
        if run_id not in self.runs:
            raise PrefectRefused(404, "Flow run not found")
        return self.runs[run_id].seen()

    async def find_deployment(self, deployment: str) -> str | None:
        """The flows are deployed here."""
        self._check()
        return "deployment"

    def _check(self) -> None:
        if self.away:
            raise PrefectUnreachable("nothing answers")

    # ---------------------------------------------------------------- the worker

    def add(self, release_id: str) -> Run:
        """A run that starts in a moment."""
        run = Run(f"run-{len(self.runs) + 1}", release_id)
        self.runs[run.id] = run
        self.start_later(run)
        return run

    def start_later(self, run: Run) -> None:
        """The worker takes it up."""
        run.state, run.form = "SCHEDULED", None
        task = asyncio.create_task(self._start(run))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, run: Run) -> None:
        await asyncio.sleep(STARTS_AFTER_SECONDS)
        if run.state != "SCHEDULED":
            return
        run.state, run.began = "RUNNING", run.began + 1
        run.process = Process(f"{run.id}.{run.began}")
        run.process.start(self._live(run, run.process))

    async def _live(self, run: Run, process: Process) -> None:
        try:
            name = await self._main(run)
        except Suspended as suspended:
            if run.state == "RUNNING":
                run.state, run.form = "PAUSED", str(suspended)
            return
        except Exception as error:  # noqa: BLE001 - as in Prefect: the run has failed
            if run.state == "RUNNING" and process.alive:
                run.state, run.state_name = "FAILED", repr(error)
            return
        if process.alive and run.state == "RUNNING":
            run.state, run.state_name = "COMPLETED", name

    # ---------------------------------------------------------------- people and conductors

    def close_others(self, run: Run) -> None:
        """What a conductor does to the release's other runs."""
        for other in self.runs.values():
            same = other is not run and other.release_id == run.release_id
            if same and other.state in {"PAUSED", "RUNNING"}:
                other.state, other.state_name, other.form = "COMPLETED", "Superseded", None

    def answer(self, run: Run, value: dict[str, Any]) -> None:
        """A person fills in the form: the answer is kept, and the run begins again."""
        if run.form is None:
            raise LookupError(f"{run.id} shows no form")
        run.answers[run.form.partition(": ")[2]] = value
        self.start_later(run)

    def stored_answer(self, release_id: str, question: str) -> dict[str, Any] | None:
        """The answer to a question, in whichever run it was given."""
        found = [
            run.answers[question]
            for run in self.runs.values()
            if run.release_id == release_id and question in run.answers
        ]
        return found[-1] if found else None

    @property
    def alive(self) -> list[Run]:
        """Runs whose process lives."""
        return [
            run for run in self.runs.values()
            if run.state == "RUNNING" and run.process is not None and run.process.alive
        ]  # fmt: skip
