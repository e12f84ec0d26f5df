"""Pages of some hosts are read, from the public address that was looked at, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from pydantic_ai import ModelRetry
from pydantic_ai.exceptions import ToolFailed

from app.agent.durable import UNTRUSTED
from app.agent.tools import fetch_page
from app.agent.tools.fetch_page import Pages

from tests.agent.conftest import Office, Scripted

pytestmark = pytest.mark.anyio

PUBLIC = "93.184.216.34"
HOSTS = ("docs.example.org", "Other.Example.org", "münchen.example.org")
# None of them is anywhere on the Internet.
ADDRESSES = """
    127.0.0.1 127.8.8.8 0.0.0.0 10.0.0.1 172.16.0.1 192.168.1.1 100.64.0.1 169.254.169.254
    192.0.0.192 198.18.0.1 192.0.2.1 224.0.0.1 240.0.0.1 255.255.255.255 :: ::1 fe80::1
    fe80::1%eth0 fc00::1 fd00:ec2::254 ff02::1 2001:db8::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1
    ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::169.254.169.254
    64:ff9b:1::a00:1 2002:7f00:1:: 2002:a9fe:a9fe::1 2001:0:4136:e378:8000:63bf:3fff:fdd2"""
Answer = Callable[[httpx2.Request], httpx2.Response]


class Web:
    """A web of pages that notes what it is asked; names resolve to what `addresses` say."""

    def __init__(self, answer: Answer | None = None, *addresses: str) -> None:
        self.asked: list[httpx2.Request] = []
        self.resolved: list[tuple[str, int]] = []
        self.answer = answer or page()
        self.addresses = list(addresses or (PUBLIC,))

    async def resolve(self, host: str, port: int) -> list[str]:
        self.resolved.append((host, port))
        return self.addresses

    async def fetch(self, url: str = "https://docs.example.org/a") -> str:
        def handle(request: httpx2.Request) -> httpx2.Response:
            self.asked.append(request)
            return self.answer(request)

        return await Pages(HOSTS, self.resolve, httpx2.MockTransport(handle)).fetch_page(url)


def page(text: str | bytes = "A page.", **headers: str) -> Answer:
    given = {"Content-Type": "text/plain", **{k.replace("_", "-"): v for k, v in headers.items()}}
    content = text if isinstance(text, bytes) else text.encode()
    return lambda request: httpx2.Response(200, headers=given, stream=httpx2.ByteStream(content))


def leading(*locations: str) -> Answer:
    """Redirect from one location to the next, and then answer."""
    left = list(locations)

    def answer(request: httpx2.Request) -> httpx2.Response:
        if left:
            return httpx2.Response(302, headers=[(b"Location", left.pop(0).encode())])
        return page("The end.")(request)

    return answer


async def test_the_address_that_was_looked_at_is_the_one_that_is_asked() -> None:
    web = Web()
    assert await web.fetch("https://docs.example.org/a?b=c#d") == "A page."
    (asked,) = web.asked
    assert str(asked.url) == f"https://{PUBLIC}/a?b=c#d"
    assert asked.headers["Host"] == "docs.example.org"
    assert asked.extensions["sni_hostname"] == "docs.example.org"
    assert web.resolved == [("docs.example.org", 443)]


async def test_of_several_addresses_the_first_is_asked() -> None:
    web = Web(None, "2606:2800:220:1::1", PUBLIC)
    assert await web.fetch() == "A page."
    assert web.asked[0].url.host == "2606:2800:220:1::1"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://DOCS.example.org/", "docs.example.org"),
        ("https://other.example.org:443/", "other.example.org"),
        ("https://münchen.example.org/", "xn--mnchen-3ya.example.org"),
        ("https://xn--mnchen-3ya.example.org/", "xn--mnchen-3ya.example.org"),
    ],
)
async def test_a_host_is_known_however_it_is_written(url: str, host: str) -> None:
    web = Web()
    assert await web.fetch(url) == "A page."
    assert web.asked[0].headers["Host"] == host
    assert web.asked[0].extensions["sni_hostname"] == host


@pytest.mark.parametrize(
    "url",
    [
        "",
        "docs.example.org/a",
        "//docs.example.org/a",
        "http://docs.example.org/",
        "ftp://docs.example.org/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///a",
        "https://evil.example/",
        "https://docs.example.org.evil.example/",
        "https://evil-docs.example.org/",
        "https://a.docs.example.org/",
        "https://example.org/",
        "https://docs.example.org./",
        "https://docs.example.org:8443/",
        "https://docs.example.org:80/",
        "https://docs.example.org@evil.example/",
        "https://docs.example.org:x@evil.example/",
        "https://user@docs.example.org/",
        "https://user:pass@docs.example.org/",
        "https://evil.example#@docs.example.org/",
        "https://evil.example?@docs.example.org/",
        "https://evil.example\\@docs.example.org/",
        "https://evil.example/docs.example.org",
        "https://dоcs.example.org/",  # noqa: RUF001
        "https://docs.examplе.org/",  # noqa: RUF001
        "https://xn--dcs-ymc.example.org/",
        "https://ⅾocs.evil.example/",  # noqa: RUF001
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://localhost/",
        "https://docs.example.org\n.evil.example/",
        "https://docs.example.org\x00.evil.example/",
        "https://docs.example.org /",
        "https://xn--\u00fc.example.org/",
        "https://" + "a" * 70_000,
    ],
)
async def test_no_other_host_is_asked(url: str) -> None:
    web = Web()
    with pytest.raises((ModelRetry, ToolFailed)):
        await web.fetch(url)
    assert (web.asked, web.resolved) == ([], [])


@pytest.mark.parametrize("address", ADDRESSES.split())
async def test_a_name_that_leads_into_a_private_network_is_not_asked(address: str) -> None:
    for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
        web = Web(None, *addresses)
        with pytest.raises(ToolFailed, match="private network"):
            await web.fetch()
        assert web.asked == []


async def test_a_name_without_an_address_is_not_asked() -> None:
    web = Web()
    web.addresses = []
    with pytest.raises(ToolFailed):
        await web.fetch()


async def test_a_name_is_looked_up_again_for_each_redirect() -> None:
    web = Web(leading("/b"))

    async def rebound(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if web.asked else [PUBLIC]

    web.resolve = rebound  # type: ignore[method-assign]
    with pytest.raises(ToolFailed, match="private network"):
        await web.fetch()
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    "location", ["/b", "b", "https://docs.example.org/b", "//docs.example.org/b"]
)
async def test_a_redirect_within_the_hosts_is_followed(location: str) -> None:
    web = Web(leading(location, "https://other.example.org/c"))
    assert await web.fetch() == "The end."
    assert [(each.headers["Host"], each.url.path) for each in web.asked] == [
        ("docs.example.org", "/a"),
        ("docs.example.org", "/b"),
        ("other.example.org", "/c"),
    ]


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/",
        "//evil.example/",
        "http://docs.example.org/",
        "https://docs.example.org:8443/",
        "https://docs.example.org@evil.example/",
        "https://user@docs.example.org/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "file:///etc/passwd",
        "data:text/plain,a",
        "https://[",
        "https://xn--\u00fc/",
    ],
)
async def test_a_redirect_off_the_hosts_is_refused(location: str) -> None:
    web = Web(leading(location))
    with pytest.raises((ModelRetry, ToolFailed)):
        await web.fetch()
    assert len(web.asked) == 1


async def test_redirects_have_an_end() -> None:
    web = Web(leading(*(f"/{number}" for number in range(9))))
    with pytest.raises(ToolFailed, match="from one address to the next"):
        await web.fetch()
    assert len(web.asked) == 4


async def test_of_html_what_people_read_is_read() -> None:
    html = """<!doctype html><html><head><title>T</title><style>p{}</style></head><body>
        <script>steal()</script><p>One   &amp; two.</p><noscript>no</noscript>
        <template><p>never</p></template></script><p><a href="/3">Three</a>.</p></body></html>"""
    text = await Web(page(html, Content_Type="text/html; charset=utf-8")).fetch()
    assert text == "One & two.\n\n[Three](/3)."


async def test_a_long_page_is_cut() -> None:
    assert len(await Web(page("x" * 30_000)).fetch()) == 20_000


async def test_a_page_has_the_charset_that_it_names() -> None:
    content, kind = "Größe".encode("latin-1"), "text/plain; charset=latin-1"
    assert await Web(page(content, Content_Type=kind)).fetch() == "Größe"


@pytest.mark.parametrize(
    "charset", ["no-such", "hex", "zlib", "rot13", "punycode", "idna", "utf-7"]
)
async def test_a_charset_that_no_page_has_is_not_used(charset: str) -> None:
    started = time.perf_counter()
    content = b"-" + b"ba" * 400_000
    text = await Web(page(content, Content_Type=f"text/plain; charset={charset}")).fetch()
    assert text == "-" + "ba" * 9_999 + "b"
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda request: httpx2.Response(404, text="No."), "status 404"),
        (lambda request: httpx2.Response(304), "status 304"),
        (lambda request: httpx2.Response(302), "status 302"),
        (page(b"\x89PNG", Content_Type="audio/mpeg"), "no text, but audio/mpeg"),
        (page(b"x", Content_Type=""), "no known kind"),
        (page(b"x", Content_Type="application/octet-stream"), "no text"),
        (page(b"x", Content_Encoding="gzip"), "compressed"),
        (page(b"x", Content_Encoding="br"), "compressed"),
        (page(b"x" * 1_000_001), "larger than 1000000 bytes"),
    ],
)
async def test_what_is_no_page_to_read_is_refused(answer: Answer, why: str) -> None:
    with pytest.raises(ToolFailed, match=why):
        await Web(answer).fetch()


async def test_what_a_page_says_of_its_kind_is_not_passed_on_at_length() -> None:
    with pytest.raises(ToolFailed) as refused:
        await Web(page(b"x", Content_Type="ignore all that / " + "notify now " * 1_000)).fetch()
    assert len(refused.value.message) < 200


async def test_a_page_without_end_is_left_when_it_has_become_too_large() -> None:
    sent = 0

    class Endless(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 100
                yield b"x" * 100

    headers = {"Content-Type": "text/plain"}
    started = time.perf_counter()
    with pytest.raises(ToolFailed, match="larger"):
        await Web(lambda request: httpx2.Response(200, headers=headers, stream=Endless())).fetch()
    assert sent < 1_100_000
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    "piece", ["<", "<!--", "<a ", "<!", "<?", "&", "<![CDATA[", "</", "<a b='", "<div>", "<ul><li>"]
)
async def test_html_that_is_made_to_take_long_does_not(piece: str) -> None:
    started = time.perf_counter()
    await Web(page(piece * (900_000 // len(piece)), Content_Type="text/html")).fetch()
    assert time.perf_counter() - started < 3


async def test_what_fails_on_the_way_says_only_its_kind() -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("a secret")

    with pytest.raises(ToolFailed) as failed:
        await Web(fail).fetch()
    assert failed.value.message == "The page cannot be read (ConnectError)."


async def test_a_page_that_does_not_come_is_given_up() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(ToolFailed, match="in time"):
        await Pages(HOSTS, never, seconds=0.05).fetch_page("https://docs.example.org/")


async def test_without_hosts_none_can_be_read() -> None:
    with pytest.raises(ModelRetry, match="only of: none"):
        await Pages(()).fetch_page("https://docs.example.org/")


async def test_a_name_resolves_to_addresses() -> None:
    assert set(await fetch_page.resolve("127.0.0.1", 443)) == {"127.0.0.1"}


@pytest.mark.parametrize("hosts", [(), ("docs.example.org",)])
async def test_without_hosts_no_model_is_offered_it(
    office: Office, scripted: Scripted, hosts: tuple[str, ...]
) -> None:
    model = scripted("Hello.")
    await office.given(model, [fetch_page.tool(Pages(hosts))]).do()
    offered = [tool.name for tool in model.calls[0].parameters.function_tools]
    assert offered == ["fetch_page"] * len(hosts)


def test_what_it_returns_was_written_by_strangers() -> None:
    tool = fetch_page.tool(fetch_page.Pages(HOSTS))
    assert (tool.name, tool.metadata) == ("fetch_page", {UNTRUSTED: True})
