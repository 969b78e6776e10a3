"""The one sentence that says what is, the one that says why, and what to type next."""

from __future__ import annotations

from grayscale.judge.sentences import duration
from grayscale.release.phases import State
from grayscale.release.record import ReleaseRecord
from grayscale.story.history import History, day_and_time, seconds_between

_ADVICE = {
    State.AWAITING_APPROVAL: "Decide: grayscale approve {id}, or grayscale reject {id}",
    State.PAUSED: "Go on: grayscale resume {id}; end it: grayscale abort {id}",
    State.HELD: "It goes on by itself when that is over; to end it: grayscale abort {id}",
    State.SOAKING: "To stop the clock: grayscale pause {id}; to end it: grayscale abort {id}",
    State.BAKING: "To stop the clock: grayscale pause {id}; to end it: grayscale abort {id}",
    State.QUEUED: "To call it off: grayscale abort {id}",
    State.PROMOTED: "To go back to the version before it: grayscale undo",
    State.ROLLED_BACK: "The same plan once more: grayscale retry {id}",
    State.FAILED: "The same plan once more: grayscale retry {id}",
}


_CAUSES = {
    "candidate": "the judge found it harmful",
    "breaker": "the breaker tripped",
    "aborted": "somebody took it back",
    "rejected": "somebody said no",
    "superseded": "a newer release took its place",
    "approval_timeout": "nobody decided in time",
    "lease_expired": "nobody conducted it any more",
    "conductor": "its conductor gave up",
}


def advice(record: ReleaseRecord) -> str | None:
    """What to type next, if anything."""
    if record.braked:
        return "Nothing to do but to see why the store cannot be written: grayscale doctor"
    if record.state is State.PROMOTED and not record.weight_percent:
        return None  # an undo would take back what came after it
    text = _ADVICE.get(record.state)
    return text.format(id=record.id) if text else None


def headline(history: History) -> str:
    """Where the release stands, or how it ended."""
    record = history.record
    if record.braked:
        return (
            f"{record.version} was taken out of traffic; the record, which still says "
            f"{record.state.value.replace('_', ' ')} at {_where(history)}, follows as soon as the "
            "store can be written."
        )
    return _on_record(history)


def _on_record(history: History) -> str:  # noqa: PLR0911 - one return per state
    record = history.record
    name, at = record.version, _where(history)
    match record.state:
        case State.QUEUED:
            return f"{name} waits for its turn; no traffic has moved."
        case State.PREPARING:
            return f"{name} is being prepared; no traffic has moved."
        case State.SOAKING | State.BAKING:
            return f"{name} is watched at {at}: {_clock(record)}."
        case State.HELD:
            cause = (record.cause or "").replace("_", " ")
            return f"{name} is held at {at} ({cause}); {_clock(record)}."
        case State.PAUSED:
            return f"{name} is paused at {at}; it stays there until somebody says so."
        case State.AWAITING_APPROVAL:
            return f"{name} waits for a person at {at}{_deadline(record)}."
        case State.ROLLING_BACK:
            return f"{name} is being rolled back from {at}; new requests go to stable already."
        case _:
            return _ended(history)


def _ended(history: History) -> str:
    record = history.record
    ended = record.state.value.replace("_", " ")
    took = duration(seconds_between(record.created_at, record.finished_at or record.created_at))
    after = f"{took} after it was created"
    if record.state is State.PROMOTED:
        word = ", on a person's word" if record.promote_full else ""
        left = "" if record.weight_percent else " It has no traffic any more."
        at = day_and_time(record.finished_at)
        return f"{record.version} was promoted at {at}, {after}{word}.{left}"
    said = "failed" if record.state is State.FAILED else f"was {ended}"
    cause = f": {_CAUSES.get(record.cause, record.cause)}" if record.cause else ""
    return (
        f"{record.version} {said} at {day_and_time(record.finished_at)}, {after}, "
        f"{_reached(history)}{cause}. Stable has all the traffic."
    )


def _reached(history: History) -> str:
    stage = history.record.stage
    return "before it had any traffic" if stage is None else f"at {history.step_name(stage.index)}"


def _where(history: History) -> str:
    stage = history.record.stage
    percent = f"{history.record.weight_percent:g} %"
    return f"{percent}, in the bake" if stage is not None and history.record.bake else percent


def _clock(record: ReleaseRecord) -> str:
    stage = record.stage
    if stage is None:
        return "no step has begun"
    watched, required = duration(stage.watched_seconds), duration(stage.required_seconds)
    return f"{watched} of {required} watched"


def _deadline(record: ReleaseRecord) -> str:
    gate = record.gate
    if gate is None or gate.deadline is None or gate.state != "waiting":
        return ""
    ending = "rolled back" if record.plan.approval.on_timeout == "roll_back" else "left at stable"
    return f", until {day_and_time(gate.deadline)}; without an answer it is {ending}"


def why(history: History) -> str:
    """The sentence that counts: the state's reason, else the judge's."""
    record = history.record
    moving = record.state in {State.SOAKING, State.BAKING}
    verdict = record.verdict
    if moving and verdict is not None:
        return verdict.sentence or verdict.outcome
    return record.reason or (verdict.sentence if verdict else "")
