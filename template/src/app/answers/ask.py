"""`python -m app.answers.ask "…"`: stream one answer from the documents to the terminal."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import aclosing

from app.answers.answer import Answers, Question
from app.answers.settle import Answer

from app.errors import ServiceError
from app.resources import open_resources
from app.settings import load_settings
from app.telemetry import configure_logs


async def ask(question: str, principal: str, answers: Answers) -> None:
    """Print the answer as it comes, what it cites, and to stderr who gave it and what it took."""
    end = ""
    async with aclosing(answers.stream(principal, Question(question=question))) as parts:
        async for part in parts:
            match part:
                case str():
                    print(part, end="", flush=True)
                    end = "\n"
                case Answer():
                    print(end + told(part), flush=True)
                    took = f"{part.usage.input_tokens} tokens in, {part.usage.output_tokens} out"
                    print(f"{part.model}: {took}", file=sys.stderr)


def told(answer: Answer) -> str:
    """Say, in lines, what stands behind an answer that has been printed."""
    lines = [f"No answer: {answer.answer}"] if answer.abstained else []
    lines += [answer.detail] if answer.detail else []
    lines += [f'[{n}] {c.title}: "{c.quote}"' for n, c in enumerate(answer.citations, 1)]
    lines += [f"Unsupported: {sentence}" for sentence in answer.unsupported]
    return "\n".join(lines)


async def open_and_ask(question: str, principal: str) -> None:
    """Ask the service as its settings open it."""
    async with open_resources(load_settings()) as resources:
        await ask(question, principal, resources.answers)


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer what the command line asks; a failure is one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="poe answer")
    parser.add_argument("question", nargs="+", help="what the documents should answer")
    parser.add_argument("--principal", default="local", help="whose documents (default: local)")
    options = parser.parse_args(arguments)
    text = " ".join(options.question)
    if not text.strip():
        parser.error("the question is empty")
    configure_logs("WARNING", "console")
    try:
        asyncio.run(open_and_ask(text, options.principal))
    except (ServiceError, ValueError) as error:
        detail = error.detail if isinstance(error, ServiceError) else error
        parser.exit(1, f"{detail}\n")
    except KeyboardInterrupt:
        parser.exit(130)


if __name__ == "__main__":
    main()
