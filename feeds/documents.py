"""Sources that are documents: a file, a folder of files, or one URL, read only when they changed."""

from functools import partial
from hashlib import sha256
from pathlib import Path

from feeds.adapter import Cursor, Fetched, Part
from feeds.catalogue import Source
from feeds.faults import FeedFault
from feeds.fetch import fetch, local_path, read_local, validators


async def documents(source: Source, cursor: Cursor, suffixes: tuple[str, ...]) -> Fetched | None:
    """The source's documents; None when the server, or the files' sizes and times, say that nothing changed.

    Of a folder, files with one of the suffixes are taken, at any depth, in the order of their names. Raises FeedFault.
    """
    path = local_path(source.location)
    if path is not None:
        return _local(path, source, cursor, suffixes)
    found = await fetch(source.location, caps=source.caps, reach=source.reach, **validators(cursor, source.location))
    if found is None:
        return None
    if "html" in found.content_type:
        raise FeedFault(
            "feed-form",
            "The source answered with a web page instead of data.",
            "La fuente respondió con una página web en lugar de datos.",
        )
    kept = {"location": source.location, "etag": found.etag, "last_modified": found.last_modified}
    return Fetched(found.url, (Part(source.location.rpartition("/")[2], lambda: found.body),), kept)


def _local(path: Path, source: Source, cursor: Cursor, suffixes: tuple[str, ...]) -> Fetched | None:
    try:
        files = [path]
        if path.is_dir():
            files = sorted(one for one in path.rglob("*") if one.name.endswith(suffixes) and one.is_file())
        marks = [f"{one} {one.stat().st_size} {one.stat().st_mtime_ns}" for one in files]
    except OSError as error:
        raise FeedFault(
            "feed-unreachable", f"{path} cannot be read: {error.strerror}.", f"No se puede leer {path}."
        ) from None
    mark = sha256("\n".join(marks).encode()).hexdigest()
    if cursor.get("mark") == mark:
        return None
    parts = tuple(Part(one.name, partial(read_local, one, source.size_limit_bytes)) for one in files)
    return Fetched(path.absolute().as_uri(), parts, {"mark": mark})
