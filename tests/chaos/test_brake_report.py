"""What `python -m tools.brake` says of what it has measured."""

from pathlib import Path

from tools.brake import Taken, percentile, table, verdict
from tools.chaos.report import put_section


def taken(*brakes: float, last: float = 0.0) -> list[Taken]:
    """Aborts that took so long to the brake."""
    return [Taken("soaking", "locked", brake, last) for brake in brakes]


def test_the_99th_of_a_hundred_is_the_last_but_one() -> None:
    """A percentile is a value that was measured, never one in between."""
    assert percentile(range(100), 99) == 98
    assert percentile(range(100), 50) == 49
    assert percentile([7.0], 99) == 7.0


def test_a_bar_that_is_missed_is_named() -> None:
    """The brake later than 100 ms, or a request of the candidate after a second."""
    assert "were held; 0 of 9 requests" in verdict(taken(0.05, last=0.9), 9, [])
    assert "were MISSED" in verdict(taken(0.11), 9, [])
    assert "were MISSED" in verdict(taken(0.01, last=1.1), 9, [])


def test_each_case_has_its_line() -> None:
    """The table ends with all of them."""
    rows = table([*taken(0.001, 0.003), Taken("waiting", "writable", 0.002, 0.004)])
    assert rows[2] == "| soaking | locked | 2 | 1.0 ms | 3.0 ms | 0 ms |"
    assert rows[-1] == "| all | | 3 | 2.0 ms | 3.0 ms | 4 ms |"


def test_a_section_is_written_between_the_others(tmp_path: Path) -> None:
    """It is added at the end, and afterwards replaced where it stands."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n## One\n\nold\n\n## Two\n\nkept\n", encoding="utf-8")
    put_section("## Three", ["first"], page=page)
    put_section("## One", ["new"], page=page)
    assert page.read_text(encoding="utf-8") == (
        "# Page\n\n## One\n\nnew\n\n## Two\n\nkept\n\n## Three\n\nfirst\n"
    )
