"""`versions list|create|show|diff|quarantine|lift`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.fake_relay import FakeRelay

VERSIONS = "/v1/admin/versions"


def version(name: str, alias: str, temperature: float) -> dict[str, Any]:
    """A version as the relay lists it."""
    return {
        "name": name, "aliases": [alias], "status": "active", "weight_percent": 90.0,
        "base_version": None, "config_hash": "ab", "config": {"parameters": {"t": temperature}},
        "created_at": "2026-01-02T03:04:05.000Z", "created_by": "admin",
    }  # fmt: skip


@pytest.fixture
def two_versions(relay: FakeRelay) -> FakeRelay:
    """A relay with v1 (stable) and v2 (beta)."""
    relay.says("GET", VERSIONS, {"data": [version("v1", "stable", 0), version("v2", "beta", 1)]})
    return relay


def test_versions_are_listed(cli: Cli, two_versions: FakeRelay) -> None:
    """One line per version, with its aliases."""
    lines = cli("versions", "list").out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["v1", "stable", "active"], ["v2", "beta", "active"],
    ]  # fmt: skip
    assert len(json.loads(cli("versions", "list", "--json").out)["data"]) == 2


def test_show_takes_an_alias(cli: Cli, two_versions: FakeRelay) -> None:
    """`stable` is the version behind it, configuration included."""
    shown = cli("versions", "show", "stable").out
    assert "v1" in shown
    assert '"t": 0' in shown


def test_show_of_an_unknown_version_names_those_there_are(
    cli: Cli, two_versions: FakeRelay
) -> None:
    """An unknown name is a usage error that lists the others."""
    result = cli("versions", "show", "v9")
    assert result.code == 2
    assert "v1, v2" in result.err


def test_diff_shows_what_differs(cli: Cli, two_versions: FakeRelay) -> None:
    """A diff of configurations, as `diff -u` writes it."""
    out = cli("versions", "diff", "stable", "v2").out
    assert '-    "t": 0' in out
    assert '+    "t": 1' in out
    same = json.loads(cli("versions", "diff", "v1", "v1", "--json").out)
    assert (same["equal"], same["diff"]) == (True, [])


def test_create_sends_the_overrides_of_a_file(cli: Cli, relay: FakeRelay, tmp_path: Path) -> None:
    """The overrides file is the merge patch."""
    (tmp_path / "patch.yaml").write_text("parameters: {temperature: 0.2}\n")
    relay.says("POST", VERSIONS, version("v3", "beta", 0.2), status=201)
    result = cli("versions", "create", "v3", "--overrides", "patch.yaml")
    assert (result.code, result.out) == (0, "v3\n")
    assert relay.writes[0].body == {
        "name": "v3", "base_version": "stable",
        "config_overrides": {"parameters": {"temperature": 0.2}},
    }  # fmt: skip


@pytest.mark.parametrize("text", ["- a list", "{", None])
def test_create_refuses_a_file_that_is_no_mapping(
    cli: Cli, relay: FakeRelay, tmp_path: Path, text: str | None
) -> None:
    """A file that is missing, broken or a list is a usage error that names it."""
    if text is not None:
        (tmp_path / "patch.yaml").write_text(text)
    result = cli("versions", "create", "v3", "--overrides", "patch.yaml")
    assert (result.code, relay.seen) == (2, [])
    assert "patch.yaml" in result.err


@pytest.mark.parametrize(("verb", "status"), [("quarantine", "quarantined"), ("lift", "retired")])
def test_a_configuration_is_barred_and_given_back(
    cli: Cli, relay: FakeRelay, verb: str, status: str
) -> None:
    """A person's word needs a reason, which goes on record; refusals by conflict exit with 4."""
    relay.says("POST", f"{VERSIONS}/v2/{verb}", {"name": "v2", "status": status})
    done = cli("versions", verb, "v2", "--reason", "leaks")
    assert (done.code, done.out.split()) == (0, ["v2", status])
    assert relay.writes[0].body == {"reason": "leaks"}
    assert cli("versions", verb, "v2").code == 2
    relay.refuses("POST", f"{VERSIONS}/v1/{verb}", 409, "config_not_allowed", "it is stable")
    assert cli("versions", verb, "v1", "--reason", "leaks").code == 4
