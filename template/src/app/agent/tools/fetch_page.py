"""Read a page of the hosts in `AGENT__FETCH_HOSTS`, and of no other.

A name is resolved once, and the address that was looked at is the one that is asked: no answer of a
name server, and no redirect, leads into the service's own network.
"""

import asyncio
import codecs
import re
import socket
from collections.abc import Awaitable, Callable, Collection
from ipaddress import ip_address, ip_network
from typing import Final

import httpx2
from pydantic_ai import ModelRetry, RunContext, Tool, ToolDefinition
from pydantic_ai.exceptions import ToolFailed

from app.agent.durable import UNTRUSTED, Scope

_SECONDS: Final = 15.0
_MOST_BYTES: Final = 1_000_000
_MOST_CHARACTERS: Final = 20_000
_MOST_REDIRECTS: Final = 3
_READABLE: Final = ("text/", "application/json", "application/xhtml+xml")
# Of the codecs that Python has those that pages are written in; some others take very long.
_CHARSETS: Final = re.compile(r"utf-(8|16|32)|ascii|iso8859|cp|koi8|mac|euc|shift_jis|gb|big5")
# Python calls these global, but they lead to an IPv4 address behind a gateway, or to protocols.
_NOT_PUBLIC: Final = [
    ip_network(network)
    for network in ("192.0.0.0/24", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")
]
Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Pages:
    """Fetches pages of `hosts`, over HTTPS."""

    def __init__(
        self,
        hosts: Collection[str],
        resolve: Resolve = resolve,
        transport: httpx2.AsyncBaseTransport | None = None,
        seconds: float = _SECONDS,
    ) -> None:
        self.hosts = {_name(httpx2.URL(scheme="https", host=host)) for host in hosts}
        self._seconds = seconds
        self._resolve = resolve
        self._transport = transport

    async def fetch_page(self, url: str) -> str:
        """Read the text of a page. Only some hosts can be read; another one is refused.

        Args:
            url: The page's address, which begins with https://.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._fetch(url)
        except TimeoutError:
            raise ToolFailed("The page did not come in time.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise ToolFailed(f"The page cannot be read ({type(error).__name__}).") from error

    async def _fetch(self, address: str) -> str:
        url = httpx2.URL(address)
        # Nothing but the pinned address is asked: no proxy of the environment either.
        async with httpx2.AsyncClient(
            transport=self._transport, trust_env=False, follow_redirects=False
        ) as client:
            for _ in range(_MOST_REDIRECTS + 1):
                pinned = await self._checked(url)
                request = client.build_request(
                    "GET",
                    url.copy_with(host=pinned),
                    headers={"Host": _name(url), "Accept": "text/*", "Accept-Encoding": "identity"},
                    extensions={"sni_hostname": _name(url)},
                )
                answer = await client.send(request, stream=True)
                try:
                    if answer.has_redirect_location:
                        url = url.join(answer.headers["Location"])
                        continue
                    return await _text(answer)
                finally:
                    await answer.aclose()
        raise ToolFailed("The page leads from one address to the next.")

    async def _checked(self, url: httpx2.URL) -> str:
        """Return the address to ask for `url`; raise where it may not be asked."""
        if url.scheme != "https" or url.port not in (None, 443) or url.userinfo:
            raise ModelRetry("Only addresses that begin with https:// can be read.")
        name = _name(url)
        if name not in self.hosts:
            known = ", ".join(sorted(self.hosts)) or "none"
            raise ModelRetry(f"Pages of {name!r} cannot be read here, only of: {known}.")
        addresses = await self._resolve(name, 443)
        if not addresses or not all(map(_is_public, addresses)):
            raise ToolFailed("The page stands in a private network.")
        return addresses[0]


def _name(url: httpx2.URL) -> str:
    """Return the host as name servers and certificates know it, in ASCII."""
    return url.raw_host.decode()


def _is_public(text: str) -> bool:
    address = ip_address(text.partition("%")[0])
    inside = any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not address.is_multicast and not inside


async def _text(answer: httpx2.Response) -> str:
    if answer.status_code != 200:
        raise ToolFailed(f"The page answers with status {answer.status_code}.")
    media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if "Content-Encoding" in answer.headers:
        raise ToolFailed("The page is compressed, which was not asked for.")
    if not media_type.startswith(_READABLE):
        raise ToolFailed(f"The page is no text, but {media_type[:50] or 'of no known kind'}.")
    content = bytearray()
    async for part in answer.aiter_raw():
        content += part
        if len(content) > _MOST_BYTES:
            raise ToolFailed(f"The page is larger than {_MOST_BYTES} bytes.")
    text = content.decode(_charset(answer), errors="replace")
    if "html" in media_type:
        # Slow to import, and most processes read none.
        from html_to_markdown import ConversionOptions, convert

        # Its addresses stay, so that the model can go on to them.
        options = ConversionOptions(extract_metadata=False, skip_images=True)
        text = ((await asyncio.to_thread(convert, text, options)).content or "").strip()
    return text[:_MOST_CHARACTERS]


def _charset(answer: httpx2.Response) -> str:
    try:
        name = codecs.lookup(answer.charset_encoding or "utf-8").name
    except (LookupError, ValueError):
        return "utf-8"
    return name if _CHARSETS.match(name) else "utf-8"


def tool(pages: Pages) -> Tool[Scope]:
    """Make the tool that reads these pages; without any host, no model is offered it."""

    async def offered(ctx: RunContext[Scope], tool: ToolDefinition) -> ToolDefinition | None:
        return tool if pages.hosts else None

    return Tool(pages.fetch_page, prepare=offered, metadata={UNTRUSTED: True}, timeout=_SECONDS + 5)
