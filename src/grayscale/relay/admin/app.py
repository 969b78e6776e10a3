"""The admin application: every call of API.md that is not a proxied one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from grayscale.errors import Refused
from grayscale.plane import quarantine
from grayscale.plane.plane import Plane
from grayscale.relay.admin import (
    events,
    intervals,
    keys,
    probes,
    releases,
    rollback,
    traffic,
    versions,
)
from grayscale.relay.admin.context import Handler, endpoint, refusal
from grayscale.relay.admin.takeaways import Ledger
from grayscale.relay.app import LISTENER, Listener
from grayscale.relay.headers import request_id_of
from grayscale.relay.runtime import Runtime


def admin_app(plane: Plane, runtime: Runtime, flush: Callable[[], Awaitable[None]]) -> Starlette:
    """The ASGI app of `/v1/admin`, `/healthz`, `/readyz` and `/metrics`."""

    def route(method: str, path: str, scope: str, handler: Handler) -> Route:
        return Route(f"/v1/admin{path}", endpoint(plane, scope, handler), methods=[method])

    app = Starlette(
        routes=[
            Route("/healthz", probes.healthz),
            Route("/readyz", probes.readyz),
            Route("/metrics", _metrics(plane)),
            *_releases(route),
            *_versions_and_traffic(route),
            route("POST", "/keys", "admin", keys.create),
            route("GET", "/keys", "admin", keys.list_keys),
            route("DELETE", "/keys/{id}", "admin", keys.revoke),
            route("GET", "/events", "read", events.show),
            route("GET", "/audit", "read", events.audit),
        ],
        middleware=[Middleware(_RequestIds)],
        exception_handlers={HTTPException: _http_error},
    )
    app.router.redirect_slashes = False
    app.state.plane = plane
    app.state.runtime = runtime
    app.state.flush = flush
    app.state.ledger = Ledger(runtime.health, plane.clock)
    return app


def _metrics(plane: Plane) -> Callable[[Request], Awaitable[Response]]:
    """`/metrics`: with scope `read`, or without a key where only operators can reach it."""
    for_callers = endpoint(plane, "read", probes.metrics)

    async def serve(request: Request) -> Response:
        if request.scope.get(LISTENER) is Listener.ADMIN:
            return await probes.expose(request, plane)
        return await for_callers(request)

    return serve


_RouteMaker = Callable[[str, str, str, Handler], Route]


def _versions_and_traffic(route: _RouteMaker) -> list[Route]:
    return [
        route("GET", "/versions", "read", versions.list_versions),
        route("GET", "/versions/list", "read", versions.list_versions),
        route("POST", "/versions", "operate", versions.create_version),
        route("GET", "/versions/{name}", "read", versions.show_version),
        route("POST", "/versions/{name}/quarantine", "operate", versions.said(quarantine.bar)),
        route("POST", "/versions/{name}/lift", "operate", versions.said(quarantine.lift)),
        route("GET", "/traffic/config", "read", traffic.show_split),
        route("POST", "/traffic/config", "operate", traffic.set_split),
        route("GET", "/traffic/distribution", "read", traffic.distribution),
        route("GET", "/config/history", "read", traffic.history),
        route("GET", "/metrics/errors", "read", traffic.errors),
        route("GET", "/metrics/latency", "read", traffic.latency),
        route("POST", "/rollback", "operate", rollback.roll_back),
        route("GET", "/rollback/status", "read", rollback.status),
        route("POST", "/rollback/abort", "operate", rollback.abort),
    ]


def _releases(route: _RouteMaker) -> list[Route]:
    one = "/releases/{id}"
    routes = [
        route("GET", "/releases", "read", releases.list_releases),
        route("POST", "/releases", "operate|conduct", releases.create),
        route("GET", f"{one}/events", "read", releases.show_events),
        route("GET", f"{one}/intervals", "read", intervals.show),
        route("GET", f"{one}/wait", "read", releases.wait),
        route("POST", f"{one}/claim", "conduct", releases.claim),
        route("POST", f"{one}/renew", "conduct", releases.renew),
        route("POST", f"{one}/act", "conduct", releases.act),
        route("POST", f"{one}/abort", "operate|conduct", releases.abort),
    ]
    deeds = {
        "approve": releases.approve,
        "reject": releases.reject,
        "pause": releases.pause,
        "resume": releases.resume,
        "retry": releases.retry,
        "promote": releases.promote,
    }
    scopes = {
        "approve": "approve|conduct",
        "reject": "approve|conduct",
        "pause": "operate|conduct",
        "resume": "operate|conduct",
    }
    for verb, action in deeds.items():
        scope = scopes.get(verb, "operate")
        routes.append(route("POST", f"{one}/{verb}", scope, releases.deed(action)))
    return [*routes, route("GET", one, "read|conduct", releases.show)]


class _RequestIds:
    """Every answer has an X-Request-Id: the caller's own, if it is one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        label = (b"x-request-id", request_id_of(given))

        async def send_labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], label]
            await send(message)

        await self._app(scope, receive, send_labelled)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "invalid_request")
    message = f"{request.method} {request.url.path} is not a call of this API"
    return refusal(Refused(status, code, message, headers=headers))
