"""Tell people something, at the address of `AGENT__NOTIFY_URL`."""

from typing import Final

import httpx2
from pydantic_ai import RunContext, Tool
from pydantic_ai.exceptions import ToolFailed

from app.agent.durable import EFFECT, Scope
from app.agent.settings import AgentSettings

_SECONDS: Final = 10.0


def tool(settings: AgentSettings) -> Tool[Scope]:
    """Make the tool; without an address it says so when it is used."""

    async def notify(ctx: RunContext[Scope], message: str) -> str:
        """Send a message to the people who run this service.

        Args:
            message: What they should know, in a few sentences.
        """
        if settings.notify_url is None:
            return "Nothing was sent: this service has no address to send to (AGENT__NOTIFY_URL)."
        # Whoever receives the same key twice has received it before.
        headers = {"Idempotency-Key": ctx.deps.key}
        try:
            async with httpx2.AsyncClient(timeout=_SECONDS) as client:
                url = settings.notify_url.get_secret_value()
                answer = await client.post(url, json={"text": message}, headers=headers)
                answer.raise_for_status()
        except httpx2.HTTPError as error:
            # Its message may hold the address, which is secret.
            raise ToolFailed(f"It was not sent ({type(error).__name__}).") from None
        return "It was sent."

    return Tool(notify, requires_approval=True, metadata={EFFECT: True}, timeout=_SECONDS + 5)
