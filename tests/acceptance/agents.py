"""A service with agents, workers that can be killed, and a model that notes what it is asked."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2

from acceptance.databases import Postgres, data_folder, postgres
from acceptance.model_server import completion_server
from acceptance.services import wait
from projects import edit, environment, python, run, wait_until_live

STEPS = 6
PRINCIPALS = [f"principal-{number}" for number in range(5)]
APPEND = '''\
"""Append a line to a file, once for each key."""

import asyncio
import json
import os
import time
from pathlib import Path

from pydantic_ai import RunContext, Tool

from app.agent.durable import EFFECT, Scope


async def append(ctx: RunContext[Scope], line: str) -> str:
    """Append a line.

    Args:
        line: What is appended.
    """
    lines = Path(os.environ["APPEND_TO"])
    with lines.with_suffix(".calls").open("a") as calls:
        said = [os.getpid(), time.time(), ctx.deps.key, line]
        calls.write(json.dumps(said) + "\\n")
    if ctx.deps.key not in lines.read_text():
        with lines.open("a") as out:
            out.write(f"{ctx.deps.key} {line}\\n")
    await asyncio.sleep(0.02)
    return "It was appended."


TOOL = Tool(append, metadata={EFFECT: True}, timeout=5)
'''

# `python -m app worker`, begun in the fork of a process that has imported everything: a worker that
# is killed many times so begins in no time. Nothing but imports has been done before.
_FORKING = """
import os, runpy, signal, sys
import app.llm.providers.openai, app.main, app.work

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    if pid := os.fork():
        print(pid, flush=True)
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(line.strip(), os.O_WRONLY | os.O_CREAT)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # So that the model knows who asks.
    os.environ["LLM__MODEL"] += f"-{os.getpid()}"
    sys.argv = ["app", "worker"]
    runpy.run_module("app", run_name="__main__", alter_sys=True)
    break
