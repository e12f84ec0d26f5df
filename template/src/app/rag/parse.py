"""Turn an uploaded document into text, Markdown where it has structure.

HTML and PDF come from strangers: a parser may take for ever, take all memory, or crash. So each is
read in a process of its own, which has limits and can be killed. PDFium reads PDFs, as in Chrome:
it is fast, and knows ligatures, hyphens and CJK fonts. Nothing is read from pictures.
"""

import ctypes
import re
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Final

import anyio
from anyio import to_process

MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".pdf": "application/pdf",
}
# Where a page says how it is encoded; the standard wants it at the very beginning.
_CHARSET: Final = re.compile(rb"""<meta[^>]+charset=["']?([\w-]+)""", re.IGNORECASE)
# Control characters, halves of characters, which Postgres does not store, and what PDFium puts in
# place of a hyphen and the end of its line.
_NO_TEXT: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\ud800-\udfff\ufffe\uffff]")


class UnreadableDocument(ValueError):
    """The document has no text that can be read; the message says why and what to do."""


def media_type_of(name: str, declared: str | None) -> str:
    """Return the media type that the suffix of `name` stands for, else the declared one."""
    found = MEDIA_TYPES.get(PurePath(name).suffix.lower())
    found = found or (declared or "").partition(";")[0].strip().lower()
    if found not in MEDIA_TYPES.values():
        supported = ", ".join(MEDIA_TYPES)
        raise UnreadableDocument(f"{name!r} is of no supported type: upload one of {supported}.")
    return found


async def parse(content: bytes, media_type: str) -> str:
    """Return the text with `\\n` as line end, never blank, or raise `UnreadableDocument`."""
    match media_type:
        case "application/pdf":
            text = await read_apart(_pdf, content)
        case "text/html":
            text = await read_apart(_html, content)
        case _:
            text = _plain(content)
    text = _NO_TEXT.sub("", "\n".join(text.splitlines()))
    if not text.strip():
        hint = "it may be scanned: run text recognition (OCR) on it" if "pdf" in media_type else ""
        raise UnreadableDocument(f"The document has no text; {hint or 'upload one that has'}.")
    return text


async def read_apart(
    read: Callable[[bytes], str], content: bytes, *, seconds: int = 60, megabytes: int = 1024
) -> str:
    """Return `read(content)`, run in another process within these limits."""
    # To wait for a process is not part of the time limit, so the place in the queue is taken here.
    async with to_process.current_default_process_limiter():
        own = anyio.CapacityLimiter(1)
        try:
            with anyio.fail_after(seconds):
                return await to_process.run_sync(
                    _limited, read, content, megabytes << 20, cancellable=True, limiter=own
                )
        except TimeoutError:
            why = f"takes longer than {seconds} seconds to read"
        except (anyio.BrokenWorkerProcess, MemoryError):
            why = f"takes more than {megabytes} MB of memory to read, or is damaged"
        raise UnreadableDocument(f"The document {why}: upload a smaller or simpler one.")


def _limited(read: Callable[[bytes], str], content: bytes, size: int) -> str:
    if sys.platform != "linux":
        return read(content)
    import resource

    # It ends with the service, also while it is busy: 1 is PR_SET_PDEATHSIG.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + size, before[1]))
    try:
        return read(content)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _plain(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    # Text in UTF-16 may pass as UTF-8, but for these; the database cannot store them.
    if "\0" in text:
        raise UnreadableDocument("The document is no text in UTF-8: save it with that encoding.")
    return text


def _html(content: bytes) -> str:
    from html_to_markdown import ConversionError, ConversionOptions, convert

    declared = _CHARSET.search(content[:1024])
    encoding = declared[1].decode() if declared else "utf-8-sig"
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    try:
        html = content.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        html = content.decode("cp1252", errors="replace")
    try:
        options = ConversionOptions(extract_metadata=False, skip_images=True)
        return str(convert(html, options).content or "")
    except ConversionError:
        why = "The HTML is broken: save the page again, or upload its text."
        raise UnreadableDocument(why) from None


def _pdf(content: bytes) -> str:
    import pypdfium2

    try:
        with pypdfium2.PdfDocument(content) as pdf:
            pages = [page.get_textpage().get_text_range().strip() for page in pdf]
    except pypdfium2.PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            why = "is encrypted: remove its password and upload it again."
        else:
            why = "is broken: save it again with another program, then upload it."
        raise UnreadableDocument(f"The PDF {why}") from None
    return "\n\n".join(filter(None, pages))
