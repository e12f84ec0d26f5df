"""`poe ask "…"`: stream one answer of the service's own chat to the terminal."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from pydantic_ai import ModelRequest, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta

from app.llm.chat import ChatRequest

from app.errors import ServiceError
from app.resources import open_resources
from app.settings import Settings, load_settings
from app.telemetry import configure_logs


async def ask(text: str, settings: Settings) -> None:
    """Print the answer as it comes, and to stderr who gave it and what it took."""
    request = ChatRequest([ModelRequest.user_text_prompt(text)])
    async with open_resources(settings) as resources, resources.chat.stream(request) as stream:
        async for event in stream:
            match event:
                case PartStartEvent(part=TextPart(content=new)):
                    print(new, end="", flush=True)
                case PartDeltaEvent(delta=TextPartDelta(content_delta=new)):
                    print(new, end="", flush=True)
        print(flush=True)
    used, answer = stream.usage, stream.get()
    took = f"{used.input_tokens} tokens in, {used.output_tokens} out"
    print(f"{stream.model_name}: {took}", file=sys.stderr)
    why = (answer.provider_details or {}).get("refusal") or answer.finish_reason
    if why not in ("stop", None):
        print(f"That is no whole answer: {why}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask what the command line says; a failure is one line and exit code 1."""
    parser = argparse.ArgumentParser(prog="poe ask")
    parser.add_argument("text", nargs="+", help="the question")
    options = parser.parse_args(arguments)
    configure_logs("WARNING", "console")
    try:
        asyncio.run(ask(" ".join(options.text), load_settings()))
    except (ServiceError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(130)


if __name__ == "__main__":
    main()