"""


@dataclass
class Model:
    """Has each run append so many lines as its input says; notes what it was asked, and when."""

    # How long an answer takes.
    seconds: float
    # Run and step -> by which process that was asked, and when.
    asked: dict[tuple[str, int], list[tuple[int, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        (said,) = (each["content"] for each in body["messages"] if each["role"] == "user")
        name, steps = said.split()
        step = sum(each["role"] == "tool" for each in body["messages"])
        with self._changed:
            pid = int(body["model"].partition("-")[2])
            self.asked[name, step].append((pid, time.time()))
            self._changed.notify_all()
        time.sleep(self.seconds)
        if step >= int(steps):
            return {"role": "assistant", "content": f"{name} is done."}
        arguments = json.dumps({"line": f"{name}:{step}"})
        function = {"name": "append", "arguments": arguments}
        call = {"id": f"call_{step}", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}

    def wait_for(self, name: str, step: int) -> None:
        """Return when a run asks what its step is."""
        with self._changed:
            assert self._changed.wait_for(lambda: (name, step) in self.asked, timeout=60)


@dataclass(frozen=True)
class Call:
    """A call of the tool, in one of the processes."""

    pid: int
    time: float
    key: str
    line: str

    @property
    def run(self) -> str:
        return self.line.partition(":")[0]


class Office:
    """A service that does not work its queues, workers that do, and what they have done."""

    def __init__(self, project: Path, folder: Path, database: Postgres, model: Model) -> None:
        self.project, self.folder, self.database, self.model = project, folder, database, model
        self.lines = folder / "lines.txt"
        self.lines.touch()
        self.killed: dict[int, float] = {}
        self.workers: list[int] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{probe.getsockname()[1]}"

    def configure(self, model_url: str) -> None:
        self.environment = environment(
            PYTHONPATH=str(self.project / "src"),
            APPEND_TO=str(self.lines),
            DATABASE__URL=self.database.url,
            SERVER__PORT=self.address.rpartition(":")[2],
            SERVER__READY_DELAY_SECONDS="0",
            SECURITY__API_KEYS=json.dumps({each: _key(each) for each in PRINCIPALS}),
            SECURITY__RATE_LIMIT="1000000/second",
            OPENAI_API_KEY="sk-for-the-stub",
            LLM__MODEL="openai-chat:m",
            LLM__BASE_URL=model_url,
            WORKER__IN_PROCESS="false",
            WORKER__POLL_SECONDS="0.05",
            WORKER__RECOVER_SECONDS="0.5",
            AGENT__MAX_STEPS="60",
            AGENT__MAX_TOOL_CALLS="60",
        )

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve, and be able to start workers; what is left of them in the end is killed."""
        log = self.folder / "serve.log"
        command: list[str | Path] = [python(self.project), "-m", "app", "serve"]
        with log.open("wb") as out:
            service = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=out, stderr=out
            )
        forking = subprocess.Popen(
            [python(self.project), "-c", _FORKING],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with service, forking, httpx2.Client(base_url=self.address, timeout=30) as self.http:
            self._forking = forking
            try:
                wait_until_live(self.address, service, log)
                yield
            finally:
                for worker in self.workers:
                    with suppress(ProcessLookupError):
                        os.kill(worker, signal.SIGKILL)
                service.kill()
                forking.kill()

    def start_worker(self) -> int:
        """Return the id of a new worker."""
        assert self._forking.stdin
        assert self._forking.stdout
        self._forking.stdin.write(f"{self.folder / f'worker-{len(self.workers)}.log'}\n")
        self._forking.stdin.flush()
        self.workers.append(int(self._forking.stdout.readline()))
        return self.workers[-1]

    def kill(self, worker: int) -> None:
        self.killed[worker] = time.time()
        os.kill(worker, signal.SIGKILL)
        wait(lambda: not _lives(worker))

    def stop(self, *workers: int) -> None:
        """Ask workers to end, as an operator does."""
        for worker in workers:
            os.kill(worker, signal.SIGTERM)
        for worker in workers:
            wait(lambda: not _lives(worker), 30)  # noqa: B023

    def begin(self, name: str, steps: int = STEPS, principal: str = PRINCIPALS[0]) -> str:
        body = {"input": f"{name} {steps}"}
        answer = self.http.post("/v1/runs", json=body, headers=headers_of(principal))
        assert answer.status_code == 202, answer.text
        run_id: str = answer.json()["id"]
        return run_id

    def wait_for_all(self, count: int, seconds: float = 60) -> None:
        """Wait until so many runs have completed; none may have failed."""
        statuses = "SELECT input, status, error FROM agent.runs"
        wait(lambda: self._all_completed(self.database.rows(statuses), count), seconds)

    def _all_completed(self, rows: list[dict[str, Any]], count: int) -> bool:
        assert not [row for row in rows if row["status"] in ("failed", "cancelled")], rows
        return [row["status"] for row in rows].count("completed") == count

    def calls(self) -> list[Call]:
        text = self.lines.with_suffix(".calls").read_text()
        return [Call(*json.loads(line)) for line in text.splitlines()]

    def assert_done_exactly_once(self, runs: dict[str, int]) -> None:
        """Hold that each run of so many steps has its effects, answers and events once."""
        wanted = Counter(f"{name}:{step}" for name, steps in runs.items() for step in range(steps))
        done = [line.split() for line in self.lines.read_text().splitlines()]
        assert Counter(line for _, line in done) == wanted
        assert len({key for key, _ in done}) == len(done)
        # A call is made again where a process was killed in it, and nowhere else.
        assert len(self.calls()) <= wanted.total() + len(self.killed) * 2
        asked = self.model.asked
        for (name, step), times in asked.items():
            following = asked.get((name, step + 1))
            # Once what an answer led to is known, nobody asks for it again.
            assert not following or times[-1][1] < following[0][1], (name, step)
            for (asker, _), (_, again) in pairwise(times):
                assert self.killed.get(asker, float("inf")) < again, (name, step)
        expected = {name: list(expected_events(steps)) for name, steps in runs.items()}
        found: dict[str, list[str]] = defaultdict(list)
        for row in self.database.rows(_EVENTS):
            name = row["input"].split()[0]
            found[name].append(row["kind"])
            assert row["id"] == len(found[name])
        assert found == expected


def expected_events(steps: int) -> Iterator[str]:
    yield "run.started"
    for _ in range(steps):
        yield from ("step", "tool.call", "tool.result")
    yield from ("step", "text", "run.completed")


_EVENTS = """
    SELECT input, e.id, kind FROM agent.events e JOIN agent.runs r ON r.id = run_id
    ORDER BY run_id, e.id"""


def headers_of(principal: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {_key(principal)}"}


def _key(principal: str) -> str:
    return f"the-key-of-{principal}-only"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def add_tool(project: Path) -> None:
    """Give the project a tool as its owner does: a module, and a line where tools are listed."""
    (project / "src/app/agent/tools/append.py").write_text(APPEND)
    resources = project / "src/app/resources.py"
    own = "            # Your own tools below.\n"
    edit(resources, own, f"{own}            append.TOOL,\n")
    imported = "\nfrom app.settings import "
    edit(resources, imported, f"\nfrom app.agent.tools import append{imported}")


@contextmanager
def opened(project: Path, folder: Path, *, seconds: float = 0.02) -> Iterator[Office]:
    """Serve the project with a database of its own; what is left in the end is killed."""
    answering = Model(seconds)
    with (
        data_folder() as data,
        postgres(project, data) as database,
        completion_server(answering.complete) as url,
    ):
        office = Office(project, folder, database, answering)
        office.configure(url)
        run(python(project), "-m", "app", "migrate", cwd=folder, env=office.environment)
        with office.serving():
            yield office
