"""Files from the web, each checked by the SHA-256 that it was asked for with."""

import os
import urllib.request
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urldefrag, urlsplit

from roadcast.errors import UserError
from roadcast.files import sha256, write_file

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roadcast"
TIMEOUT = 60  # s without a byte
PIECE = 1 << 20


def local(where: str | Path) -> Path:
    """The file at a path, or at `https://...#sha256=HEX`, which is fetched once and kept in the user's cache.

    Raises `UserError` for a URL without its SHA-256, one that cannot be fetched, or a file that has another.
    """
    if urlsplit(str(where)).scheme not in ("http", "https", "file"):
        return Path(where)
    url, _, digest = str(where).partition("#sha256=")
    if len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef"):
        raise UserError(f"{urldefrag(url).url}: say which file it is, by its SHA-256: {urldefrag(url).url}#sha256=...")
    kept = CACHE / digest.lower() / Path(urlsplit(url).path).name
    if not kept.exists():
        write_file(kept, lambda beside: fetch(url, beside, digest.lower()))
    return kept


def fetch(url: str, to: Path, digest: str) -> None:
    """Write what is at `url` to a file; `UserError` where it cannot be had, or its SHA-256 is not `digest`."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as source, open(to, "wb") as file:
            while piece := source.read(PIECE):
                file.write(piece)
    except (URLError, TimeoutError, ValueError) as error:
        raise UserError(f"{url}: cannot be fetched ({error}); fetch it by hand, and give its path") from None
    if (found := sha256(to)) != digest:
        raise UserError(f"{url}: its SHA-256 is {found} and {digest} was asked for; nothing was kept")
