"""The wheel: one import name, with the application inside as data."""

import zipfile
from pathlib import Path

import pytest

from tools.check_wheel import SHIPPED, build, problems_in

GOOD = [*SHIPPED, "grayscale/_app/deployments/a.yaml", "grayscale-0.1.0.dist-info/METADATA"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from the unpacked source distribution."""
    return zipfile.ZipFile(build(tmp_path_factory.mktemp("wheel")))


def test_the_wheel_is_what_users_need(wheel: zipfile.ZipFile) -> None:
    """It holds `grayscale` alone, and flows, tasks, plans and prefect.yaml under `_app`."""
    assert problems_in(wheel.namelist()) == []


def test_the_wheel_tells_its_types_and_licence(wheel: zipfile.ZipFile) -> None:
    """Type checkers of users read our annotations; the licence travels along."""
    names = wheel.namelist()
    assert "grayscale/py.typed" in names
    assert any(Path(name).name == "LICENSE" for name in names)


def test_the_wheel_offers_one_command(wheel: zipfile.ZipFile) -> None:
    """`grayscale` is the only script."""
    (entry_points,) = [n for n in wheel.namelist() if n.endswith("entry_points.txt")]
    text = wheel.read(entry_points).decode()
    assert text.split() == ["[console_scripts]", "grayscale", "=", "grayscale.cli.main:main"]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        pytest.param([*GOOD, "flows/__init__.py"], "import names", id="a second import name"),
        pytest.param(GOOD[1:], "grayscale/py.typed is missing", id="a file left out"),
        pytest.param([*SHIPPED, "grayscale/a.py"], "no deployments", id="no deployments"),
        pytest.param([*GOOD, "grayscale/__pycache__/a.pyc"], "no place", id="compiled files"),
    ],
)
def test_a_wrong_wheel_is_noticed(names: list[str], problem: str) -> None:
    """Each way in which a wheel was ever wrong has its complaint."""
    assert problems_in(GOOD) == []
    assert any(problem in found for found in problems_in(names))
