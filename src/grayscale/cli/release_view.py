"""A release on the screen, in the words of `kubectl argo rollouts`: set weight, actual weight."""

from __future__ import annotations

from rich.markup import escape
from rich.tree import Tree

from grayscale.cli.output import duration, percent
from grayscale.release.phases import State
from grayscale.release.record import ApprovalView, ReleaseRecord, StepView
from grayscale.story.explaining import stopped

_STATUS: dict[State, tuple[str, str, str]] = {
    State.QUEUED: ("◌", "Pending", "cyan"),
    State.PREPARING: ("◌", "Progressing", "cyan"),
    State.SOAKING: ("◌", "Progressing", "cyan"),
    State.BAKING: ("◌", "Progressing", "cyan"),
    State.HELD: ("॥", "Held", "yellow"),
    State.PAUSED: ("॥", "Paused", "yellow"),
    State.AWAITING_APPROVAL: ("॥", "Paused", "yellow"),
    State.ROLLING_BACK: ("⟲", "Rolling back", "red"),
    State.ROLLED_BACK: ("✖", "Rolled back", "red"),
    State.REJECTED: ("✖", "Rejected", "red"),
    State.FAILED: ("✖", "Failed", "red"),
    State.SUPERSEDED: ("✖", "Superseded", "red"),
    State.PROMOTED: ("✔", "Healthy", "green"),
}
_BRAKED = "no new request is served by it; the record follows once the store can be written"
_STEP_MARKS = {"pending": "·", "running": "◌", "done": "✔"}


def status_of(state: State) -> str:
    """`◌ Progressing`: the icon and the word for a state."""
    icon, word, _ = _STATUS[state]
    return f"{icon} {word}"


def colour_of(state: State) -> str:
    """The colour in which a state is shown."""
    return _STATUS[state][2]


def step_of(record: ReleaseRecord) -> str:
    """`2/4`, or `bake`: how far the ramp is."""
    if record.bake is not None:
        return "bake"
    reached = 0 if record.current_step is None else record.current_step + 1
    return f"{reached}/{len(record.steps)}"


def line(record: ReleaseRecord) -> str:
    """Everything that matters now on one line, for logs and pipes."""
    stage = record.stage
    parts = [_status_of(record), f"({record.state})", f"step {step_of(record)}"]
    parts.append(f"set {_weight(record)}")
    if stage is not None:
        parts.append(f"actual {percent(stage.observed_percent)}")
        parts.append(f"watched {stage.watched_seconds:.0f}/{stage.required_seconds:.0f} s")
    sentence = sentence_of(record)
    return " ".join(parts) + (f": {sentence}" if sentence else "")


def sentence_of(record: ReleaseRecord) -> str:
    """Why the release is where it is: the reason of the state, else the judge's sentence."""
    verdict = record.verdict or (record.stage.verdict if record.stage else None)
    if record.reason:
        return record.reason
    return verdict.sentence if verdict else ""


def tree(record: ReleaseRecord) -> Tree:
    """The whole release as a tree."""
    colour = "yellow" if _was_left(record) else colour_of(record.state)
    root = Tree(f"[bold]{escape(record.version)}[/]  [dim]{record.id}[/]")
    root.add(f"Status:        [{colour}]{_status_of(record)}[/] ({record.state})")
    if record.reason:
        root.add(f"Message:       {escape(record.reason)}")
    if record.braked:
        root.add(f"[red]Brake:         {_BRAKED}[/]")
    root.add(f"Step:          {step_of(record)}")
    root.add(f"SetWeight:     {_weight(record)}")
    observed = record.stage.observed_percent if record.stage else None
    root.add(f"ActualWeight:  {percent(observed)}")
    root.add(
        f"Workers:       {record.workers.applied}/{record.workers.total} run {_config(record)}"
    )
    root.add(f"Conductor:     {_conductor(record)}")
    verdict = record.verdict
    if verdict is not None:
        root.add(f"Verdict:       {escape(verdict.sentence or verdict.outcome)}")
    steps = root.add("Steps")
    for step in record.steps:
        steps.add(_step(record, step))
    if record.bake is not None:
        steps.add(_step(record, record.bake, name="bake"))
    if record.gate is not None:
        root.add(f"Gate:          {_gate(record, record.gate)}")
    return root


def _was_left(record: ReleaseRecord) -> bool:
    return record.state is State.PROMOTED and record.weight_percent == 0


def _status_of(record: ReleaseRecord) -> str:
    return "⟲ Stable no more" if _was_left(record) else status_of(record.state)


def _weight(record: ReleaseRecord) -> str:
    on_record = percent(record.weight_percent)
    return f"0 % (braked; {on_record} on record)" if record.braked else on_record


def _config(record: ReleaseRecord) -> str:
    return record.config_id or "no config yet"


def _conductor(record: ReleaseRecord) -> str:
    conductor = record.conductor
    if conductor.asleep_until is not None:
        return f"asleep until {conductor.asleep_until} (flow run {record.waiting_run_id})"
    if conductor.flow_run_id is None:
        return "none yet" if not record.state.final else "none"
    left = conductor.lease_left_seconds
    lease = "" if left is None else f", lease {duration(left)}"
    return f"flow run {conductor.flow_run_id} (fence {conductor.fence}{lease})"


def _step(record: ReleaseRecord, step: StepView, *, name: str | None = None) -> str:
    running = step.state == "running"
    mark = "✖" if running and record.state.final else _STEP_MARKS[step.state]
    label = name or f"{step.step_percent:g} %"
    text = f"{mark} {label:<6}"
    if step.state == "pending":
        return f"[dim]{text} {_asks(record, step)}[/]".rstrip()
    text += f" watched {step.watched_seconds:.0f}/{step.required_seconds:.0f} s"
    text += f"  set {percent(step.weight_percent)}  actual {percent(step.observed_percent)}"
    if step.extensions:
        text += f"  extended {step.extensions} times"
    if step.unwatched:
        text += f"  clock stood still: {stopped(step.unwatched)}"
    if step.verdict is not None:
        text += f"  {escape(step.verdict.sentence or step.verdict.outcome)}"
    return f"[{colour_of(record.state)}]{text}[/]" if running else text


def _asks(record: ReleaseRecord, step: StepView) -> str:
    if step.approval is not None:
        return _gate(record, step.approval)
    return "a person is asked first" if record.plan.asks_before(step.index) else ""


def _gate(record: ReleaseRecord, gate: ApprovalView) -> str:
    """The gate; what the message says already is not said twice."""
    said = gate.state == "waiting" and gate.why == record.reason
    return _approval(gate.model_copy(update={"why": "see the message"}) if said else gate)


def _approval(approval: ApprovalView) -> str:
    if approval.state == "waiting":
        until = f" until {approval.deadline}" if approval.deadline else ""
        return escape(f"waiting for a person{until}: {approval.why or 'the plan asks'}")
    name = approval.decided_by or "somebody"
    claim = "" if approval.verified else " (name not verified)"
    note = f": {approval.note}" if approval.note else ""
    return escape(f"{approval.state} by {name}{claim}{note}")
