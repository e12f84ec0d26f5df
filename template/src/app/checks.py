"""Ask everything the service holds open whether it can be used."""

import asyncio
from typing import Protocol, runtime_checkable

import structlog

from app.errors import ServiceError

_log = structlog.stdlib.get_logger("app.checks")
_PATIENCE_SECONDS = 5.0


@runtime_checkable
class Checked(Protocol):
    """A resource that can say whether it is usable."""

    async def check(self, *, thorough: bool = False) -> str:
        """Describe the resource in a few words; raise when it is unusable.

        A thorough check may also call what is outside of the service, such as a provider.
        Readiness never asks for that: a service is not taken out of rotation for it.
        """


async def check_all(resources: object, *, thorough: bool = False) -> dict[str, tuple[bool, str]]:
    """Return, by resource, whether it is usable and a description or the reason why not."""
    checked = {name: held for name, held in vars(resources).items() if isinstance(held, Checked)}
    results = await asyncio.gather(*(_check(held, thorough) for held in checked.values()))
    return dict(zip(checked, results, strict=True))


async def _check(resource: Checked, thorough: bool) -> tuple[bool, str]:
    # What looks closely may start what is not running yet.
    patience_seconds = _PATIENCE_SECONDS * (6 if thorough else 1)
    try:
        async with asyncio.timeout(patience_seconds):
            return True, await resource.check(thorough=thorough)
    except ServiceError as error:
        return False, error.detail
    except TimeoutError:
        return False, f"no answer within {patience_seconds:.0f} s"
    except Exception:
        _log.exception("check failed", resource=type(resource).__name__)
        return False, "failed; the logs say why"
