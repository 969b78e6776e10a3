"""What the flow run that reports a release's end is called in Prefect's list: its state's name."""

from __future__ import annotations

from grayscale.release.phases import State

RUN_ENDS_AS = {
    State.PROMOTED: "Completed",
    State.ROLLED_BACK: "RolledBack",
    State.REJECTED: "Rejected",
    State.SUPERSEDED: "Superseded",
    State.FAILED: "Failed",
}
