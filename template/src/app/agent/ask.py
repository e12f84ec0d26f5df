"""`python -m app.agent.ask "…"`: do a run in the terminal, and ask there for approvals."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Literal, cast
from uuid import UUID

from pydantic import ValidationError

from app.agent.runs import Decision, NewRun, Runs
from app.agent.store import Event

from app.errors import ServiceError, message_of
from app.resources import open_resources
from app.settings import load_settings
from app.telemetry import configure_logs

Ask = Callable[[str], bool]


async def do(new: NewRun, principal: str, runs: Runs, approves: Ask) -> int:
    """Begin a run, print what happens in it, and return an exit code."""
    run = await runs.begin(principal, new)
    async with aclosing(runs.events(principal, run.id)) as pages:
        async for events in pages:
            for event in events:
                print(_told(event), flush=True)
                if event.kind == "approval.requested":
                    approved = await asyncio.to_thread(approves, f"{event.data['reason']} Approve?")
                    decision = Decision(approved=approved, digest=event.data["digest"])
                    await runs.decide(principal, run.id, UUID(event.data["approval_id"]), decision)
    return 0 if (await runs.get(principal, run.id)).status == "completed" else 1


def _told(event: Event) -> str:
    data = event.data
    match event.kind:
        case "tool.call" | "approval.requested":
            about = f"{data['tool']} {data['arguments']}"
        case "tool.result":
            about = f"{data['tool']} {data['outcome']}: {data['result']}"
        case "run.completed":
            # Its answer was the last text.
            about = ""
        case "step":
            about = ", ".join(f"{name} {value}" for name, value in data.items())
        case _:
            about = " ".join(str(value) for value in data.values())
    return f"{event.id:>3} {event.kind:<18} {' '.join(about.split())}".rstrip()


def _asked(question: str) -> bool:
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


async def open_and_do(new: NewRun, principal: str, approves: Ask) -> int:
    """Do a run with the service as its settings open it."""
    settings = load_settings()
    async with AsyncExitStack() as stack:
        resources = await stack.enter_async_context(open_resources(settings))
        if settings.worker.in_process:
            await stack.enter_async_context(resources.worker.working())
        else:
            print("WORKER__IN_PROCESS=false: this waits for poe worker.", file=sys.stderr)
        return await do(new, principal, resources.runs, approves)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says; a failure is one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="poe run")
    parser.add_argument("input", nargs="+", help="what is to be done")
    parser.add_argument("--agent", choices=("assistant", "research"), default="assistant")
    parser.add_argument("--conversation", help="go on with this conversation")
    parser.add_argument("--yes", action="store_true", help="approve whatever asks")
    parser.add_argument("--principal", default="local", help="who begins it (default: local)")
    options = parser.parse_args(arguments)
    configure_logs("WARNING", "console")
    try:
        new = NewRun(
            input=" ".join(options.input),
            agent=cast(Literal["assistant", "research"], options.agent),
            conversation_id=options.conversation,
        )
        approves = (lambda question: True) if options.yes else _asked
        sys.exit(asyncio.run(open_and_do(new, options.principal, approves)))
    except ValidationError as error:
        parser.exit(1, "".join(f"{e['loc'][0]}: {message_of(e)}\n" for e in error.errors()))
    except (ServiceError, ValueError) as error:
        parser.exit(1, f"{error.detail if isinstance(error, ServiceError) else error}\n")
    except EOFError:
        parser.exit(1, "Nobody is there to ask, so the run waits. --yes approves.\n")
    except KeyboardInterrupt:
        parser.exit(130)


if __name__ == "__main__":
    main()
