"""A conductor without Prefect: what the release flow does, call by call."""

from typing import Any

import httpx

from tests.e2e.processes import Relay
from tests.e2e.shapes import new_name


class Conductor:
    """A release and its conductor, as the flow is one."""

    def __init__(self, client: httpx.Client, **plan: Any) -> None:
        self.client = client
        name = new_name()
        self.plan = {
            "version_name": name,
            "config_overrides": {"models": {"gpt-4.1": {"model": f"gpt-4.1-for-{name}"}}},
            "labels": {"git_sha": "abc"},
            "auto_promote": {"promotion_steps": [10, 100], "step_duration_seconds": 60},
            **plan,
        }
        made = client.post("/admin/releases", json={"plan": self.plan})
        assert made.status_code == 201, made.text
        self.record: dict[str, Any] = made.json()
        self.path = f"/admin/releases/{self.record['id']}"
        self.fence = 0

    def look(self) -> dict[str, Any]:
        """Read the record."""
        self.record = self.client.get(self.path).json()
        return self.record

    def claim(self, run: str = "run-1") -> httpx.Response:
        """Become the conductor."""
        answer = self.client.post(f"{self.path}/claim", json={"flow_run_id": run})
        if answer.status_code == 200:
            self.fence, self.record = answer.json()["fence"], answer.json()["release"]
        return answer

    def act(self, verb: str, **body: Any) -> dict[str, Any]:
        """One decision, carried out."""
        answer = self.try_to(verb, **body)
        assert answer.status_code == 200, answer.text
        self.record = answer.json()
        return self.record

    def try_to(self, verb: str, **body: Any) -> httpx.Response:
        """One decision, which may be refused."""
        headers = {
            "X-Relay-Fence": str(self.fence),
            "If-Match": str(self.record["revision"]),
            "Idempotency-Key": f"{self.record['id']}:{self.record['seq']}:{verb}",
        }
        return self.client.post(f"{self.path}/act", json={"verb": verb, **body}, headers=headers)

    def say(self, verb: str, **body: Any) -> httpx.Response:
        """What a person does to the release."""
        return self.client.post(f"{self.path}/{verb}", json=body)

    def begin(self) -> None:
        """Up to the first split."""
        assert self.claim().status_code == 200
        self.act("create_version")
        self.act("set_split", step=0)


def begun(relay: Relay, doing: str) -> Conductor:
    """A release that does this right now."""
    ask = {"approval": {"before_steps": [100]}} if doing == "waiting" else {}
    conductor = Conductor(
        relay.client(),
        auto_promote={"promotion_steps": [50, 100], "step_duration_seconds": 60},
        **ask,
    )
    conductor.begin()
    if doing == "waiting":
        conductor.act("ask", reason="as the plan says")
    if doing in ("baking", "promoted"):
        conductor.record = conductor.say("promote", full=True).json()
        conductor.act("set_split", step=1)
        conductor.act("bake", reason="in full")
    if doing == "promoted":
        conductor.act("promote", reason="in full")
    return conductor
