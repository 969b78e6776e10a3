"""What `doctor` finds on the network: relay, key, Prefect and its worker."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from grayscale.cli.finding import Finding, broken, note, ok
from grayscale.control import Connection
from grayscale.settings import PrefectSettings

_TIMEOUT_SECONDS = 5.0
_MOST_SKEW_SECONDS = 5.0
_DEPLOYMENTS = frozenset({"release/on-demand", "rollback/on-demand", "nightly-canary/nightly"})


def check_relay(base_url: str, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> list[Finding]:
    """Whether a relay answers, and whether its clock and ours agree."""
    root = base_url.removesuffix("/v1")
    try:
        answer = httpx.get(f"{root}/readyz", timeout=timeout_seconds, trust_env=False)
    except httpx.HTTPError as error:
        return [_nobody_home("relay", root, error, start="grayscale up")]
    body = _json(answer)
    if not isinstance(body, dict) or "status" not in body:
        text = f"something answers at {root}, but it is no relay; another --listen is needed"
        return [broken("relay", text)]
    if answer.status_code != 200:
        state = broken("relay", f"{root} answers {answer.status_code}: {body['status']}")
    elif body["status"] == "degraded":
        state = note("relay", f"{root} serves, degraded: {body.get('reasons')}")
    else:
        state = ok("relay", f"{root} is ready")
    return [state, _clock(answer)]


def check_key(connection: Connection) -> Finding:
    """Whether the key is one that the relay knows, and may look."""
    try:
        answer = httpx.get(
            f"{connection.base_url}/admin/versions",
            headers={"Authorization": f"Bearer {connection.api_key}"},
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        return broken("key", f"cannot be tried: {error}")
    match answer.status_code:
        case 200:
            return ok("key", "the relay accepts it")
        case 401:
            return broken(
                "key", "the relay does not know it; set GRAYSCALE_API_KEY to one that it does"
            )
        case 403:
            return note("key", "valid, but without scope `read`: it cannot look at releases")
        case status:
            return broken("key", f"the relay answers {status} to it")


def check_prefect(settings: PrefectSettings) -> list[Finding]:
    """Whether Prefect answers, knows our flows, and has a worker to run them."""
    if not settings.enabled:
        return [note("prefect", "switched off in the settings: releases stay queued")]
    url = settings.api_url.rstrip("/")
    secret = settings.auth_string.get_secret_value() if settings.auth_string else None
    auth = httpx.BasicAuth(*secret.split(":", 1)) if secret and ":" in secret else None
    with httpx.Client(base_url=url, auth=auth, timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
        try:
            answer = client.get("/health")
            if answer.status_code == 401:
                return [broken("prefect", f"{url} wants a password: set prefect.auth_string")]
            if answer.status_code != 200 or _json(answer) is not True:
                return [broken("prefect", f"{url} answers {answer.status_code}, not Prefect's way")]
            found = [ok("prefect", f"{url} is healthy")]
            return [*found, _deployments(client), _workers(client)]
        except httpx.HTTPError as error:
            return [_nobody_home("prefect", url, error, start="grayscale up")]


def _deployments(client: httpx.Client) -> Finding:
    rows = _list(client, "/deployments/filter")
    flows = {row["id"]: row["name"] for row in _list(client, "/flows/filter")}
    there = {f"{flows.get(row['flow_id'])}/{row['name']}" for row in rows}
    missing = sorted(_DEPLOYMENTS - there)
    if missing:
        return broken("flows", f"not deployed: {', '.join(missing)}; `grayscale up` deploys them")
    return ok("flows", f"{len(_DEPLOYMENTS)} deployments are there")


def _workers(client: httpx.Client) -> Finding:
    pools = _list(client, "/work_pools/filter")
    online = [
        f"{worker['name']} ({pool['name']})"
        for pool in pools
        for worker in _list(client, f"/work_pools/{pool['name']}/workers/filter")
        if worker.get("status") == "ONLINE"
    ]
    if online:
        return ok("worker", f"online: {', '.join(online)}")
    pool = pools[0]["name"] if pools else "grayscale"
    return broken("worker", f"none is online: grayscale up, or prefect worker start -p {pool}")


def _list(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    rows = _json(client.post(path, json={}))
    return rows if isinstance(rows, list) else []


def _clock(answer: httpx.Response) -> Finding:
    said = answer.headers.get("date")
    if said is None:
        return note("clock", "the relay says no time; not compared")
    apart = abs((datetime.now(UTC) - parsedate_to_datetime(said)).total_seconds())
    if apart > _MOST_SKEW_SECONDS:
        return broken("clock", f"{apart:.0f} s apart from the relay's; set up NTP")
    return ok("clock", "agrees with the relay's")


def _nobody_home(what: str, url: str, error: httpx.HTTPError, *, start: str) -> Finding:
    parsed = httpx.URL(url)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    try:
        with socket.create_connection((parsed.host, port), timeout=1):
            return broken(what, f"port {port} is taken by something that speaks no HTTP: {error}")
    except OSError:
        return broken(what, f"nothing answers at {url}; the port is free: {start}")


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
