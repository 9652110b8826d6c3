"""Archives (.zip) in which sources ship their documents. Only plain ones are opened: what hides something is refused, by name."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from feeds.adapter import Part
from feeds.faults import FeedFault
from feeds.spool import Spool

MAGIC = b"PK\x03\x04"
MEMBERS_AT_MOST = 50
DIRECTORY_BYTES_AT_MOST = 1 << 20
"""Of the list of members, which is read at once: enough for thousands, and no more memory than that."""

_PIECE_BYTES = 1 << 18
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_PACKED = (".zip", ".gz", ".xz", ".bz2", ".zst", ".7z", ".rar", ".tar", ".tgz", ".jar", ".cab")
_PACKED_MAGIC = (MAGIC, b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!")
_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, NotImplementedError, OverflowError,
    RuntimeError,
)  # fmt: skip


def documents_in(archive: BinaryIO, name: str, suffixes: tuple[str, ...], member: str, limit: int) -> tuple[Part, ...]:
    """The documents of an archive, unpacked: the one called `member`, else those with one of the suffixes, else the only
    one. Raises FeedFault for what is no archive, hides something, or unpacks to more than `limit` bytes in all."""
    parts, left = [], limit
    try:
        with zipfile.ZipFile(_Sparing(archive)) as opened:
            for info in _chosen(opened, name, suffixes, member):
                spool = Spool()
                for piece in _pieces(opened, info):
                    left -= len(piece)
                    if left < 0:
                        raise _refused(name, f"it unpacks to more than the {limit} bytes it is allowed", f"se descomprime en más de los {limit} bytes permitidos")  # fmt: skip
                    if not spool.size and piece.startswith(_PACKED_MAGIC):
                        raise _refused(name, f"{_shown(info)} is an archive itself", f"{_shown(info)} es a su vez un archivo comprimido")  # fmt: skip
                    spool.write(piece)
                parts.append(Part(f"{name}/{info.filename}", spool.open))
    except FeedFault:
        raise
    except _BROKEN:
        raise _refused(name, "it is broken", "está dañado") from None
    return tuple(parts)


def _chosen(opened: zipfile.ZipFile, name: str, suffixes: tuple[str, ...], member: str) -> list[zipfile.ZipInfo]:
    found = [one for one in opened.infolist() if not one.is_dir()]
    if len(found) > MEMBERS_AT_MOST:
        raise _refused(name, f"it has {len(found)} files, more than {MEMBERS_AT_MOST}", f"tiene {len(found)} archivos, más de {MEMBERS_AT_MOST}")  # fmt: skip
    for info in found:
        for wrong, en, es in _doubts(info):
            if wrong:
                raise _refused(name, f"{_shown(info)} {en}", f"{_shown(info)} {es}")
    if len({one.filename for one in found}) != len(found):
        raise _refused(name, "two files have one name", "dos archivos tienen el mismo nombre")
    if member:
        chosen = [one for one in found if one.filename == member]
    else:
        chosen = [one for one in found if one.filename.lower().endswith(suffixes)] or found[: len(found) == 1]
    if not chosen:
        raise _refused(name, f"no file in it is {member or 'one of ' + ', '.join(suffixes)}", f"ningún archivo es {member or 'uno de ' + ', '.join(suffixes)}")  # fmt: skip
    return sorted(chosen, key=lambda one: one.filename)


def _doubts(info: zipfile.ZipInfo) -> Iterator[tuple[bool, str, str]]:
    path, mode = info.orig_filename, info.external_attr >> 16
    # Nothing is written under these names, but what names a place outside was not made by an honest packer.
    outside = path.startswith("/") or ".." in path.split("/") or "\\" in path or ":" in path or not path.isprintable()
    yield outside, "names a place outside the archive", "nombra un lugar fuera del archivo"
    yield stat.S_ISLNK(mode), "is a link", "es un enlace"
    yield bool(info.flag_bits & _ENCRYPTED), "is encrypted", "está cifrado"
    yield info.compress_type not in _PLAIN, "is packed in an unusual way", "está comprimido de un modo inusual"
    yield path.lower().endswith(_PACKED), "is an archive itself", "es a su vez un archivo comprimido"


def _pieces(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """As they come out, whatever the archive says of their number; their checksum is looked at behind the last."""
    with opened.open(info) as stream:
        while piece := stream.read(_PIECE_BYTES):
            yield piece


class _Sparing:
    """What zipfile needs of a file, which asks for the whole list of its members at once."""

    def __init__(self, archive: BinaryIO) -> None:
        self.seek, self.tell, self._read = archive.seek, archive.tell, archive.read

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > DIRECTORY_BYTES_AT_MOST:
            raise zipfile.BadZipFile("the list of members is too long")
        return self._read(size)


def _shown(info: zipfile.ZipInfo) -> str:
    return repr(info.orig_filename[:80])


def _refused(name: str, en: str, es: str) -> FeedFault:
    return FeedFault("feed-archive", f"{name} is not opened: {en}.", f"No se abre {name}: {es}.")
