"""The requirement files: pinned, hashed, and nobody's registry."""

import re
import tomllib
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.lock import NOT_FOR_THE_RELAY, requirement_sets

ROOT = Path(__file__).resolve().parents[2]
SETS = ("dev", "runtime", "relay", "build")
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?P<marker> ;[^\\]*)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def text_of(name: str) -> str:
    """One requirement file."""
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


@cache
def pins_of(name: str) -> dict[str, str]:
    """Versions by normalised name."""
    matches = [m for line in text_of(name).splitlines() if (m := PIN.match(line))]
    return {canonicalize_name(m["name"]): m["version"] for m in matches}


@pytest.mark.parametrize("name", SETS)
def test_every_line_is_a_pin_a_hash_or_a_comment(name: str) -> None:
    """No option, no address, no path: the files install the same from every registry."""
    lines = text_of(name).splitlines()
    strange = [
        n for n in lines if n and not n.startswith("#") and not (PIN.match(n) or HASH.match(n))
    ]
    assert strange == []
    assert pins_of(name)


@pytest.mark.parametrize("name", SETS)
def test_every_pin_has_a_hash(name: str) -> None:
    """`--require-hashes` refuses a file in which one package has none."""
    lines = text_of(name).splitlines()
    bare = [
        a
        for a, b in zip(lines, [*lines[1:], ""], strict=True)
        if PIN.match(a) and not HASH.match(b)
    ]
    assert bare == []


@pytest.mark.parametrize("name", SETS)
def test_no_host_names(name: str) -> None:
    """Comments hold none either."""
    assert (
        re.findall(r"[a-z]+://\S*|\b[\w-]+\.(?:org|com|net|io|dev|internal)\b", text_of(name)) == []
    )


@pytest.mark.parametrize("name", SETS)
def test_pins_satisfy_pyproject(name: str) -> None:
    """A requirement that was changed without `make lock` is noticed."""
    pins = pins_of(name)
    unmet = []
    for line in requirement_sets()[name]:
        requirement = Requirement(line)
        version = pins.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version):
            unmet.append(f"{line}: {version}")
    assert unmet == []


@pytest.mark.parametrize("name", ["runtime", "relay", "build"])
def test_one_version_of_each_package(name: str) -> None:
    """What the tests run with is what users install."""
    assert pins_of(name).items() <= pins_of("dev").items()


def test_the_relay_needs_no_prefect() -> None:
    """The relay's requirements are the runtime's, without Prefect and what only Prefect needs."""
    relay = pins_of("relay")
    assert not relay.keys() & {"prefect", "fastapi", "pydocket", "redis", "docker"}
    assert relay.items() < pins_of("runtime").items()
    dropped = set(requirement_sets()["runtime"]) - set(requirement_sets()["relay"])
    assert {Requirement(line).name for line in dropped} == set(NOT_FOR_THE_RELAY)


def test_every_runtime_dependency_has_a_reason() -> None:
    """The line above each dependency says why it is there."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    project = tomllib.loads("\n".join(lines))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["postgres"]]
    reasoned = {
        line.strip().rstrip(",").strip('"')
        for above, line in pairwise(lines)
        if above.startswith("    # ") and len(above.split()) >= 3
    }
    assert [w for w in wanted if w not in reasoned] == []
