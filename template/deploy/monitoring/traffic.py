"""`poe traffic`: ask a service that runs of everything it has, so that dashboards show something.

`traffic/*.toml` say what is asked. It is asked for real, and costs what such requests cost.
"""

import argparse
import json
import os
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Any, Final

import httpx2
from pydantic import BaseModel, ConfigDict

FOLDER: Final = Path(__file__).parent / "traffic"


class Ask(BaseModel):
    """One request; in its body stand `$round`, a number, and `$id`, that of the last answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    body: dict[str, Any] | None = None
    status: int = 200
    with_key: bool = True
    # Whether it leaves as soon as the answer begins.
    leaves: bool = False

    @property
    def name(self) -> str:
        return f"{'GET' if self.body is None else 'POST'} {self.path}"


class Traffic:
    """Asks all there is to ask, in rounds."""

    def __init__(self, client: httpx2.Client, key: str | None, asks: Sequence[Ask]) -> None:
        self._client, self._key, self._asks = client, key, asks
        self._last_id = ""
        # (request, status) -> how often, and of those what should not have been.
        self.answers = Counter[tuple[str, int]]()
        self.unexpected = Counter[tuple[str, int]]()

    def round(self, number: int) -> None:
        """Ask each thing once."""
        for ask in self._asks:
            got = ask.name, self._status(ask, number)
            self.answers[got] += 1
            if got[1] != ask.status:
                self.unexpected[got] += 1

    def _status(self, ask: Ask, number: int) -> int:
        headers = {"Content-Type": "application/json"}
        if self._key and ask.with_key:
            headers["Authorization"] = f"Bearer {self._key}"
        known = {"round": str(number), "id": self._last_id}
        body = None if ask.body is None else Template(json.dumps(ask.body)).safe_substitute(known)
        method, _, path = ask.name.partition(" ")
        with self._client.stream(method, path, content=body, headers=headers) as answer:
            if ask.leaves:
                next(answer.iter_raw(), b"")
            else:
                self._note_id(answer.read())
        return answer.status_code

    def _note_id(self, content: bytes) -> None:
        try:
            answer = json.loads(content)
        except ValueError:
            return  # A stream, or a page.
        if isinstance(answer, dict) and isinstance(answer.get("id"), str):
            self._last_id = answer["id"]


def asks() -> Iterator[Ask]:
    """Return what is asked of a service with these parts."""
    for file in sorted(FOLDER.glob("*.toml")):
        for ask in tomllib.loads(file.read_text("utf-8"))["ask"]:
            yield Ask.model_validate(ask)


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask for a while; exit code 1 where something was answered otherwise than it should be."""
    parser = argparse.ArgumentParser(prog="poe traffic")
    parser.add_argument("--url", default="http://localhost:8000", help="the service (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="how long (%(default)s)")
    parser.add_argument("--pause", type=float, default=1, help="between rounds (%(default)s s)")
    options = parser.parse_args(arguments)
    ends, number = time.monotonic() + options.seconds, 0
    with httpx2.Client(base_url=options.url, timeout=60) as client:
        traffic = Traffic(client, os.environ.get("TRAFFIC_KEY"), list(asks()))
        try:
            while number == 0 or time.monotonic() + options.pause < ends:
                time.sleep(options.pause if number else 0)
                number += 1
                traffic.round(number)
        except httpx2.TransportError as error:
            parser.exit(1, f"{options.url} does not answer: {error}\n")
        except KeyboardInterrupt:
            pass
    for (name, status), count in sorted(traffic.answers.items()):
        wrong = "  (unexpected)" if (name, status) in traffic.unexpected else ""
        print(f"{count:>6}  {status}  {name}{wrong}")
    if any(status == 401 for _, status in traffic.unexpected):
        print("The variable TRAFFIC_KEY takes a key of the service.")
    sys.exit(1 if traffic.unexpected else 0)


if __name__ == "__main__":
    main()
