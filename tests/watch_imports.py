"""Import every module of a generated service and print what that did besides defining things.

Runs in the service's own interpreter. What a library does while it is imported is its own affair:
an event counts when the module being imported, the innermost one, is the service's.
"""

import importlib
import json
import os
import pkgutil
import sys
import threading
from types import FrameType

LOUD = {"socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.putenv", "os.mkdir"}
events: list[str] = []


def record(event: str) -> None:
    """Keep the event if it happens while a module of the service is being imported."""
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code.co_name != "<module>":
        if frame.f_globals["__name__"].startswith("pydantic.plugin."):
            return  # it asks at each class whether plug-ins are switched off
        frame = frame.f_back
    name = frame.f_globals["__name__"] if frame else ""
    if name.split(".")[0] == "app":
        events.append(f"{name}: {event}")


def audit(event: str, arguments: tuple[object, ...]) -> None:
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if event in LOUD or writes:
        record(f"{event} {arguments!r}")


class Watched(dict[bytes, bytes]):
    """The process's environment, which tells who reads it."""

    def __getitem__(self, name: bytes) -> bytes:
        record(f"reads {name!r} from the environment")
        return super().__getitem__(name)

    def __iter__(self):  # type: ignore[no-untyped-def]
        record("reads the environment")
        return super().__iter__()


def main() -> None:
    os.environ._data = Watched(os.environ._data)  # type: ignore[attr-defined]
    start_thread = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        record(f"starts {thread.name}")
        start_thread(thread)

    threading.Thread.start = start  # type: ignore[method-assign,assignment]
    sys.dont_write_bytecode = True
    sys.addaudithook(audit)

    package = importlib.import_module("app")
    found = pkgutil.walk_packages(package.__path__, "app.")
    names = [module.name for module in found]
    for name in names:
        importlib.import_module(name)
    print(json.dumps({"names": names, "events": events}))


if __name__ == "__main__":
    main()
