"""Holds files and functions to the sizes that one can read: `check_sizes.py [FOLDER…]`.

Files up to 400 lines (tests 600), functions up to 40, nine functions in ten up to 25.
Functions in tests tell stories and have no limit of their own.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FILE_LINES_MAX = 400
TEST_FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 40
SHORT_FUNCTION_LINES_MAX = 25
SHORT_FUNCTIONS_SHARE_MIN = 0.9
FOLDERS = ("src", "flows", "tasks", "tools", "benchmarks", "tests")


@dataclass(frozen=True)
class Function:
    """A function and how many lines it has, from `def` to its last line."""

    path: Path
    line: int
    name: str
    lines: int


def functions_of(path: Path) -> Iterator[Function]:
    """Every function of a file, nested ones too."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(path, node.lineno, node.name, lines)


def is_test(path: Path) -> bool:
    """Whether the limits for tests hold for this file."""
    return "tests" in path.parts


def too_long_files(paths: Iterable[Path]) -> Iterator[str]:
    """One complaint for each file over its limit."""
    for path in paths:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        limit = TEST_FILE_LINES_MAX if is_test(path) else FILE_LINES_MAX
        if lines > limit:
            yield f"{path}: {lines} lines (at most {limit})"


def too_long_functions(functions: Iterable[Function]) -> Iterator[str]:
    """One complaint for each function over the limit, and one if too few are short."""
    functions = list(functions)
    for f in functions:
        if f.lines > FUNCTION_LINES_MAX:
            yield f"{f.path}:{f.line}: {f.name} has {f.lines} lines (at most {FUNCTION_LINES_MAX})"
    share = short_share(functions)
    if share < SHORT_FUNCTIONS_SHARE_MIN:
        yield (
            f"{share:.1%} of the functions have up to {SHORT_FUNCTION_LINES_MAX} lines "
            f"(at least {SHORT_FUNCTIONS_SHARE_MIN:.0%})"
        )


def short_share(functions: list[Function]) -> float:
    """The share of functions that have up to 25 lines."""
    if not functions:
        return 1.0
    return sum(f.lines <= SHORT_FUNCTION_LINES_MAX for f in functions) / len(functions)


def main(folders: list[str]) -> int:
    """Print what is too long, then one line of totals; 1 if anything is."""
    roots = [Path(folder) for folder in folders or FOLDERS]
    paths = sorted(path for root in roots for path in root.rglob("*.py"))
    functions = [f for path in paths if not is_test(path) for f in functions_of(path)]
    complaints = [*too_long_files(paths), *too_long_functions(functions)]
    for complaint in complaints:
        print(complaint)
    longest = max((f.lines for f in functions), default=0)
    print(
        f"sizes: {len(paths)} files, {len(functions)} functions outside tests, "
        f"longest {longest} lines, {short_share(functions):.1%} up to {SHORT_FUNCTION_LINES_MAX}"
    )
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
