"""Ask everything the service holds open whether it can be used."""

import asyncio
from typing import NamedTuple, Protocol, runtime_checkable

import structlog

from app.errors import ServiceError

_log = structlog.stdlib.get_logger("app.checks")
_PATIENCE_SECONDS = 5.0


class Degraded(Exception):
    """What answers do without is not as it should be: it is told, and requests go on."""


class Result(NamedTuple):
    usable: bool
    # A description, or the reason why not.
    detail: str
    # Whether requests need it.
    needed: bool = True


@runtime_checkable
class Checked(Protocol):
    """A resource that can say whether it is usable."""

    async def check(self, *, thorough: bool = False) -> str:
        """Describe the resource in a few words; raise when it is unusable.

        What no answer needs raises `Degraded`, and leaves the service ready.

        A thorough check may also call what is outside of the service, such as a provider.
        Readiness never asks for that: a service is not taken out of rotation for it.
        """


async def check_all(resources: object, *, thorough: bool = False) -> dict[str, Result]:
    """Return what each resource says of itself, by its name."""
    checked = {name: held for name, held in vars(resources).items() if isinstance(held, Checked)}
    results = await asyncio.gather(*(_check(held, thorough) for held in checked.values()))
    return dict(zip(checked, results, strict=True))


async def _check(resource: Checked, thorough: bool) -> Result:
    # What looks closely may start what is not running yet.
    patience_seconds = _PATIENCE_SECONDS * (6 if thorough else 1)
    try:
        async with asyncio.timeout(patience_seconds):
            return Result(True, await resource.check(thorough=thorough))
    except Degraded as error:
        return Result(False, str(error), needed=False)
    except ServiceError as error:
        return Result(False, error.detail)
    except TimeoutError:
        return Result(False, f"no answer within {patience_seconds:.0f} s")
    except Exception:
        _log.exception("check failed", resource=type(resource).__name__)
        return Result(False, "failed; the logs say why")
