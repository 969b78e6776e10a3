"""What people read in Prefect's UI, as Markdown and table rows: pure functions of the record."""

from __future__ import annotations

from typing import Any

from grayscale.clock import from_rfc3339
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord, StepView, VerdictView
from tasks.evidence import evidence_lines

Row = dict[str, Any]

_APPROVAL_HELP = (
    "Rejecting takes the traffic back to stable at once. "
    "Your name is recorded as a claim: this form cannot check it."
)
_SLEEP_HELP = (
    "`pause` stops the soak's clock and keeps the weight; `abort`, or cancelling this run, takes "
    "the traffic back to stable at once."
)
_PAUSE_HELP = "`resume` goes on where it stopped; `abort` takes the traffic back to stable at once."


def run_title(record: ReleaseRecord) -> str:
    """A flow run's name: version and where it stands, such as `v2.1.0 · 25 %`."""
    where = f"{record.weight_percent:g} %"
    match record.state:
        case State.SOAKING:
            said = where
        case State.BAKING:
            said = f"bake at {where}"
        case State.HELD | State.PAUSED:
            said = f"{record.state.value} at {where}"
        case State.AWAITING_APPROVAL:
            said = f"{where}, waiting for approval"
        case _:
            said = record.state.value.replace("_", " ")
    goes_on = f", goes on {_when(record)}" if record.conductor.asleep_until else ""
    return f"{record.version} · {said}{goes_on}"


def approval_page(record: ReleaseRecord) -> str:
    """What a person who approves or rejects should know."""
    gate = record.gate
    lines = [
        f"## Let {record.version} go on to {following(record)}?",
        "",
        f"**Why you are asked:** {(gate and gate.why) or record.reason or 'the plan says so'}",
        "",
        *_verdict_lines(_last_verdict(record)),
        f"It has {record.weight_percent:g} % of the traffic until you decide{_deadline(record)}.",
        "",
        _APPROVAL_HELP,
    ]
    return "\n".join([*lines, "", *_footer(record)])


def pause_page(record: ReleaseRecord) -> str:
    """What a person who resumes or aborts should know."""
    hours = record.plan.pause.timeout_minutes / 60
    return "\n".join(
        [
            f"## {record.version} is paused at {record.weight_percent:g} %",
            "",
            record.reason or "",
            "",
            *_verdict_lines(_last_verdict(record)),
            _PAUSE_HELP,
            f"After {hours:.3g} h of pause the candidate loses its traffic.",
            "",
            *_footer(record),
        ]
    )


def sleep_page(record: ReleaseRecord) -> str:
    """What a person who finds a sleeping run should know."""
    watched = (
        "The relay watches, and takes the traffic back by itself if the version does harm. "
        f"A new run goes on {_when(record)}; nothing need be done here."
    )
    return "\n".join(
        [
            f"## {record.version} soaks at {record.weight_percent:g} %",
            "",
            watched,
            "",
            _SLEEP_HELP,
            "",
            *_footer(record),
        ]
    )


def verdict_page(record: ReleaseRecord) -> str:
    """The judge's last answer with its evidence."""
    verdict = _last_verdict(record)
    return "\n".join(
        [
            f"## {run_title(record)}",
            "",
            *_verdict_lines(verdict),
            *(evidence_lines(verdict.evidence) if verdict else []),
            *_footer(record),
        ]
    )


def verdict_caption(record: ReleaseRecord) -> str:
    """What the verdict's page says in one line."""
    verdict = _last_verdict(record)
    return f"{run_title(record)}: {verdict.outcome if verdict else 'no verdict yet'}"


def split_caption(record: ReleaseRecord) -> str:
    """What the table of the ramp says in one line."""
    why = f": {record.reason}" if record.reason else ""
    has = f", {record.weight_percent:g} % of the traffic" if record.state.final else ""
    return f"{run_title(record)}{has}{why}"


def split_rows(record: ReleaseRecord) -> list[Row]:
    """One row per step of the ramp, the bake last."""
    stages = [*record.steps, *([record.bake] if record.bake else [])]
    return [_split_row(record, stage) for stage in stages]


def following(record: ReleaseRecord) -> str:
    """What comes after the gate: a weight, the bake or the promotion."""
    if record.bake is not None:
        return "promotion"
    index = 0 if record.current_step is None else record.current_step + 1
    return f"{record.steps[index].step_percent:g} %" if index < len(record.steps) else "the bake"


def _split_row(record: ReleaseRecord, stage: StepView) -> Row:
    bake = stage.index >= len(record.steps)
    observed = stage.observed_percent
    return {
        "step": "bake" if bake else f"{stage.step_percent:g} %",
        "state": "ended" if record.state.final and stage.state == "running" else stage.state,
        record.version: f"{stage.weight_percent:g} %",
        record.base_version or "stable": f"{100 - stage.weight_percent:g} %",
        "observed": "" if observed is None else f"{observed:g} %",
        "watched": f"{stage.watched_seconds:.0f} of {stage.required_seconds:g} s",
        "verdict": stage.verdict.outcome if stage.verdict else "",
    }


def _deadline(record: ReleaseRecord) -> str:
    gate = record.gate
    if gate is None or gate.deadline is None:
        return ""
    ending = "is rolled back" if record.plan.approval.on_timeout == "roll_back" else "waits on"
    moment = from_rfc3339(gate.deadline).strftime("%Y-%m-%d %H:%M UTC")
    return f"; without an answer by {moment} the release {ending}"


def _when(record: ReleaseRecord) -> str:
    until = record.conductor.asleep_until
    return f"at {from_rfc3339(until):%H:%M} UTC" if until else "when it is time"


def _last_verdict(record: ReleaseRecord) -> VerdictView | None:
    stage = record.stage
    return (stage.verdict if stage else None) or record.verdict


def _verdict_lines(verdict: VerdictView | None) -> list[str]:
    if verdict is None:
        return ["**Verdict:** none yet", ""]
    return [f"**Verdict: {verdict.outcome}.** {verdict.sentence}", ""]


def _footer(record: ReleaseRecord) -> list[str]:
    labels = "".join(f" · {name}: {value}" for name, value in sorted(record.labels.items()))
    return [f"Release `{record.id}` · `grayscale get {record.id}`{labels}"]
