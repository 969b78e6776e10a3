"""The tables, as markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.judge.judges import OWN
from benchmarks.judge.measure import Figure, Measured

README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- {}: begin -->", "<!-- {}: end -->"

Results = Mapping[str, Mapping[str, Measured]]
"""By cell, then by judge."""


def tables(results: Results, cost: Sequence[Figure], *, command: str) -> dict[str, str]:
    """By their names: the bar's table, and the comparison if there is more than one judge."""
    own = [by_judge[OWN] for by_judge in results.values() if OWN in by_judge]
    judges = list(dict.fromkeys(name for by_judge in results.values() for name in by_judge))
    found = {}
    if own or cost:
        rows = [_row(one.cell.title, list(one.figures())) for one in own]
        rows += [_row("CPU of one look, default gates", cost)] if cost else []
        heads = ["| cell | measured | bar | |", "|---|---|---|---|"]
        found["figures"] = "\n".join([f"`{command}`", "", *heads, *rows])
    if len(judges) > 1:
        found["comparison"] = f"`{command}`\n\n{_comparison(results, judges)}"
    return found


def failed(results: Results, cost: Sequence[Figure]) -> list[str]:
    """The cells that Grayscale's judge fails."""
    own = [by_judge[OWN] for by_judge in results.values() if OWN in by_judge]
    names = [one.cell.name for one in own if any(f.kept is False for f in one.figures())]
    return names + ["cost"] * any(figure.kept is False for figure in cost)


def write(found: Mapping[str, str], *, into: Path = README) -> None:
    """Put a table between its markers on the page: the comparison if there is one."""
    name = list(found)[-1]
    begin, end = _BEGIN.format(name), _END.format(name)
    page = into.read_text(encoding="utf-8")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    into.write_text(f"{before}{begin}\n{found[name]}\n{end}{after}", encoding="utf-8")


def _row(title: str, figures: Sequence[Figure]) -> str:
    measured = "; ".join(f"{figure.name} {figure.measured}" for figure in figures)
    bars = "; ".join(f"{figure.name} {figure.bar}" for figure in figures if figure.bar)
    verdicts = {figure.kept for figure in figures} - {None}
    mark = "**fail**" if False in verdicts else "pass" if verdicts else ""
    return f"| {title} | {measured} | {bars} | {mark} |"


def _comparison(results: Results, judges: Sequence[str]) -> str:
    heads = [f"| cell | {' | '.join(judges)} |", "|---" * (len(judges) + 1) + "|"]
    rows = [
        f"| {_title(by_judge)} | "
        + " | ".join(_brief(by_judge[name]) if name in by_judge else "" for name in judges)
        + " |"
        for by_judge in results.values()
    ]
    return "\n".join([*heads, *rows])


def _title(by_judge: Mapping[str, Measured]) -> str:
    return next(iter(by_judge.values())).cell.title


def _brief(one: Measured) -> str:
    """`0 % false`, or `0 % missed, 5 % early, 92 s, 8 failed`; those that ended at a person."""
    count = len(one.rollouts)
    words = []
    if one.about_harm:
        words.append(f"{100 * one.missed / count:.0f} % missed")
        if one.false_rollbacks:
            words.append(f"{100 * one.false_rollbacks / count:.0f} % early")
        seconds = one.quantile(lambda ended: ended.detected_after, 0.5)
        words.append("never" if seconds == math.inf else f"{seconds:.0f} s")
        words.append(f"{one.mean_failed:.0f} failed")
    else:
        words.append(f"{100 * one.false_rollbacks / count:.0f} % false")
    if one.asked:
        words.append(f"{100 * one.asked / count:.0f} % asked")
    return ", ".join(words)
