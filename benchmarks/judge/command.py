"""How often and how soon a judge is right, in seeded releases."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from zlib import crc32

from benchmarks.judge import cost, report
from benchmarks.judge.cells import ALL_THE_WAY, CELLS, PLAN
from benchmarks.judge.judges import JUDGES, OWN
from benchmarks.judge.measure import Figure, Measured
from grayscale.simulation import Ended, run

_CELLS = {cell.name: cell for cell in CELLS}
_COST = "cost"
_SEEDS_PER_RUN = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables; 1 if Grayscale's judge fails a cell."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    chosen = options.only or [*_CELLS, _COST]
    figures = cost.figures() if _COST in chosen else []
    results = _measured([name for name in chosen if name != _COST], options)
    command = " ".join(["python -m benchmarks.judge", *_without_write(arguments)])
    if "--seed" not in command:
        command += f" --seed {options.seed}"
    tables = report.tables(results, figures, command=command)
    print("\n\n".join(tables.values()))
    if options.write:
        report.write(tables)
    return _judged(results, figures)


def _judged(results: report.Results, figures: Sequence[Figure]) -> int:
    failed = report.failed(results, figures)
    if failed:
        print(f"below the bar: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _measured(cells: Sequence[str], options: argparse.Namespace) -> report.Results:
    """Every chosen cell under every chosen judge; all judges see the same releases of a cell."""
    results: dict[str, dict[str, Measured]] = {}
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for cell in cells:
            results[cell] = {}
            first = (crc32(cell.encode()) + options.seed) * _SEEDS_PER_RUN
            for judge in options.judges:
                began = time.perf_counter()
                jobs = [(cell, judge, first + index) for index in range(options.rollouts)]
                rollouts = pool.map(_one, jobs, chunksize=max(1, options.rollouts // 20))
                results[cell][judge] = Measured(_CELLS[cell], tuple(rollouts))
                seconds = time.perf_counter() - began
                print(f"{cell}, {judge}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return results


def _one(job: tuple[str, str, int]) -> Ended:
    name, judge, seed = job
    cell = _CELLS[name]
    plan = ALL_THE_WAY if cell.all_the_way else PLAN
    return run(plan, cell.world, seed, means=JUDGES[judge])


def _without_write(arguments: Sequence[str]) -> list[str]:
    return [argument for argument in arguments if argument != "--write"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("--rollouts", type=int, default=200, help="releases per cell and judge")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", nargs="+", choices=[*_CELLS, _COST], metavar="CELL", help=", ".join(_CELLS)
    )
    parser.add_argument(
        "--judges", nargs="+", choices=list(JUDGES), default=[OWN], help="those to compare"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true", help="put the tables into the README")
    return parser
