"""Proof that releases survive: `python -m tests.survival --help`."""

import argparse
import sys
import time

from tests.survival import engine, every_point, simulator
from tests.survival.every_point import Case
from tests.survival.processes import Edge, Fault, Harm
from tests.survival.running import failures, quietly

_REPLAY = "PYTHONPATH=src:. python -m tests.survival"


def main() -> int:
    """What was asked for; 1 if anything went wrong."""
    asked = _parser().parse_args()
    if asked.engine and asked.seed is not None:
        return _on_the_engine(asked.seed)
    if asked.seed is not None:
        return _one_seed(asked.seed)
    if asked.seeds is not None:
        return _many_seeds(asked)
    if asked.point is not None:
        return _one_point(asked)
    return _every_point(asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.survival", description=__doc__)
    parser.add_argument("--seeds", type=int, help="simulate so many seeds, from --first on")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="simulate this one, and tell what befalls it")
    parser.add_argument(
        "--engine", action="store_true", help="say --seed's statements to SQLAlchemy's engine too"
    )
    parser.add_argument("--points", action="store_true", help="harm every side effect in turn")
    parser.add_argument("--all", action="store_true", help="with every harm, also the rarer ones")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument("--story", choices=list(every_point.STORIES), default="promoted")
    parser.add_argument("--point", type=int, help="harm this one side effect")
    parser.add_argument("--edge", type=Edge, choices=list(Edge), default=Edge.BEFORE)
    parser.add_argument("--harm", type=Harm, choices=list(Harm), default=Harm.KILL)
    return parser


def _one_seed(seed: int) -> int:
    quietly()
    ended = simulator.simulate(seed)
    _say("\n".join([*ended.log, *ended.problems]))
    _say(f"seed {seed}: {ended.state} after {ended.seconds:.0f} s")
    return 1 if ended.problems else 0


def _on_the_engine(seed: int) -> int:
    quietly()
    said, differences = engine.differences(seed)
    _say("\n".join([*differences, f"seed {seed}: {said} statements, {len(differences)} differ"]))
    return 1 if differences else 0


def _many_seeds(asked: argparse.Namespace) -> int:
    began = time.monotonic()
    seeds = range(asked.first, asked.first + asked.seeds)
    failed = failures(seeds, simulator.problems_of, jobs=asked.jobs)
    for seed, problems in failed:
        _say("\n    ".join([f"{_REPLAY} --seed {seed}", *problems]))
    _say(f"survival: {len(seeds)} seeds, {len(failed)} wrong ({time.monotonic() - began:.0f} s)")
    return 1 if failed else 0


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
    points = [
        f"{story}: {label}" for story in every_point.STORIES
        for _, label in every_point.points(story)
    ]  # fmt: skip
    _say("\n".join(points))
    _say(
        f"survival: {len(points)} points, {len(work)} harms, {len(failed)} wrong "
        f"({time.monotonic() - began:.0f} s)"
    )
    return 1 if failed else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
