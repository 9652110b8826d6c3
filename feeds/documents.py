"""Sources that are documents: a file, a folder of files, or one URL, read only when they changed; each may be an archive."""

import asyncio
from email.utils import parsedate_to_datetime
from functools import partial
from hashlib import file_digest, sha256
from pathlib import Path

from feeds.adapter import AGAIN, Cursor, Fetched, Part
from feeds.archive import MAGIC, documents_in
from feeds.catalogue import Source
from feeds.faults import FeedFault
from feeds.fetch import USER_AGENT, Downloaded, fetch, local_path, open_local, validators


async def documents(source: Source, cursor: Cursor, suffixes: tuple[str, ...]) -> Fetched | None:
    """The source's documents; None when the server, their content, or the files' sizes and times, say that nothing changed.

    Of a folder, files with one of the suffixes are taken, at any depth, in the order of their names; of an archive (.zip)
    likewise, or the `member` that the source names. Raises FeedFault.
    """
    path = local_path(source.location)
    if path is not None:
        return await asyncio.to_thread(_local, path, source, cursor, suffixes)
    again = AGAIN in cursor
    found = await download(source, source.location, {} if again else validators(cursor, source.location))
    if found is None:
        return None
    known = cursor if cursor.get("location") == source.location else {}
    if _time(found.last_modified) < _time(known.get("last_modified", "")):
        raise stale(found.last_modified)
    kept = {**kept_of(found, source.location), "sha256": found.body.sha256}
    if known.get("sha256") == kept["sha256"] and not again:
        return None
    part = Part(source.location.rpartition("/")[2], found.body.open)
    return Fetched(found.url, await asyncio.to_thread(_opened, part, source, suffixes), kept)


async def download(
    source: Source, address: str, conditions: dict[str, str] | None = None, *, body: bytes = b""
) -> Downloaded | None:
    """One URL of a source, under its limits and with its key; None when it has not changed. With a JSON `body`, it is
    posted there. Raises FeedFault."""
    found = await fetch(
        address,
        caps=source.caps,
        reach=source.reach,
        credential=source.credential(),
        ca_file=source.ca_file,
        user_agent=source.user_agent or USER_AGENT,
        body=body,
        **(conditions or {}),
    )
    if found is not None and _is_page(found):
        raise FeedFault(
            "feed-form",
            "The source answered with a web page instead of data.",
            "La fuente respondió con una página web en lugar de datos.",
        )
    return found


def kept_of(found: Downloaded, address: str) -> dict[str, str]:
    """For the cursor: by what to ask for this document again only if it changed."""
    return {"location": address, "etag": found.etag, "last_modified": found.last_modified}


def stale(edition: str) -> FeedFault:
    return FeedFault(
        "feed-stale",
        f"The source gives an older edition than last time: {edition[:40]}.",
        f"La fuente da una edición anterior a la última: {edition[:40]}.",
    )


def _is_page(found: Downloaded) -> bool:
    if "html" in found.content_type:
        return True
    with found.body.open() as stream:
        start = stream.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _time(text: str) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError):
        return 0.0


def _local(path: Path, source: Source, cursor: Cursor, suffixes: tuple[str, ...]) -> Fetched | None:
    try:
        files = [path]
        if path.is_dir():
            taken = (*suffixes, ".zip")
            files = sorted(one for one in path.rglob("*") if one.name.endswith(taken) and one.is_file())
        marks = [f"{one} {one.stat().st_size} {one.stat().st_mtime_ns}" for one in files]
        mark = sha256("\n".join(marks).encode()).hexdigest()
        if cursor.get("mark") == mark and AGAIN not in cursor:
            return None
        digest = _digest(files)  # whoever writes a file anew each hour need not have anything new to say
    except OSError as error:
        raise FeedFault(
            "feed-unreachable", f"{path} cannot be read: {error.strerror}.", f"No se puede leer {path}."
        ) from None
    if cursor.get("sha256") == digest and "mark" in cursor and AGAIN not in cursor:
        return None
    parts = [Part(one.name, partial(open_local, one, source.size_limit_bytes)) for one in files]
    opened = [_opened(part, source, suffixes) if part.name.endswith(".zip") else (part,) for part in parts]
    return Fetched(
        path.absolute().as_uri(), tuple(one for some in opened for one in some), {"mark": mark, "sha256": digest}
    )


def _digest(files: list[Path]) -> str:
    """Of one file its SHA-256, of several that of their names and digests."""
    digests = []
    for one in files:
        with one.open("rb") as stream:
            digests.append(file_digest(stream, "sha256").hexdigest())
    told = "\n".join(f"{digest}  {one}" for digest, one in zip(digests, files, strict=True))
    return digests[0] if len(digests) == 1 else sha256(told.encode()).hexdigest()


def _opened(part: Part, source: Source, suffixes: tuple[str, ...]) -> tuple[Part, ...]:
    """The document; of an archive, those in it. Archives are known by how they begin: their URLs often do not say so."""
    with part.open() as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            return (part,)
        stream.seek(0)
        return documents_in(stream, part.name, suffixes, source.member, source.size_limit_bytes)
