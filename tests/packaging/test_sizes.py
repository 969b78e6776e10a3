"""The check of sizes finds what it is there for."""

from pathlib import Path

import pytest

from tools import check_sizes


def function_of(lines: int, name: str = "f") -> str:
    """A function with this many lines."""
    return f"def {name}():\n" + "    x = 1\n" * (lines - 1)


def test_a_long_function_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """41 lines are one too many, and the complaint says where."""
    (tmp_path / "a.py").write_text("\n" + function_of(41, "sprawl"), encoding="utf-8")
    assert check_sizes.main([str(tmp_path)]) == 1
    assert "a.py:2: sprawl has 41 lines (at most 40)" in capsys.readouterr().out


def test_functions_at_the_limit_pass(tmp_path: Path) -> None:
    """40 lines are allowed where nine in ten functions are short."""
    shorts = "".join(function_of(2, f"f{i}") for i in range(9))
    (tmp_path / "a.py").write_text(function_of(40) + shorts, encoding="utf-8")
    assert check_sizes.main([str(tmp_path)]) == 0


def test_too_few_short_functions_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One in two above 25 lines is no short code, though none is over the limit."""
    (tmp_path / "a.py").write_text(function_of(26) + function_of(2, "g"), encoding="utf-8")
    assert check_sizes.main([str(tmp_path)]) == 1
    assert "50.0% of the functions" in capsys.readouterr().out


@pytest.mark.parametrize(("folder", "limit"), [("src", 400), ("tests", 600)])
def test_a_long_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str, limit: int
) -> None:
    """A file has its limit, tests a wider one."""
    path = tmp_path / folder / "a.py"
    path.parent.mkdir()
    path.write_text("x = 1\n" * limit, encoding="utf-8")
    assert check_sizes.main([str(tmp_path)]) == 0
    path.write_text("x = 1\n" * (limit + 1), encoding="utf-8")
    assert check_sizes.main([str(tmp_path)]) == 1
    assert f"{limit + 1} lines (at most {limit})" in capsys.readouterr().out


def test_nested_and_async_functions_count(tmp_path: Path) -> None:
    """A long function cannot hide in a class, in another function or behind `async`."""
    body = "class A:\n    async def g(self):\n" + "        x = 1\n" * 45
    (tmp_path / "a.py").write_text(body, encoding="utf-8")
    (found,) = check_sizes.functions_of(tmp_path / "a.py")
    assert (found.name, found.lines) == ("g", 46)
