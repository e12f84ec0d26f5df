"""What passing on a stream costs: the service beside a bare relay, on the same stub.

Fifty streams at once, 40 tokens each, 5 ms a token. Both run on uvloop and httptools in the same
environment, in turn; medians. Where there are two cores, the server has one to itself, and the
stub and the clients share the other: `busy` says how much of that one they took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from harness import (
    LLM,
    bare,
    cpu_seconds,
    free_port,
    install,
    print_table,
    render,
    running,
)

HERE = Path(__file__).parent
KEY = "a-key-that-is-for-measuring-only"
LEAST_RATIO = 0.65


class Measured(NamedTuple):
    streams_a_second: float
    cpu_ms_a_stream: float
    # How much of its core the stub and the clients took.
    busy: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--streams", type=int, default=600)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = render(Path(folder, "llm"), LLM)
        rounds = measure(install(project), project, options.rounds, options.streams)
    report(rounds)


def measure(python: Path, project: Path, rounds: int, streams: int) -> list[dict[str, Measured]]:
    stub_port, service_port, relay_port = free_port(), free_port(), free_port()
    base_url = f"http://127.0.0.1:{stub_port}/v1"
    settings = {
        "SERVER__PORT": str(service_port),
        "SERVER__READY_DELAY_SECONDS": "0",
        "SECURITY__API_KEYS": json.dumps({"load": KEY}),
        "SECURITY__RATE_LIMIT": "1000000/second",
        "LLM__MODEL": "openai-chat:stub",
        "LLM__BASE_URL": base_url,
    }
    first, second = cores()
    serve: list[str | Path] = [*first, python, "-m", "app", "serve"]
    pass_on: list[str | Path] = [*first, python, HERE / "relay.py", str(relay_port), base_url]
    with (
        standing([*second, python, HERE / "stub.py", str(stub_port)]) as stub,
        running(serve, service_port, project, **settings) as service,
        running(pass_on, relay_port, Path(project.parent)) as relay,
    ):

        def run(server: subprocess.Popen[bytes], port: int) -> Measured:
            before = cpu_seconds(server.pid), cpu_seconds(stub.pid)
            command: list[str | Path] = [
                *second,
                python,
                HERE / "load.py",
                str(port),
                KEY,
                str(streams),
            ]
            seen = json.loads(subprocess.check_output(command, env=bare()))
            after = cpu_seconds(server.pid), cpu_seconds(stub.pid)
            own = seen["client_cpu_seconds"] + after[1] - before[1]
            cpu_ms = 1000 * (after[0] - before[0]) / streams
            return Measured(streams / seen["seconds"], cpu_ms, own / seen["seconds"])

        both = {"service": (service, service_port), "relay": (relay, relay_port)}
        # The first round only warms up.
        return [{name: run(*it) for name, it in both.items()} for _ in range(rounds + 1)][1:]


def report(rounds: list[dict[str, Measured]]) -> None:
    medians = {
        name: Measured(*(median(column) for column in zip(*(r[name] for r in rounds), strict=True)))
        for name in rounds[0]
    }
    rows = [
        [name, f"{m.streams_a_second:.0f}", f"{m.cpu_ms_a_stream:.1f}", f"{m.busy:.0%}", "", ""]
        for name, m in medians.items()
    ]
    service, relay = medians["service"], medians["relay"]
    ratio = service.streams_a_second / relay.streams_a_second
    cost = service.cpu_ms_a_stream / relay.cpu_ms_a_stream
    judged = "met" if ratio >= LEAST_RATIO else "**missed**"
    rows.append(["service / relay", f"{ratio:.2f}", f"{cost:.2f}", "", f"≥ {LEAST_RATIO}", judged])
    head = ["", "streams a second", "CPU ms a stream", "busy", "target", ""]
    print_table(head, rows)


def cores() -> tuple[list[str], list[str]]:
    """Return the prefixes of commands that keep a process on one core, and others on another."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        return [], []
    return ["taskset", "-c", str(available[0])], ["taskset", "-c", str(available[1])]


@contextmanager
def standing(command: list[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process through the body."""
    process = subprocess.Popen(command, env=bare())
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    main()
