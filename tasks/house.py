"""The one way in which tasks are declared here."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import httpx
from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from grayscale.control import Control, connection_from
from grayscale.errors import ControlUnreachable

P = ParamSpec("P")
R = TypeVar("R")

# About 67 s in all: a relay that is restarted, or away for 20 s, fails nothing.
RETRY_DELAYS_SECONDS = (0.5, 1, 2, 3, 5, 5, 10, 10, 10, 10, 10)


def relay_task(
    name: str, *, run_name: Callable[[dict[str, Any]], str] | None = None
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Task[P, Coroutine[Any, Any, R]]]:
    """A task that talks to the relay: tried again while the relay is away, never remembered.

    `run_name` makes its title in Prefect's list from the parameters of the call.

    A persisted or cached look at the release would be the last one for ever within its run, and
    a repeated effect is the relay's to recognise, by its Idempotency-Key.
    """
    return task(
        name=name,
        task_run_name=_titled(run_name) if run_name else name,
        retries=len(RETRY_DELAYS_SECONDS),
        retry_delay_seconds=list(RETRY_DELAYS_SECONDS),
        retry_condition_fn=_relay_is_away,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def look_task(
    name: str,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Task[P, Coroutine[Any, Any, R]]]:
    """A task that only shows something in Prefect: tried twice more, never remembered."""
    return task(
        name=name,
        task_run_name=name,
        retries=2,
        retry_delay_seconds=1,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


@contextmanager
def only_shown() -> Iterator[None]:
    """For what only people look at: an error of Prefect's is told, and disturbs no release."""
    try:
        yield
    except (PrefectException, httpx.HTTPError) as error:
        get_run_logger().warning("Prefect's pages may lag behind: %s", error)


def _titled(run_name: Callable[[dict[str, Any]], str]) -> Callable[..., str]:
    def task_run_name(parameters: dict[str, Any]) -> str:
        return run_name(parameters)

    return task_run_name


def relay() -> Control:
    """The relay that the environment names, or the one that this task is `connected_by`."""
    return _connect.get()()


@contextmanager
def connected_by(connect: Callable[[], Control]) -> Iterator[None]:
    """Within it `relay` is what `connect` makes: for conductors that run side by side."""
    token = _connect.set(connect)
    try:
        yield
    finally:
        _connect.reset(token)


def _named_by_environment() -> Control:
    connection = connection_from(os.environ)
    return Control(connection.base_url, connection.api_key)


_connect: ContextVar[Callable[[], Control]] = ContextVar("connect", default=_named_by_environment)


def _relay_is_away(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.data, ControlUnreachable)
