"""The tutorial, run: every command, script and file of it, at a relay."""

from typing import Any

import pytest

from tests.e2e.processes import Relay, chat
from tests.seed.conftest import MODELS, Candidate
from tests.seed.tutorial import FILES, NAMES, aimed

EXERCISED = {
    "connection-test.sh",
    "pinned-model.sh",
    "version-header.sh",
    "grayscale_router.py",
    "manual-rollback.sh",
    "gradual_rollback.py",
    "monitor.sh",
    "error-1-authentication.sh",
    "error-2-model-not-found.sh",
    "error_3_rate_limit.py",
    "error-4-version-header.sh",
    "error-5-rollback.sh",
}


def model_of(completion: dict[str, Any]) -> str:
    """The model that the provider says it is."""
    return str(completion["model"])


def test_no_block_is_left_out() -> None:
    """Every script runs below; the two config files are read in test_repairs."""
    assert set(NAMES) - EXERCISED == {"grayscale-config.json", "rollback-config.json"}


def test_the_connection_test_lists_all_models(block: Any) -> None:
    """The first thing that a newcomer runs shows the models of his account."""
    printed = block("connection-test.sh")
    assert printed.code == 0, printed.err
    assert [model["id"] for model in printed.values[0]["data"]] == sorted(MODELS)
    assert printed.out.endswith("Connection test complete!\n")


def test_a_pinned_model_answers(block: Any) -> None:
    """The parameters reach the model, and its answer comes back."""
    printed = block("pinned-model.sh")
    assert printed.code == 0, printed.err
    assert printed.values[0]["choices"][0]["message"]["role"] == "assistant"
    assert model_of(printed.values[0]).startswith("gpt-4.1")


def test_the_version_header_chooses(block: Any, relay: Relay, candidate: Candidate) -> None:
    """`stable` and `beta` are served by the version that has the alias, and counted as pinned."""
    before = pinned(relay)
    printed = block("version-header.sh")
    after = pinned(relay)
    stable, beta = printed.values
    assert printed.code == 0, printed.err
    assert model_of(stable) == model_of(beta) == "claude-sonnet-4-5"
    assert after["stable"] - before["stable"] == 1
    assert after["beta"] - before["beta"] == 1


def pinned(relay: Relay) -> dict[str, int]:
    """How many requests asked for each alias."""
    with relay.client() as admin:
        versions = admin.get("/admin/traffic/distribution").json()["versions"]
    return {alias: version["pinned"] for version in versions for alias in version["aliases"]}


@pytest.mark.parametrize("name", ["claude-sonnet-4.5", "claude-sonnet-4-5"])
def test_both_spellings_of_a_model_resolve(relay: Relay, name: str) -> None:
    """The tutorial writes the same model with a dot and with a dash."""
    answer = relay.client().post("/chat/completions", json=chat(name))
    assert answer.status_code == 200
    assert model_of(answer.json()) == "claude-sonnet-4-5"


def test_the_router_makes_its_ten_requests(block: Any, candidate: Candidate) -> None:
    """The script as it is: ten requests, none of which fails, and their distribution."""
    printed = block("grayscale_router.py")
    lines = printed.out.splitlines()
    assert printed.code == 0, printed.err
    assert [line.split(":")[0] for line in lines[:10]] == [f"Request {n}" for n in range(1, 11)]
    assert lines[-1] == "Expected ~90% stable, ~10% beta"


def test_the_router_splits_ninety_to_ten(block: Any, relay: Relay, candidate: Candidate) -> None:
    """Over 300 requests about one in ten is served by the candidate, none by anybody else."""
    many = """
random.seed(5)
router = GrayscaleRouter("%s", {"traffic_split": {"stable": 90, "beta": 10}})
hello = [{"role": "user", "content": "Hello"}]
results = [router.make_request("gpt-4.1", hello) for _ in range(300)]
assert all(result["success"] and result["status_code"] == 200 for result in results), results
for result in results:
    print(result["version"], result["data"]["model"])
"""
    before = pinned(relay)
    printed = block("grayscale_router.py", then=many % relay.admin_key)
    after = pinned(relay)
    assert printed.code == 0, printed.err
    served = [tuple(line.split()) for line in printed.out.splitlines()]
    by_candidate = served.count(("beta", f"gpt-4.1-for-{candidate.name}"))
    by_stable = served.count(("stable", "gpt-4.1"))
    assert by_candidate + by_stable == 300
    assert 15 <= by_candidate <= 50
    assert after["beta"] - before["beta"] == by_candidate


