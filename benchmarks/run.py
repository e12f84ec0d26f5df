"""Run every benchmark, one after the other, and write what they say into README.md beside this.

Options are passed on to render.py: `uv run benchmarks/run.py --substrate ../substrate`.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
README = HERE / "README.md"
BENCHMARKS = ("render", "startup", "size", "stream", "monitoring", "retrieval", "groundedness")
MARK = "<!-- results -->"


def main() -> None:
    before = os.getloadavg()[0]
    today = datetime.datetime.now(datetime.UTC).date()
    parts = [f"{today}, {machine()}; load before the first {before:.1f}."]
    for name in BENCHMARKS:
        options = sys.argv[1:] if name == "render" else []
        table = subprocess.check_output([sys.executable, HERE / f"{name}.py", *options], text=True)
        print(f"{name}\n{table}", flush=True)
        parts.append(f"### {name}.py\n\n{table.strip()}")
    kept, _, _ = README.read_text("utf-8").partition(MARK)
    README.write_text(f"{kept}{MARK}\n\n" + "\n\n".join(parts) + "\n", "utf-8")


def machine() -> str:
    """Describe the machine, without its name."""
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cores = len(os.sched_getaffinity(0))
    model = cpu[1] if cpu else platform.machine()
    return f"{cores} cores of {model}, {platform.system()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
