"""The table of phases."""

from pathlib import Path

from grayscale.release.phases import ACTIVE, EDGES, FINAL, State, may_follow


def test_every_state_has_its_row() -> None:
    """The table speaks of every state, and of no other."""
    assert set(EDGES) == set(State)


def test_nothing_follows_an_end() -> None:
    """A final state has no edges; every other one has."""
    assert {state for state, edges in EDGES.items() if not edges} == FINAL


def test_every_active_state_can_be_left_for_stable() -> None:
    """From wherever a candidate may have traffic there is an edge to rolling_back."""
    for state in ACTIVE - {State.ROLLING_BACK}:
        assert may_follow(state, State.ROLLING_BACK)


def test_an_end_can_be_reached_from_everywhere() -> None:
    """No state is a trap."""
    for start in State:
        seen, ahead = {start}, [start]
        while ahead:
            for following in EDGES[ahead.pop()] - seen:
                seen.add(following)
                ahead.append(following)
        assert seen & FINAL


def test_the_design_page_draws_this_table() -> None:
    """DESIGN.md's picture of states and edges is the table, edge by edge."""
    page = (Path(__file__).parents[2] / "DESIGN.md").read_text(encoding="utf-8")
    picture = page.split("```text\n")[1].split("```")[0]
    drawn = {}
    for line in picture.strip().splitlines():
        state, _, following = line.partition("->")
        drawn[State(state.strip())] = {State(name) for name in following.split()}
    assert drawn == {state: set(edges) for state, edges in EDGES.items() if edges}