def test_a_manual_rollback_takes_the_candidate_out(block: Any, candidate: Candidate) -> None:
    """The headers name target and reason; the status call tells both, and that it is recorded."""
    printed = block("manual-rollback.sh")
    done, status = printed.values
    assert printed.code == 0, printed.err
    assert done["traffic_split"] == {"stable": 100}
    assert done["reason"] == "Manual trigger - observed latency spike"
    assert status["rollback_id"] == done["rollback_id"]
    assert status["from_config_id"] == candidate.config_id
    assert status["to_config_id"] == done["config_id"]
    assert status["state"] in {"switching", "draining", "completed"}
    assert status["candidate_weight_percent"] == 0
    assert status["reason"] == "Manual trigger - observed latency spike"
    assert status["recorded"] is True
    assert candidate.split() == {"stable": 100}


def test_a_gradual_rollback_goes_down_step_by_step(block: Any, candidate: Candidate) -> None:
    """Ten percent in steps of two: each is in force before the script goes on."""
    then = "GradualRollback('%s').execute_gradual_rollback(10, 2, step_delay_seconds=0)"
    printed = block("gradual_rollback.py", then=then % candidate.relay.admin_key)
    lines = printed.out.splitlines()
    steps = [line for line in lines if line.startswith("Step ")]
    results = [line for line in lines if line.startswith(" Result: ")]
    assert printed.code == 0, printed.err
    assert steps[0] == "Step 1: Setting stable=92%, beta=8%"
    assert steps[-1] == "Step 5: Setting stable=100%, beta=0%"
    assert len(results) == 5
    assert all("'config_id': 'config-" in line for line in results)
    assert all("'lagging': []" in line for line in results)
    assert lines[-1] == "Gradual rollback complete! All traffic on stable version."
    assert candidate.split() == {"stable": 100}
    with candidate.relay.client() as admin:
        history = admin.get("/admin/config/history?limit=6").json()["data"]
    beta = [config["traffic_split"].get("beta", 0) for config in reversed(history)]
    assert beta == [10, 8, 6, 4, 2, 0]


def test_the_monitor_shows_split_errors_and_latency(
    block: Any, relay: Relay, candidate: Candidate
) -> None:
    """Each of the three answers is JSON that python3 can print, with both versions in it."""
    block("pinned-model.sh")
    printed = block("monitor.sh")
    assert printed.code == 0, printed.err
    assert "Expecting value" not in printed.err
    distribution, errors, latency = printed.values
    for answer in (distribution, errors, latency):
        aliases = [alias for version in answer["versions"] for alias in version["aliases"]]
        assert {"stable", "beta"} <= set(aliases)
    shares = {
        v["aliases"][0]: v["intended_percent"] for v in distribution["versions"] if v["aliases"]
    }
    assert (shares["stable"], shares["beta"]) == (90, 10)
    stable = next(v for v in errors["versions"] if "stable" in v["aliases"])
    assert stable["requests"] > 0
    assert stable["error_rate_percent"] == 0
    timed = next(v for v in latency["versions"] if v["count"])
    assert 0 < timed["p50_ms"] <= timed["p95_ms"] <= timed["p99_ms"]


@pytest.mark.parametrize("key", ["YOUR_HOLYSHEEP_API_KEY", "hs_0123456789abcdef", ""])
def test_error_1_a_wrong_key(block: Any, key: str) -> None:
    """An unreplaced, wrong or missing key: the tutorial's code, and its sentence first."""
    printed = block("error-1-authentication.sh", key=key)
    error = printed.values[0]["error"]
    assert error["code"] == "invalid_api_key"
    assert error["message"].startswith("Authentication failed")
    assert printed.out.endswith("your_key_here\n")


def test_error_1_fixed(block: Any) -> None:
    """With a key that exists the same command has its answer."""
    printed = block("error-1-authentication.sh")
    assert printed.code == 0, printed.err
    assert printed.values[0]["object"] == "chat.completion"


def test_error_2_an_unknown_model(relay: Relay) -> None:
    """The wrong names that the tutorial lists are not there, and the right one is suggested."""
    for wrong in ("gpt-4.1-turbo", "gpt4.1"):
        answer = relay.client().post("/chat/completions", json=chat(wrong))
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, "model_not_found")
        assert error["message"].startswith(f"Model '{wrong}' is not available")
        assert "gpt-4.1" in error["message"].partition("available")[2]


