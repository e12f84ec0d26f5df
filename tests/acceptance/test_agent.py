"""Agents whose processes are killed, and streams that break: nothing is lost, or done twice."""

from __future__ import annotations

import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest

from acceptance.agents import PRINCIPALS, STEPS, add_tool, expected_events, headers_of, opened
from acceptance.services import service_with
from answers import label
from conftest import Install

ANSWERS = service_with("openai", agent=True)
KILLS = 20
SEED = 20_261_126

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group(label(ANSWERS))]


@pytest.fixture(scope="module")
def project(install: Install, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a tool of its owner's."""
    project = tmp_path_factory.mktemp("agent") / "project"
    shutil.copytree(install(ANSWERS), project, symlinks=True)
    add_tool(project)
    return project


def test_a_worker_that_is_killed_twenty_times_does_everything_once(
    project: Path, tmp_path: Path
) -> None:
    chosen = random.Random(SEED)  # noqa: S311
    with opened(project, tmp_path) as office:
        for kill in range(KILLS):
            worker = office.start_worker()
            office.begin(f"run-{kill}")
            office.model.wait_for(f"run-{kill}", chosen.randint(0, STEPS))
            time.sleep(chosen.uniform(0, 0.06))
            office.kill(worker)
        worker = office.start_worker()
        office.wait_for_all(KILLS)
        office.stop(worker)
        office.assert_done_exactly_once({f"run-{kill}": STEPS for kill in range(KILLS)})
        print(f"{len(office.calls())} calls for {KILLS * STEPS} effects")


def test_of_two_workers_the_living_one_is_not_disturbed(project: Path, tmp_path: Path) -> None:
    chosen = random.Random(SEED)  # noqa: S311
    with opened(project, tmp_path, seconds=0.1) as office:
        workers = [office.start_worker(), office.start_worker()]
        names: list[str] = []
        for kill in range(6):
            names += [f"run-{kill}-{number}" for number in range(4)]
            for name, principal in zip(names[-4:], PRINCIPALS, strict=False):
                office.begin(name, principal=principal)
            office.model.wait_for(names[-1], chosen.randint(0, STEPS))
            time.sleep(chosen.uniform(0, 0.15))
            office.kill(workers[kill % 2])
            workers[kill % 2] = office.start_worker()
        office.wait_for_all(len(names))
        office.stop(*workers)
        office.assert_done_exactly_once(dict.fromkeys(names, STEPS))
        calls = office.calls()
        assert len({call.pid for call in calls}) > 4
        for name in names:
            for before, call in pairwise(each for each in calls if each.run == name):
                killed = office.killed.get(before.pid, float("inf"))
                assert before.pid == call.pid or killed < call.time


def test_a_hundred_runs_at_once_end_within_their_limits(project: Path, tmp_path: Path) -> None:
    with opened(project, tmp_path) as office:
        workers = [office.start_worker(), office.start_worker()]
        names = {f"run-{number}": PRINCIPALS[number % 5] for number in range(100)}
        with ThreadPoolExecutor(10) as pool:
            for begun in [pool.submit(office.begin, name, 2, names[name]) for name in names]:
                assert begun.result()
        office.wait_for_all(100)
        office.stop(*workers)
        office.assert_done_exactly_once(dict.fromkeys(names, 2))
        assert len({call.pid for call in office.calls()}) == 2

        rows = office.database.rows(_TIMES)
        delays = sorted(row["began"] - row["created"] for row in rows)
        spans = [(row["began"], row["ended"], row["principal"]) for row in rows]
        for principal in PRINCIPALS:
            assert _at_once([each for each in spans if each[2] == principal]) <= 4
        assert _at_once(spans) <= 16
        print(f"scheduling delay: p50 {delays[49]:.2f} s, p95 {delays[94]:.2f} s")
        print(
            f"100 runs took {max(r['ended'] for r in rows) - min(r['created'] for r in rows):.1f} s"
        )


_TIMES = """
    SELECT principal, extract(epoch FROM created_at)::float AS created,
        extract(epoch FROM started_at)::float AS began,
        extract(epoch FROM ended_at)::float AS ended FROM agent.runs"""


def _at_once(spans: list[tuple[float, float, str]]) -> int:
    """Return how many there were at most at one time."""
    changes = [(began, 1) for began, _, _ in spans] + [(ended, -1) for _, ended, _ in spans]
    running = most = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most


def test_a_stream_that_breaks_fifty_times_loses_nothing(project: Path, tmp_path: Path) -> None:
    chosen = random.Random(SEED)  # noqa: S311
    with opened(project, tmp_path) as office:
        worker = office.start_worker()
        run_id = office.begin("run", 40)
        read: list[tuple[int, str]] = []
        for _ in range(50):
            read += _events(office.http, run_id, read, most=chosen.randint(0, 3))
        assert read[-1][1] != "run.completed"
        read += _events(office.http, run_id, read)
        assert [id for id, _ in read] == list(range(1, len(read) + 1))
        assert [kind for _, kind in read] == list(expected_events(40))
        office.stop(worker)
        office.assert_done_exactly_once({"run": 40})


def _events(
    client: httpx2.Client, run_id: str, read: list[tuple[int, str]], most: int | None = None
) -> list[tuple[int, str]]:
    """Read on behind what was read, up to so many events, and leave without a word."""
    found: list[tuple[int, str]] = []
    headers = {**headers_of(PRINCIPALS[0]), "Last-Event-ID": str(read[-1][0] if read else 0)}
    with client.stream("GET", f"/v1/runs/{run_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        if most == 0:
            return found
        id = 0
        for line in answer.iter_lines():
            if line.startswith("id: "):
                id = int(line[4:])
            elif line.startswith("event: "):
                found.append((id, line[7:]))
                if len(found) == most:
                    break
    return found
