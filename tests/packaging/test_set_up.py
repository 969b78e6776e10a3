"""`make` and its set-up on machines that lack something."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OLD_PYTHON = "#!/bin/sh\nexit 1\n"
PYTHON_WITHOUT_ENSUREPIP = f"""#!/bin/sh
case "$2" in *ensurepip*) echo "ModuleNotFoundError: No module named 'ensurepip'" >&2; exit 1;; esac
exec "{sys.executable}" "$@"
"""


def make_venv(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up with this script as the only Python."""
    python = tmp_path / "some-python"
    python.write_text(script, encoding="utf-8")
    python.chmod(0o755)
    command = ["sh", str(ROOT / "tools" / "venv.sh"), str(tmp_path / "venv"), str(python)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_old_python_is_refused_with_what_to_install(tmp_path: Path) -> None:
    """Who has no Python 3.11 reads which packages to install."""
    done = make_venv(tmp_path, OLD_PYTHON)
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert all(word in done.stderr for word in ("apt install", "dnf install", "brew install"))


def test_a_missing_ensurepip_is_named_with_what_to_install(tmp_path: Path) -> None:
    """Debian's Python without python3-venv ends in one clear message, and no half environment."""
    done = make_venv(tmp_path, PYTHON_WITHOUT_ENSUREPIP)
    assert done.returncode == 1
    assert "No module named 'ensurepip'" in done.stderr
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"apt install python{version}-venv" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_what_an_interrupted_set_up_left_is_replaced(tmp_path: Path) -> None:
    """A folder without a working Python in it does not stand in the way."""
    (tmp_path / "venv" / "left").mkdir(parents=True)
    done = make_venv(tmp_path, f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "venv" / "bin" / "python").exists()
    assert not (tmp_path / "venv" / "left").exists()


@pytest.mark.parametrize("arguments", [(), ("help",)])
def test_make_lists_every_target(arguments: tuple[str, ...]) -> None:
    """`make` alone says what there is to make."""
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert re.findall(r"^  make (\S+)", done.stdout, re.MULTILINE)
    assert set(re.findall(r"^  make (\S+)", done.stdout, re.MULTILINE)) == set(phony.split())
