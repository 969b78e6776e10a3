"""The pages cannot drift: what the code has, they name; what they show, the code takes."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from pydantic import BaseModel
from starlette.routing import Route
from typer.main import get_command

from grayscale.cli.main import app as cli
from grayscale.notices.settings import EmailSettings, SlackSettings, WebhookSettings
from grayscale.plan import parse_plan
from grayscale.relay.admin.app import admin_app
from grayscale.settings import Limits, PrefectSettings, Settings, UpstreamSettings, settings_from

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def verbs(command: object, before: str = "") -> Iterator[str]:
    """Every command of the command line, in full."""
    for name, sub in getattr(command, "commands", {}).items():
        if getattr(sub, "commands", None):
            yield from verbs(sub, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page."""
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def test_every_call_is_on_the_api_page() -> None:
    """Each route of the admin app stands in docs/api.md with its method."""

    async def flush() -> None:
        """Nothing is counted here."""

    nothing = SimpleNamespace(health=None, clock=None)  # only the routes are looked at
    application = admin_app(nothing, nothing, flush)  # type: ignore[arg-type]
    for route in application.routes:
        assert isinstance(route, Route)
        path = route.path.removeprefix("/v1")
        methods = (route.methods or set()) - {"HEAD"}
        for method in methods:
            named = f"`{method} {path}`" if route.path.startswith("/v1") else f"`{path}`"
            assert named in API, named


def test_every_event_is_on_the_api_page() -> None:
    """Each type of event that the code writes stands in docs/api.md."""
    folders = [ROOT / "src" / "grayscale" / part for part in ("plane", "relay")]
    source = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    types = set(re.findall(r'"((?:release|split|lease|notice)\.[a-z_]+)"', source))
    assert len(types) > 10
    assert {name for name in types if f"`{name}`" not in API} == set()


def test_every_command_is_on_the_commands_page() -> None:
    """Each verb of the command line stands in docs/commands.md."""
    missing = [verb for verb in verbs(get_command(cli)) if verb not in COMMANDS]
    assert missing == []


@pytest.mark.parametrize(
    "model",
    [
        Settings,
        UpstreamSettings,
        PrefectSettings,
        Limits,
        SlackSettings,
        WebhookSettings,
        EmailSettings,
    ],
)
def test_every_setting_is_on_the_settings_page(model: type[BaseModel]) -> None:
    """Each field of grayscale.yaml stands in docs/settings.md."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    assert [name for name in names if f"`{name}`" not in SETTINGS] == []


def test_the_sample_settings_are_good_settings() -> None:
    """The YAML of README and docs/settings.md is read without complaint."""
    secret = "whsec_" + "A" * 32
    for page in (README, SETTINGS):
        sample = next(block for block in blocks(page, "yaml") if "upstreams:" in block)
        filled = re.sub(r"\$\{WEBHOOK_SECRET\}", secret, sample)
        assert settings_from(yaml.safe_load(filled), source="sample").upstreams


def test_the_sample_plan_is_a_good_plan() -> None:
    """README's plan is read without complaint."""
    sample = next(block for block in blocks(README, "yaml") if "version_name:" in block)
    assert parse_plan(sample, "README.md").steps_percent == (10, 25, 50, 100)


def test_the_readmes_commands_exist() -> None:
    """Each `grayscale …` line of README is a command."""
    known = set(verbs(get_command(cli)))
    lines = [line for block in blocks(README, "sh") for line in block.splitlines()]
    used = [line.split()[1] for line in lines if line.startswith("grayscale ")]
    assert used
    assert [verb for verb in used if verb not in {name.split()[0] for name in known}] == []
