"""How often and how soon the judge is right, in seeded releases."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence

from benchmarks.judge.cells import CELLS, Cell
from benchmarks.judge.measure import Measured, lines
from grayscale.simulation import Ended, run

_CELLS = {cell.name: cell for cell in CELLS}
_SEEDS_PER_RUN = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen cells and print their table."""
    options = _parser().parse_args(arguments)
    chosen = [_CELLS[name] for name in options.only or _CELLS]
    measured = []
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for cell in chosen:
            began = time.perf_counter()
            first = options.seed * _SEEDS_PER_RUN
            jobs = [(cell.name, first + index) for index in range(options.rollouts)]
            rollouts = pool.map(_one, jobs, chunksize=max(1, options.rollouts // 20))
            measured.append(Measured(cell, tuple(rollouts)))
            print(f"{cell.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    print("\n".join(lines(measured)))
    failed = [figure for one in measured for figure in one.figures() if figure.kept is False]
    return 1 if failed else 0


def _one(job: tuple[str, int]) -> Ended:
    name, seed = job
    cell: Cell = _CELLS[name]
    return run(cell.plan, cell.world, seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("--rollouts", type=int, default=200, help="releases per cell")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=sorted(_CELLS), metavar="CELL")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    return parser
