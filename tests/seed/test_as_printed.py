"""The curl commands exactly as printed, but for base URL and key.

`-H "X-Relay-Version": "stable"` is two words to a shell: curl drops the header without a value and
takes the second word for another address. The request itself reaches the relay all the same.
"""

from typing import Any

import pytest

from tests.e2e.processes import Relay
from tests.seed.conftest import Candidate
from tests.seed.tutorial import NAMES, aimed, curl_commands, printed

COMMANDS = [
    pytest.param(name, number, id=f"{name}-{number}")
    for name in NAMES
    if name.endswith(".sh")
    for number, _ in enumerate(curl_commands(printed(name)))
]


def as_printed(relay: Relay, run: Any, name: str, number: int) -> Any:
    """Run a curl command of the printed text; the variables that it reads are the block's own."""
    command = list(curl_commands(printed(name)))[number]
    variables = dict.fromkeys(("HOLYSHEEP_BASE_URL", "BASE_URL"), relay.url)
    text = aimed(command, url=relay.url, key=relay.admin_key)
    return run(text, HOLYSHEEP_API_KEY=relay.admin_key, **variables)


def test_all_fifteen_commands_are_found() -> None:
    """The tutorial prints fifteen curl commands."""
    assert len(COMMANDS) == 15


@pytest.mark.parametrize(("name", "number"), COMMANDS)
def test_a_printed_command_has_its_answer(
    relay: Relay, run: Any, candidate: Candidate, name: str, number: int
) -> None:
    """Each command reaches the relay, whose answer is no error but the made-up config id's."""
    answer = as_printed(relay, run, name, number).values[0]
    code = answer.get("error", {}).get("code")
    made_up = name == "error-5-rollback.sh" and number == 1
    assert code == ("config_not_found" if made_up else None), answer


def test_a_rollback_as_printed_goes_to_stable(relay: Relay, run: Any, candidate: Candidate) -> None:
    """Its headers are lost on the way: the target is stable, the reason not given."""
    done = as_printed(relay, run, "manual-rollback.sh", 0)
    status = as_printed(relay, run, "manual-rollback.sh", 1).values[0]
    assert done.code != 0  # curl could not reach the host named "stable"
    assert done.values[0]["traffic_split"] == {"stable": 100}
    assert status["from_config_id"] == candidate.config_id
    assert status["reason"] == "not given"
    assert candidate.split() == {"stable": 100}
