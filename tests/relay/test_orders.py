"""What a worker is told on its pipe."""

from __future__ import annotations

import base64

import msgspec

from grayscale.relay.orders import Orders, with_secrets
from grayscale.settings import Settings

_WEBHOOK_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
_EVERYTHING = Settings.model_validate(
    {
        "upstreams": {
            "main": {
                "base_url": "https://api.example/v1",
                "api_key": "sk-secret",
                "headers": {"x-team": "secret-team"},
            }
        },
        "models": {
            "gpt-4.1": {
                "upstream": "main",
                "model": "gpt-4.1-2025",
                "aliases": ["gpt"],
                "price": {"input_usd_per_mtok": 2.0},
            }
        },
        "prefect": {"auth_string": "user:secret"},
        "notifications": {
            "slack": {"token": "xoxb-secret", "channel": "#releases"},
            "webhook": {"url": "https://hooks.example/x", "secret": _WEBHOOK_SECRET},
            "email": {
                "smtp": "smtp://user:secret@mail.example",
                "from": "relay@example.com",
                "to": ["oncall@example.com"],
            },
        },
        "limits": {"drain_seconds": 5},
        "metering": "off",
    }
)


def test_settings_arrive_whole() -> None:
    """A worker has exactly the parent's settings, secrets included, after one line of JSON."""
    orders = Orders(
        settings=with_secrets(_EVERYTHING), data_dir="/data", control="a:b", sockets={"all": 3}
    )
    line = msgspec.json.encode(orders)
    assert b"\n" not in line
    read = msgspec.json.decode(line, type=Orders)
    assert Settings.model_validate(read.settings) == _EVERYTHING
    assert read.sockets == {"all": 3}
