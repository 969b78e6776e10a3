"""The notifications block of grayscale.yaml is checked at the door and gives no secret away."""

import base64
import json

import pytest
from pydantic import ValidationError

from grayscale.notices import NotificationSettings, build_notifiers

SECRET = "whsec_" + base64.b64encode(b"thirty-two-bytes-of-made-up-keys").decode()
BLOCK: dict[str, dict[str, object]] = {
    "slack": {"token": "xoxb-made-up", "channel": "#releases"},
    "webhook": {"url": "https://hooks.example.test/in/made-up-path", "secret": SECRET},
    "email": {
        "smtp": "smtps://grayscale:made-up-password@mail.example.test",
        "from": "Grayscale <grayscale@example.test>",
        "to": ["oncall@example.test"],
    },
}


def test_block_of_the_documentation_is_read() -> None:
    """All three channels are read as DESIGN.md writes them, and all three are built."""
    settings = NotificationSettings.model_validate(BLOCK)
    assert settings.slack is not None
    assert settings.slack.base_url == "https://slack.com/api/"
    assert settings.email is not None
    assert settings.email.from_ == "Grayscale <grayscale@example.test>"
    assert set(build_notifiers(settings)) == {"slack", "webhook", "email"}


def test_channels_are_optional() -> None:
    """An empty block is valid and builds nothing."""
    assert build_notifiers(NotificationSettings()) == {}


def test_settings_know_which_channels_there_are() -> None:
    """`has` is true for what is set up, and for nothing else that has a name."""
    settings = NotificationSettings.model_validate({"slack": BLOCK["slack"]})
    names = ("slack", "webhook", "email", "pager", "has", "model_fields")
    assert [name for name in names if settings.has(name)] == ["slack"]


def test_slack_channel_can_be_overridden() -> None:
    """`channel_override` replaces the configured Slack channel."""
    settings = NotificationSettings.model_validate({"slack": BLOCK["slack"]})
    built = build_notifiers(settings, channel_override="#night-shift")
    assert "#night-shift" in repr(built["slack"])


def test_secrets_do_not_show() -> None:
    """Neither repr nor JSON of settings and channels holds a token, password, path or secret."""
    settings = NotificationSettings.model_validate(BLOCK)
    shown = repr(settings) + repr(build_notifiers(settings))
    assert "made-up" not in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("channel", "changes", "field", "message"),
    [
        ("slack", {"token": ""}, "token", "at least 1"),
        ("slack", {"room": "#x"}, "room", "not permitted"),
        ("slack", {"base_url": "slack.com"}, "base_url", "http:// or https://"),
        ("webhook", {"url": "ftp://made-up"}, "url", "http:// or https://"),
        ("webhook", {"url": "https://made-up:99999/"}, "url", "ort"),
        ("webhook", {"secret": "made-up"}, "secret", "secrets.token_bytes"),
        ("webhook", {"secret": "whsec_c2hvcnQ="}, "secret", "24 to 64 bytes"),
        ("email", {"smtp": "mail.example.test"}, "smtp", "smtp://"),
        ("email", {"smtp": "smtp://h?starttls=perhaps"}, "smtp", "starttls=required"),
        ("email", {"to": []}, "to", "at least 1"),
        ("email", {"to": ["nobody"]}, "to", "not an email address"),
        ("email", {"from": "a@b.test\r\nBcc: c@d.test"}, "from", "not an email address"),
    ],
)
def test_mistakes_are_named_without_showing_secrets(
    channel: str, changes: dict[str, object], field: str, message: str
) -> None:
    """A mistake names its field and what to do; the text of the error never holds the input."""
    block = {**BLOCK[channel], **changes}
    with pytest.raises(ValidationError) as error:
        NotificationSettings.model_validate({channel: block})
    problem = error.value.errors()[0]
    assert field in problem["loc"]
    assert message in problem["msg"]
    assert "made-up" not in str(error.value)
    assert json.loads(error.value.json(include_input=False))
