"""The transport seam: one request to an upstream, and the few ways in which it can fail.

    UpstreamFailure
    ├── UpstreamUnreachable   no connection was made: nothing was sent
    ├── UpstreamTimeout       sent, and no answer in time
    └── UpstreamBroken        sent, and the connection broke or what came was not HTTP

`httpx.AsyncBaseTransport` is the seam. Transports are called directly, never through a client.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import NoReturn

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from grayscale.errors import GrayscaleError
from grayscale.settings import Limits

_KEEP_ALIVE_SECONDS = 15.0
_READ_BUFFER_BYTES = 64 * 1024
_MAX_HEAD_LINE_BYTES = 64 * 1024
_SKIPPED_AUTO_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class UpstreamFailure(GrayscaleError):
    """An upstream gave no usable answer."""


class UpstreamUnreachable(UpstreamFailure):
    """No connection could be made; nothing was sent."""


class UpstreamTimeout(UpstreamFailure):
    """The upstream did not go on in time; it may have acted."""


class UpstreamBroken(UpstreamFailure):
    """The connection broke, or what came over it was not HTTP; the upstream may have acted."""


class SoundAiohttpTransport(httpx.AsyncBaseTransport):
    """httpx-aiohttp, with what its defaults get wrong for a relay set right.

    It would send one caller's cookies with the next caller's request, add headers of its own, wait
    without bound for a connection, and call a reset after sending a connect error. Errors leave
    here as the httpx errors they are: `ConnectError` and `ConnectTimeout` only if nothing was sent.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._inner: AiohttpTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; its whole body is there already (`ByteStream`)."""
        if self._inner is None:
            # The session checks certificates; a context of the inner transport's is never used,
            # and loading the root certificates into one more takes a tenth of a second.
            unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._inner = AiohttpTransport(verify=unused, client=_session(self._limits))
        try:
            await request.aread()  # at no cost: it lets the inner transport send one piece
            response = await self._inner.handle_async_request(request)
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            _raise_as_httpx(error, request)
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _SoundStream(response.stream, request)
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        if self._inner is not None:
            await self._inner.aclose()


class _SoundStream(httpx.AsyncByteStream):
    """An answer's body, with its errors named rightly."""

    def __init__(self, inner: httpx.AsyncByteStream, request: httpx.Request) -> None:
        self._inner = inner
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                yield chunk
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            _raise_as_httpx(error, self._request)

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            _raise_as_httpx(error, self._request)


def _session(limits: Limits) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=limits.upstream_connections, keepalive_timeout=_KEEP_ALIVE_SECONDS
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_SKIPPED_AUTO_HEADERS,
        auto_decompress=False,
        trust_env=False,
        read_bufsize=_READ_BUFFER_BYTES,
        max_line_size=_MAX_HEAD_LINE_BYTES,
        max_field_size=_MAX_HEAD_LINE_BYTES,
    )


def _raise_as_httpx(error: Exception, request: httpx.Request) -> NoReturn:
    """httpx-aiohttp calls most things a connect time-out; aiohttp's own error is the cause."""
    cause = error if isinstance(error, aiohttp.ClientError) else error.__cause__ or error
    text = str(cause) or type(cause).__name__
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        raise httpx.ConnectTimeout(text, request=request) from error
    if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.InvalidURL):
        raise httpx.ConnectError(text, request=request) from error
    if isinstance(cause, aiohttp.ServerTimeoutError | TimeoutError | httpx.TimeoutException):
        raise httpx.ReadTimeout(text, request=request) from error
    if isinstance(cause, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        raise httpx.RemoteProtocolError(text, request=request) from error
    raise httpx.ReadError(text, request=request) from error


async def send_upstream(
    transport: httpx.AsyncBaseTransport, request: httpx.Request
) -> httpx.Response:
    """The upstream's answer as soon as its head is there; raises UpstreamFailure."""
    try:
        return await transport.handle_async_request(request)
    except httpx.TransportError as error:
        raise failure_from(error) from error


def failure_from(error: httpx.TransportError) -> UpstreamFailure:
    """What an httpx error means for a relay; exact about whether anything was sent."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return UpstreamUnreachable(f"no connection to the upstream: {error}")
    if isinstance(error, httpx.TimeoutException):
        return UpstreamTimeout(f"the upstream did not answer in time: {error}")
    if isinstance(error, httpx.UnsupportedProtocol):
        return UpstreamUnreachable(f"the upstream's address is unusable: {error}")
    return UpstreamBroken(f"the upstream's answer broke off: {error}")
