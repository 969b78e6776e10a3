"""Webhooks, signed by the Standard Webhooks specification."""

from __future__ import annotations

import json
import ssl
from typing import Any

import httpx
from standardwebhooks import Webhook

from grayscale.clock import Clock
from grayscale.notices.destinations import Resolve, allowed_address, resolve
from grayscale.notices.retry_after import retry_after_seconds
from grayscale.notices.seam import Notice, NoticeError
from grayscale.notices.settings import WebhookSettings

_GONE = 410


def body_of(envelope: dict[str, Any]) -> str:
    """The event's JSON as it stands, byte for byte, in the event log."""
    return json.dumps(envelope, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class WebhookNotifier:
    """Posts the event itself; any 2xx means that it has arrived."""

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        clock: Clock,
        timeout_seconds: float = 10.0,
        resolver: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = httpx.URL(settings.url)
        self._webhook = Webhook(settings.secret.get_secret_value())
        self._clock = clock
        self._timeout = httpx.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds))
        self._resolver = resolver
        self._tls = tls

    def __repr__(self) -> str:
        """Show the host; the path may be a secret."""
        return f"<WebhookNotifier {self._url.scheme}://{self._url.host}/…>"

    async def send(self, *, notice: Notice) -> None:
        """Sign and post."""
        body = body_of(notice.envelope)
        now = self._clock.now()
        headers = {
            "content-type": "application/json",
            "user-agent": "grayscale-webhook/1",
            "webhook-id": notice.event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(notice.event_id, now, body),
        }
        status, asked = await self._post(body.encode(), headers)
        self._check(status, asked)

    async def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
        url = self._url
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await allowed_address(url.host, port, resolver=self._resolver)
        # Connects to the address that was checked, as the host that was meant. No proxies from the
        # environment: they would resolve the name again.
        pinned = url.copy_with(host=address)
        headers = {**headers, "host": url.netloc.decode("ascii")}
        try:
            async with (
                httpx.AsyncClient(
                    timeout=self._timeout,
                    follow_redirects=False,
                    trust_env=False,
                    verify=self._tls or True,
                ) as client,
                # Streamed and never read: a receiver's answer may be of any length.
                client.stream(
                    "POST",
                    pinned,
                    content=body,
                    headers=headers,
                    extensions={"sni_hostname": url.host},
                ) as answer,
            ):
                return answer.status_code, answer.headers.get("retry-after")
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise NoticeError(f"webhook {url.host} was not reached: {reason}") from error

    def _check(self, status: int, asked: str | None) -> None:
        if 200 <= status < 300:
            return
        what = f"webhook {self._url.host} answered {status}"
        if 300 <= status < 400:
            raise NoticeError(
                f"{what}: redirects are not followed; put the final address into "
                "notifications.webhook.url",
                permanent=True,
            )
        if status == _GONE:
            raise NoticeError(f"{what} Gone: it wants no more events", permanent=True)
        later = retry_after_seconds(asked, now=self._clock.now())
        raise NoticeError(what, retry_after_seconds=later)
