"""CPU time per proxied request: the relay, a proxy on stock httpx, and no proxy at all.

The three take turns in the same run, so that whatever else the machine does hits them alike: read
the ratios first, the raw figures second. Needs Linux (/proc). `python -m benchmarks.run --help`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.candidates import CANDIDATES, KEY
from benchmarks.load import post, send

_HERE = Path(__file__).parent
_WORDS = "The quick brown fox jumps over the lazy dog. " * 16


@dataclass(slots=True)
class Measured:
    """One candidate's rounds."""

    cpu_us: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    failed: int = 0


@contextmanager
def process(*arguments: str) -> Iterator[tuple[int, int]]:
    """A child that prints its port: its pid and port."""
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        line = child.stdout.readline() if child.stdout is not None else ""
        yield child.pid, int(json.loads(line)["port"])
    finally:
        child.terminate()
        child.wait(timeout=10)


def cpu_us_of(pid: int) -> float:
    """CPU time that a process has used, in microseconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1000


async def measure(
    pid: int, port: int, request: bytes, *, count: int, connections: int, into: Measured
) -> None:
    """One round of one candidate."""
    before = cpu_us_of(pid)
    result = await send(port, request, count=count, connections=connections)
    into.cpu_us.append((cpu_us_of(pid) - before) / max(1, result.requests))
    into.p50_ms.append(result.quantile_ms(0.5))
    into.failed += result.failed


async def compare(options: argparse.Namespace, *, stream: bool) -> dict[str, Measured]:
    """All rounds of all candidates, taking turns."""
    messages = [{"role": "user", "content": _WORDS}]
    body = json.dumps({"model": "gpt-4.1", "messages": messages, "stream": stream}).encode()
    request = post("/v1/chat/completions", body, KEY)
    results = {name: Measured() for name in CANDIDATES if not (stream and name == "null")}
    with ExitStack() as stack:
        upstream_arguments = (
            "-m",
            "grayscale.testing.upstreams",
            "--behaviour",
            json.dumps({"tokens": 20 if stream else 100}),
        )
        _, upstream_port = stack.enter_context(process(*upstream_arguments))
        upstream = f"http://127.0.0.1:{upstream_port}/v1"
        servers = {
            name: stack.enter_context(process(str(_HERE / "candidates.py"), name, upstream))
            for name in results
        }
        for pid, port in servers.values():  # warm up
            await measure(
                pid, port, request, count=50, connections=options.connections, into=Measured()
            )
        for _ in range(options.rounds):
            for name, (pid, port) in servers.items():
                await measure(
                    pid,
                    port,
                    request,
                    count=options.count,
                    connections=options.connections,
                    into=results[name],
                )
    return results


def report(title: str, results: dict[str, Measured]) -> None:
    """Print one table."""
    print(f"\n{title}")
    print(
        f"{'':18}{'CPU us/request':>16}{'[min..max]':>18}{'x relay':>9}{'p50 ms':>9}{'failed':>8}"
    )
    relay_us = statistics.median(results["relay"].cpu_us)
    for name, measured in results.items():
        median_us = statistics.median(measured.cpu_us)
        spread = f"[{min(measured.cpu_us):.0f}..{max(measured.cpu_us):.0f}]"
        p50_ms = statistics.median(measured.p50_ms)
        print(
            f"{name:18}{median_us:>16.0f}{spread:>18}{median_us / relay_us:>9.2f}"
            f"{p50_ms:>9.2f}{measured.failed:>8}"
        )


async def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=500, help="requests per round")
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    json_results = await compare(options, stream=False)
    report(f"Chat completion, JSON, {options.connections} connections", json_results)
    stream_results = await compare(options, stream=True)
    report("Chat completion, streamed, 20 tokens", stream_results)


if __name__ == "__main__":
    uvloop.run(main())
