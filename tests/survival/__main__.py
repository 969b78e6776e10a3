"""Proof that releases survive: `python -m tests.survival --help`."""

import argparse
import sys
import time

from tests.survival import every_point
from tests.survival.every_point import Case
from tests.survival.processes import Edge, Fault, Harm
from tests.survival.running import failures, quietly

_REPLAY = "PYTHONPATH=src:. python -m tests.survival"


def main() -> int:
    """What was asked for; 1 if anything went wrong."""
    asked = _parser().parse_args()
    if asked.point is not None:
        return _one_point(asked)
    return _every_point(asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.survival", description=__doc__)
    parser.add_argument("--points", action="store_true", help="harm every side effect in turn")
    parser.add_argument("--all", action="store_true", help="with every harm, also the rarer ones")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument("--story", choices=list(every_point.STORIES), default="promoted")
    parser.add_argument("--point", type=int, help="harm this one side effect")
    parser.add_argument("--edge", type=Edge, choices=list(Edge), default=Edge.BEFORE)
    parser.add_argument("--harm", type=Harm, choices=list(Harm), default=Harm.KILL)
    return parser


def _one_point(asked: argparse.Namespace) -> int:
    quietly()
    problems = every_point.problems_of(
        Case(asked.story, Fault(asked.point, asked.edge, asked.harm))
    )
    _say("\n".join(problems) or "as if nothing had been")
    return 1 if problems else 0


def _every_point(asked: argparse.Namespace) -> int:
    began = time.monotonic()
    work = [
        case for story in every_point.STORIES for case in every_point.cases(story, every=asked.all)
    ]
    failed = failures(work, every_point.problems_of, jobs=asked.jobs)
    for case, problems in failed:
        _say("\n    ".join([f"{_REPLAY} {case.arguments}", *problems]))
    points = sum(len(every_point.points(story)) for story in every_point.STORIES)
    _say(
        f"survival: {points} points, {len(work)} harms, {len(failed)} wrong "
        f"({time.monotonic() - began:.0f} s)"
    )
    return 1 if failed else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