def test_error_2_fixed(block: Any) -> None:
    """The list of models has the names that the tutorial calls correct."""
    listed = {model["id"] for model in block("error-2-model-not-found.sh").values[0]["data"]}
    assert listed == set(MODELS)


def test_error_3_waits_and_gets_through(block: Any, relay: Relay) -> None:
    """A key over its requests per minute has the tutorial's 429; its script backs off and passes."""
    limited = {"name": "busy", "scopes": ["invoke"], "requests_per_minute": 60}
    key = relay.client().post("/admin/keys", json=limited).json()["key"]
    then = f"""
url, headers = "{relay.url}/chat/completions", {{"Authorization": "Bearer {key}"}}
payload = {{"model": "gpt-4.1", "messages": [{{"role": "user", "content": "Hello"}}]}}
served, refused = 0, requests.post(url, headers=headers, json=payload)
while refused.status_code == 200 or int(refused.headers["retry-after-ms"]) < 500:
    served += refused.status_code == 200
    refused = requests.post(url, headers=headers, json=payload)
print(served)
print(refused.status_code, refused.headers["Retry-After"], refused.text)
print(make_request_with_retry(url, headers, payload).status_code)
"""
    printed = block("error_3_rate_limit.py", then=then)
    served, refused, waited, answered = printed.out.splitlines()
    (answer,) = printed.values
    assert printed.code == 0, printed.err
    assert 60 <= int(served) <= 70
    assert refused.startswith("429 1 ")
    assert answer["error"]["code"] == "rate_limit_exceeded"
    assert answer["error"]["message"].startswith("Too many requests")
    assert (waited, answered) == ("Rate limited. Waiting 1 seconds...", "200")


def test_error_4_the_version_is_listed_and_made(block: Any, relay: Relay) -> None:
    """`v2-beta` is created on stable; afterwards the header finds it, in any case of letters."""
    printed = block("error-4-version-header.sh")
    listed, made = printed.values
    assert printed.code == 0, printed.err
    assert any("stable" in version["aliases"] for version in listed["data"])
    assert made["name"] == "v2-beta"
    for header in ("X-Relay-Version", "X-Relay-version"):
        answer = relay.client().post("/chat/completions", json=chat(), headers={header: "v2-beta"})
        assert answer.headers["x-relay-version"] == "v2-beta"


def test_error_4_an_unknown_version_is_said(relay: Relay) -> None:
    """A version that does not exist is refused, not served by another one."""
    headers = {"X-Relay-Version": "v9-beta"}
    answer = relay.client().post("/chat/completions", json=chat(), headers=headers)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "version_not_found"


def test_error_5_lists_versions_and_misses_the_config(block: Any) -> None:
    """The tutorial's made-up config id is not found, by its own code."""
    listed, refused = block("error-5-rollback.sh").values
    assert {"name", "status"} <= listed["data"][0].keys()
    assert refused["error"]["code"] == "config_not_found"
    assert "config-abc123" in refused["error"]["message"]


def test_error_5_rolls_back_to_a_config_that_is_there(
    relay: Relay, run: Any, candidate: Candidate
) -> None:
    """With a real config id the same command puts its split and aliases back into force."""
    with relay.client() as admin:
        history = admin.get("/admin/config/history").json()["data"]
    past = next(config for config in history if config["traffic_split"] == {"stable": 100})
    text = (FILES / "error-5-rollback.sh").read_text(encoding="utf-8")
    text = text.replace("config-abc123", past["config_id"])
    printed = run(aimed(text, url=relay.url, key=relay.admin_key))
    done = printed.values[-1]
    assert printed.code == 0, printed.err
    assert done["traffic_split"] == past["traffic_split"]
    assert done["aliases"] == past["aliases"]
    assert candidate.split() == {"stable": 100}


def test_error_5_an_unknown_target_is_said(relay: Relay, candidate: Candidate) -> None:
    """A rollback to a version that does not exist changes nothing and names those that do."""
    headers = {"X-Rollback-Target": "prod-stable"}
    answer = relay.client().post("/admin/rollback", headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "version_not_found")
    assert error["message"].startswith("Target version 'prod-stable' does not exist")
    assert candidate.name in error["message"]
    assert candidate.split() == {"stable": 90, "beta": 10}
