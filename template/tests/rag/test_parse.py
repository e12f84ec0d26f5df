"""Documents as they are uploaded. What hangs or crashes is built in: `eval` takes bytes, too."""

import os
import select
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from app.rag.parse import MEDIA_TYPES, UnreadableDocument, media_type_of, parse, read_apart

pytestmark = pytest.mark.anyio

HANG = b"any(iter(int, 1))"


def pdf(*texts: str, trailer: str = "", content: bytes | None = None) -> bytes:
    """Write a PDF with a page for each text; readers find its objects without a table of them."""
    font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    kids = " ".join(f"{number} 0 R" for number in range(3, 3 + 2 * len(texts), 2))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(texts)}/MediaBox[0 0 600 800]>>".encode(),
    ]
    for text in texts:
        drawn = content or f"BT /F 12 Tf 72 700 Td ({text}) Tj ET".encode("cp1252")
        resources = f"<</Font<</F {font}>>>>"
        page = f"<</Type/Page/Parent 2 0 R/Resources{resources}/Contents {len(objects) + 2} 0 R>>"
        stream = b"<</Length %d>>\nstream\n%b\nendstream" % (len(drawn), drawn)
        objects += [page.encode(), stream]
    body = b"".join(b"%d 0 obj\n%b\nendobj\n" % pair for pair in enumerate(objects, 1))
    return b"%%PDF-1.7\n%btrailer\n<</Root 1 0 R%b>>\n%%%%EOF\n" % (body, trailer.encode())


KEYS = f"/V 2/R 3/Length 128/P -4/O<{'1f' * 32}>/U<{'2e' * 32}>"
ENCRYPTED = f"/ID[<00><00>]/Encrypt<</Filter/Standard{KEYS}>>"


@pytest.mark.parametrize("name", ["a.pdf", "A.PDF", "folder.txt/a.b.pdf"])
def test_the_suffix_says_the_media_type(name: str) -> None:
    assert media_type_of(name, "text/html") == "application/pdf"


def test_without_a_known_suffix_the_declared_type_counts() -> None:
    assert media_type_of("page", "Text/HTML; charset=latin-1") == "text/html"


@pytest.mark.parametrize("declared", [None, "", "image/png", "application/octet-stream"])
def test_another_type_is_refused_with_those_that_are_supported(declared: str | None) -> None:
    with pytest.raises(UnreadableDocument, match=r"'a\.docx' .* \.txt, \.md, .*\.pdf"):
        media_type_of("a.docx", declared)


@pytest.mark.parametrize("media_type", ["text/plain", "text/markdown"])
async def test_text_stays_as_it_is_but_for_its_line_ends(media_type: str) -> None:
    content = "\ufeff# Größe 東京 🦉\r\n\r\n\tone\rtwo  \n".encode()
    assert await parse(content, media_type) == "# Größe 東京 🦉\n\n\tone\ntwo  "


@pytest.mark.parametrize(
    "content", ["Größe".encode("latin-1"), "text".encode("utf-16"), "text".encode("utf-16-le")]
)
async def test_text_in_another_encoding_is_told_to_be_utf_8(content: bytes) -> None:
    with pytest.raises(UnreadableDocument, match="UTF-8"):
        await parse(content, "text/plain")


@pytest.mark.parametrize("media_type", sorted({*MEDIA_TYPES.values()} - {"application/pdf"}))
@pytest.mark.parametrize("content", [b"", b" \n\t\r\n", b"\xef\xbb\xbf\n"])
async def test_a_document_without_text_is_unreadable(content: bytes, media_type: str) -> None:
    with pytest.raises(UnreadableDocument, match="no text"):
        await parse(content, media_type)


async def test_html_becomes_markdown() -> None:
    content = b"""<h1>Owls</h1><p>They <b>fly</b>, see <a href="/x">x_y_z</a>.</p><h2>Food</h2>
    <ul><li>mice</li><li>voles</li></ul><pre># no heading</pre>"""
    assert await parse(content, "text/html") == textwrap.dedent("""\
        # Owls

        They **fly**, see [x_y_z](/x).

        ## Food

        - mice
        - voles

        ```
        # no heading
        ```""")


async def test_what_a_reader_of_the_page_does_not_see_is_left_out() -> None:
    content = b"""<nav>a<nav>b</nav></nav><script>c</script><style>d</style><!-- e -->
    <noscript>f</noscript><template>g</template><p>text<img alt="an owl" src="data:h"></p>"""
    assert await parse(content, "text/html") == "text"


