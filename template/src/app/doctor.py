"""Say whether the service can run here, and why not: settings, what it reaches, versions."""

import asyncio
import json
import platform
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires
from importlib.metadata import version as version_of

from app.about import DISTRIBUTION, version
from app.checks import check_all
from app.resources import open_resources
from app.setting_names import SettingsError, unknown_settings
from app.settings import Settings, load_settings
from app.telemetry import configure_logs


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `detail` is what was found, or what to do about it."""

    subject: str
    ok: bool
    detail: str


def doctor(*, as_json: bool = False) -> int:
    """Print what was found; return 0 when nothing has to be done, else 1."""
    configure_logs("ERROR", "console")
    findings = [*_settings(), *_versions()]
    healthy = all(finding.ok for finding in findings)
    if as_json:
        print(json.dumps({"ok": healthy, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            print(f"{'ok ' if finding.ok else 'BAD'}  {finding.subject:<{width}}  {finding.detail}")
    return 0 if healthy else 1


def _settings() -> list[Finding]:
    wrong = unknown_settings(Settings)
    try:
        settings = load_settings()
    except SettingsError as error:
        lines = dict.fromkeys([*wrong, *str(error).splitlines()])
        return [Finding("settings", False, line) for line in lines]
    seconds = settings.server.shutdown_seconds
    return [
        *(Finding("settings", False, line) for line in wrong),
        Finding("settings", True, f"complete for {settings.environment}"),
        Finding("shutdown", True, f"takes up to {seconds:.0f} s: kill the process no earlier"),
        *asyncio.run(_resources(settings)),
    ]


async def _resources(settings: Settings) -> list[Finding]:
    try:
        async with open_resources(settings) as resources:
            results = await check_all(resources, thorough=True)
    except Exception as error:
        return [Finding("resources", False, str(error))]
    return [Finding(name, found.usable, found.detail) for name, found in results.items()]


def _versions() -> list[Finding]:
    found = {"python": platform.python_version(), DISTRIBUTION: version()}
    for requirement in requires(DISTRIBUTION) or []:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        with suppress(PackageNotFoundError):  # An extra that is not installed.
            found[name] = version_of(name)
    return [Finding(name, True, number) for name, number in found.items()]
