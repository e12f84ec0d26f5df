"""Five hundred documents, and processes that are killed twenty times while they take them in."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from acceptance.databases import Postgres, data_folder, postgres, servers_of
from acceptance.services import KEY
from answers import SERVICES, label
from conftest import Install
from projects import environment, python, request, run

DOCUMENTS = 500
KILLS = 20
SEED = 20_261_125
RAG = next(a for a in SERVICES if a["rag"] and not a["llm"])
SMALL = {
    # So that each document has several chunks, and several batches of them.
    "RAG__CHUNK_TOKENS": "40",
    "RAG__EMBEDDING_BATCH_SIZE": "6",
    "WORKER__CONCURRENCY": "8",
    "WORKER__POLL_SECONDS": "0.05",
    "WORKER__RECOVER_SECONDS": "0.5",
    "SECURITY__API_KEYS": json.dumps({"alice": KEY}),
    "SECURITY__RATE_LIMIT": "1000000/second",
    "SERVER__READY_DELAY_SECONDS": "0",
}
HEADERS = {"Authorization": f"Bearer {KEY}"}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group(label(RAG))]


@dataclass(frozen=True)
class Line:
    """A worker began a stage of a version."""

    milliseconds: float
    stage: str
    workflow: str


@dataclass
class Life:
    """One process, from its start until it is killed or asked to end."""

    process: subprocess.Popen[bytes]
    log: Path
    killed: float = field(default=float("inf"))

    def kill(self) -> None:
        self.killed = time.time() * 1000
        self.process.kill()
        assert self.process.wait(timeout=10) == -9

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0, self.log.read_text()[-5000:]

    @property
    def has_begun(self) -> bool:
        return b'"event": "stage"' in self.log.read_bytes()

    def lines(self) -> Iterator[Line]:
        """Read the stages that it began; the last line may have been broken off."""
        for line in self.log.read_bytes().splitlines():
            if b'"event": "stage"' not in line:
                continue
            try:
                logged = json.loads(line)
            except json.JSONDecodeError:
                continue
            time_of = datetime.fromisoformat(logged["timestamp"]).timestamp() * 1000
            workflow = f"ingest-{logged['document_id']}-{logged['version']}"
            yield Line(time_of, logged["stage"], workflow)


class Processes:
    """All that a test starts of one project; what is left of them is killed in the end."""

    def __init__(self, project: Path, logs: Path, **settings: str) -> None:
        self.project, self.logs = project, logs
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.settings = environment(**SMALL, **settings, SERVER__PORT=str(self.port))
        self.address = f"http://127.0.0.1:{self.port}"
        self.lives: list[Life] = []

    def start(self, command: str) -> Life:
        log = self.logs / f"{len(self.lives)}-{command}.log"
        arguments: list[str | Path] = [python(self.project), "-m", "app", command]
        with log.open("wb") as out:
            process = subprocess.Popen(
                arguments, cwd=self.logs, env=self.settings, stdout=out, stderr=out
            )
        self.lives.append(Life(process, log))
        return self.lives[-1]

    def begun(self, stage: str = "store") -> int:
        """Count how often the stage has begun, in all of them."""
        word = f'"stage": "{stage}"'.encode()
        return sum(life.log.read_bytes().count(word) for life in self.lives)

    def wait(self, until: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, self.told()
            _pass(self.lives[-1], 0.02)

    def told(self) -> str:
        return "\n".join(life.log.read_text(errors="replace")[-2000:] for life in self.lives[-3:])

    def all_ready(self) -> bool:
        """Tell whether each document can be found; none may have failed."""
        try:
            found = Counter(document["status"] for document in self.documents())
        except httpx2.TransportError:
            return False  # It is starting.
        assert not found["failed"], self.told()
        return found["ready"] == DOCUMENTS

    def documents(self) -> list[dict[str, Any]]:
        """Read all pages of the list."""
        found: list[dict[str, Any]] = []
        with httpx2.Client(base_url=self.address, headers=HEADERS, timeout=30) as client:
            page: dict[str, Any] = {"documents": [{"id": None}]}
            while page["documents"]:
                after = {"after": found[-1]["id"]} if found else {}
                page = client.get("/v1/documents", params={"limit": 200, **after}).json()
                found += page["documents"]
        return found


def _pass(life: Life, seconds: float) -> None:
    """Let so much time pass; nothing ends by itself."""
    with pytest.raises(subprocess.TimeoutExpired):
        life.process.wait(timeout=seconds)


@contextmanager
def processes(project: Path, logs: Path, **settings: str) -> Iterator[Processes]:
    started = Processes(project, logs, **settings)
    try:
        yield started
    finally:
        for life in started.lives:
            if life.process.poll() is None:
                life.process.kill()
                life.process.wait()


def _text(number: int) -> str:
    """Write a document of some to some dozens of sentences, the same for each number."""
    chosen = random.Random(number)  # noqa: S311
    words = ("invoice", "charge", "refund", "order", "ship", "return", "letter", "window", "stone")
    sentences = (
        f"Sentence {n} of {number}: {' '.join(chosen.choices(words, k=12))}."
        for n in range(chosen.choice([3, 5, 8, 13]))
    )
    return f"# Document {number}\n\n" + "\n\n".join(sentences)


@contextmanager
def feeding(address: str) -> Iterator[dict[str, int]]:
    """Post all documents, each until it has been accepted; give their ids and numbers."""
    accepted: dict[str, int] = {}
    stopped = threading.Event()

    def feed() -> None:
        with httpx2.Client(base_url=address, headers=HEADERS, timeout=30) as client:
            for number in range(DOCUMENTS):
                body = {"title": f"Document {number}", "text": _text(number)}
                while not stopped.is_set():
                    try:
                        answer = client.post("/v1/documents", json=body)
                    except httpx2.TransportError:
                        stopped.wait(0.05)
                        continue
                    # There may be no database at the moment; there may be nothing else wrong.
                    assert answer.status_code in (202, 503), answer.text
                    if answer.status_code == 202:
                        accepted[answer.json()["id"]] = number
                        break

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield accepted
    finally:
        stopped.set()
        thread.join()


def test_one_process_that_is_killed_twenty_times_loses_nothing(
    install: Install, tmp_path: Path
) -> None:
    chosen = random.Random(SEED)  # noqa: S311
    project = install(RAG)
    with (
        data_folder() as folder,
        processes(project, tmp_path, DATABASE__FOLDER=str(folder)) as all_of,
    ):
        with feeding(all_of.address) as accepted:
            for kill in range(1, KILLS + 1):
                life = all_of.start("serve")
                all_of.wait(lambda: all_of.begun() >= kill * DOCUMENTS // (KILLS + 2))  # noqa: B023
                _pass(life, chosen.uniform(0.001, 0.2))
                life.kill()
            life = all_of.start("serve")
            all_of.wait(lambda: len(accepted) == DOCUMENTS)
            all_of.wait(all_of.all_ready)
        listed = all_of.documents()
        life.stop()
        assert servers_of(folder) == []
        with postgres(project, folder) as database:
            _assert_ready_exactly_once(database, listed, accepted)
            _assert_that_no_stage_ran_again(database, all_of.lives)
        _assert_that_nobody_was_disturbed(all_of.lives)
        assert servers_of(folder) == []


def test_two_workers_and_a_service_that_are_killed_in_turn_lose_nothing(
    install: Install, tmp_path: Path
) -> None:
    chosen = random.Random(SEED)  # noqa: S311
    project = install(RAG)
    with (
        data_folder() as folder,
        postgres(project, folder) as database,
        processes(
            project, tmp_path, DATABASE__URL=database.url, WORKER__IN_PROCESS="false"
        ) as all_of,
    ):
        service = all_of.start("serve")
        _assert_that_it_waits_for_the_migration(all_of)
        workers = [all_of.start("worker"), all_of.start("worker")]
        with feeding(all_of.address) as accepted:
            for kill in range(1, KILLS + 1):
                all_of.wait(lambda: all_of.begun() >= kill * DOCUMENTS // (KILLS + 2))  # noqa: B023
                # One that works, not one that starts.
                all_of.wait(lambda: any(life.has_begun for life in workers))
                killed = chosen.choice([n for n in (0, 1) if workers[n].has_begun])
                _pass(workers[killed], chosen.uniform(0.001, 0.2))
                workers[killed].kill()
                workers[killed] = all_of.start("worker")
                if kill == KILLS // 4:
                    service.kill()
                    service = all_of.start("serve")
            all_of.wait(lambda: len(accepted) == DOCUMENTS)
            all_of.wait(all_of.all_ready)
        listed = all_of.documents()
        for life in (*workers, service):
            life.stop()
        _assert_ready_exactly_once(database, listed, accepted)
        _assert_that_no_stage_ran_again(database, all_of.lives)
        _assert_that_nobody_was_disturbed(all_of.lives)
    assert servers_of(folder) == []


def _assert_that_it_waits_for_the_migration(all_of: Processes) -> None:
    """The service says what is missing, as long as it is, and never migrates by itself."""
    ready = f"{all_of.address}/health/ready"

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", all_of.port)) == 0

    all_of.wait(answers)
    for _ in range(2):
        status, problem = request(ready)
        assert status == 503
        assert "python -m app migrate" in problem["detail"]
    run(python(all_of.project), "-m", "app", "migrate", cwd=all_of.logs, env=all_of.settings)
    assert request(ready) == (200, {"status": "ready"})


def _assert_ready_exactly_once(
    database: Postgres, listed: list[dict[str, Any]], accepted: dict[str, int]
) -> None:
    assert sorted(accepted.values()) == list(range(DOCUMENTS))
    assert Counter(document["id"] for document in listed) == Counter(accepted.keys())
    stored = {row["document_id"]: row for row in database.rows(_CHUNKS)}
    assert stored.keys() == accepted.keys()
    for document in listed:
        row = stored[document["id"]]
        assert document["status"] == "ready"
        assert document["title"] == f"Document {accepted[document['id']]}"
        assert row["chunks"] == row["positions"] == document["chunks"] > 1
        assert (row["first"], row["last"]) == (0, document["chunks"] - 1)
        assert row["versions"] == 1
    assert database.counts(_LEFT) == [0, 0, 0, DOCUMENTS, DOCUMENTS]


def _assert_that_no_stage_ran_again(database: Postgres, lives: list[Life]) -> None:
    """Each time a process began a stage, so many steps of it were still to be written down."""
    done: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in database.rows(_STEPS):
        done[row["workflow_uuid"], row["function_name"]].append(row["completed_at_epoch_ms"])
    # Whoever is killed between the two has published a document, and has not written that down:
    # then there is nothing left to do, and the workflow ends without it.
    for row in database.rows(_STORED):
        done.setdefault((row["workflow_uuid"], "store"), [float("inf")])
    for life in lives:
        begun: dict[tuple[str, str], list[float]] = defaultdict(list)
        for line in life.lines():
            begun[line.workflow, line.stage].append(line.milliseconds)
        for step, times in begun.items():
            for to_do, began in zip(count(1), reversed(times), strict=False):
                # The database rounds to milliseconds.
                left = sum(completed >= began - 1 for completed in done[step])
                assert left >= to_do, (step, life.log.name)


def _assert_that_nobody_was_disturbed(lives: list[Life]) -> None:
    """Whatever a process had begun, no other one went on with it before that one was dead."""
    seen: dict[str, list[tuple[float, Life]]] = defaultdict(list)
    for life in lives:
        for line in life.lines():
            seen[line.workflow].append((line.milliseconds, life))
    for workflow, events in seen.items():
        events.sort(key=lambda event: event[0])
        for (_, before), (began, life) in pairwise(events):
            assert life is before or began >= before.killed, (workflow, life.log, before.log)
    assert len(seen) == DOCUMENTS


_CHUNKS = """
    SELECT document_id, count(*) AS chunks, count(DISTINCT position) AS positions,
        min(position) AS first, max(position) AS last, count(DISTINCT version) AS versions
    FROM rag.chunks GROUP BY document_id"""
_LEFT = """
    SELECT (SELECT count(*) FROM rag.staged_chunks) AS staged,
        (SELECT count(*) FROM rag.chunks c LEFT JOIN rag.versions v USING (document_id, version)
            WHERE v.version IS NULL) AS orphans,
        (SELECT count(*) FROM rag.versions WHERE status <> 'ready' OR content IS NOT NULL)
            AS unfinished,
        (SELECT count(*) FROM rag.versions) AS versions,
        (SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS') AS workflows"""
_STORED = "SELECT workflow_uuid FROM dbos.workflow_status WHERE status = 'SUCCESS'"
_STEPS = """
    SELECT workflow_uuid, function_name, completed_at_epoch_ms FROM dbos.operation_outputs"""