@pytest.mark.parametrize(
    "content",
    [
        "<meta charset=iso-8859-1><p>Größe".encode("latin-1"),
        "<p>Größe".encode(),
        "<p>Größe".encode("utf-16"),
        "<p>Gr\0öße".encode(),
    ],
)
async def test_html_is_decoded_as_it_says(content: bytes) -> None:
    assert await parse(content, "text/html") == "Größe"


@pytest.mark.parametrize(
    "content",
    [b"<div>" * 50_000 + b"x", b"<![no such thing", b"<!--" * 100_000],
    ids=["deep", "broken", "comments"],
)
async def test_html_in_which_nothing_can_be_seen_is_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableDocument, match="no text"):
        await parse(content, "text/html")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"<ol start=" + b"9" * 5_000 + b"><li>x", "x"),
        (b"<table>" * 5_000 + b"x", "x"),
        (b"<a " + b"x=1 " * 200_000 + b">x</a>", "x"),
    ],
    ids=["number", "tables", "attributes"],
)
async def test_hostile_html_is_read_as_far_as_that_goes(content: bytes, text: str) -> None:
    assert text in await parse(content, "text/html")


async def test_html_that_is_huge_is_read() -> None:
    text = await parse(b"<p>A line of <b>text</b>.</p>" * 10_000, "text/html")
    assert text.count("A line of **text**.") == 10_000


async def test_the_pages_of_a_pdf_are_paragraphs() -> None:
    assert await parse(pdf("Größe", "Page two"), "application/pdf") == "Größe\n\nPage two"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "broken"),
        (b"%PDF-1.7\n" + bytes(range(256)), "broken"),
        (pdf("text")[:150], "broken"),
        (pdf("text").replace(b"[3 0 R]", b"[2 0 R]"), "broken"),
        (pdf("text", trailer=ENCRYPTED), "encrypted: remove its password"),
        (pdf(""), "scanned"),
        (pdf("text", content=b"[" * 100_000), "scanned"),
    ],
)
async def test_a_pdf_without_text_to_read_says_why(content: bytes, message: str) -> None:
    with pytest.raises(UnreadableDocument, match=message):
        await parse(content, "application/pdf")


async def test_a_parser_that_hangs_is_ended_and_the_next_document_is_read() -> None:
    assert await read_apart(eval, b"'warm'") == "warm"
    with pytest.raises(UnreadableDocument, match="longer than 1 seconds"):
        await read_apart(eval, HANG, seconds=1)
    assert await read_apart(eval, b"'text'") == "text"


@pytest.mark.parametrize("crash", [b"__import__('os')._exit(1)", b"__import__('os').abort()"])
async def test_a_parser_that_crashes_is_an_unreadable_document(crash: bytes) -> None:
    with pytest.raises(UnreadableDocument, match="damaged"):
        await read_apart(eval, crash)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits memory")
async def test_a_parser_gets_no_more_than_its_memory() -> None:
    with pytest.raises(UnreadableDocument, match="more than 64 MB"):
        await read_apart(eval, b"str(len(bytes(100_000_000)))", megabytes=64)
    assert await read_apart(eval, b"str(len(bytes(100_000_000)))") == "100000000"


async def test_what_a_parser_raises_comes_across() -> None:
    with pytest.raises(ZeroDivisionError):
        await read_apart(eval, b"1 / 0")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the process at once")
def test_no_process_outlives_a_service_that_was_killed(tmp_path: Path) -> None:
    """The process holds the one end of a pipe, whose other end learns when it is gone."""
    os.mkfifo(fifo := tmp_path / "fifo")
    pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    work = f"[pipe := open({str(fifo)!r}, 'wb', 0), pipe.write(b'!'), any(iter(int, 1))]"
    code = "import anyio; from app.rag.parse import read_apart; anyio.run(read_apart, eval, "
    with subprocess.Popen([sys.executable, "-c", f"{code}{work.encode()!r})"]) as service:  # noqa: S603
        assert select.select([pipe], [], [], 30)[0]
        assert os.read(pipe, 9) == b"!"
        service.kill()
        assert select.select([pipe], [], [], 30)[0]
        assert os.read(pipe, 9) == b""
    os.close(pipe)


def test_importing_loads_no_parser() -> None:
    code = "import sys, app.rag.parse; print({'bs4', 'markdownify', 'pypdfium2'} & {*sys.modules})"
    loaded = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "set()\n"
