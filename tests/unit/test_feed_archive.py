"""Archives that sources ship their documents in: plain ones are read, and what hides something is refused by its name."""

import io
import stat
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.adapter import Part
from feeds.archive import documents_in
from feeds.catalogue import Source, packaged
from feeds.documents import documents
from feeds.faults import FeedFault
from tests.fake_hub import serving

LIST = b"192.0.2.1\n192.0.2.2\n"


def packed(files: Mapping[str | zipfile.ZipInfo, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as writing:
        for name, data in files.items():
            writing.writestr(name, data)
    return made.getvalue()


def opened(data: bytes, *, member: str = "", limit: int = 1_000_000) -> tuple[Part, ...]:
    return documents_in(io.BytesIO(data), "feed.zip", (".txt", ".csv"), member, limit)


def why(data: bytes, **more: Any) -> str:
    with pytest.raises(FeedFault) as refused:
        opened(data, **more)
    assert refused.value.code == "feed-archive"
    assert refused.value.text.es
    return refused.value.text.en


def test_what_the_adapter_reads_is_taken_in_the_order_of_names() -> None:
    both = opened(packed({"b.csv": b"2", "a/a.txt": b"1", "a/": b"", "logo.png": b"x"}))
    assert [(one.name, one.read()) for one in both] == [("feed.zip/a/a.txt", b"1"), ("feed.zip/b.csv", b"2")]
    assert [one.name for one in opened(packed({"b.csv": b"2", "a.txt": b"1"}), member="b.csv")] == ["feed.zip/b.csv"]
    assert opened(packed({"full": LIST}, zipfile.ZIP_STORED))[0].read() == LIST


def _named(name: str, **more: Any) -> bytes:
    info = zipfile.ZipInfo("harmless.txt")
    for key, value in more.items():
        setattr(info, key, value)
    data = packed({info: LIST})
    return data.replace(b"harmless.txt", name.encode().ljust(12, b"x"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_named("../../x.txt"), "'../../x.txtx' names a place outside"),
        (_named("/etc/passwd"), "names a place outside"),
        (_named("..\\x.txt"), "names a place outside"),
        (_named("C:/x.txt"), "names a place outside"),
        (_named("a.txt\0/../.."), "names a place outside"),
        (_named("a\x1b[2J.txt"), "names a place outside"),
        (_named("link.txt", external_attr=(stat.S_IFLNK | 0o777) << 16), "'link.txtxxxx' is a link"),
        (packed({"a.txt": LIST}, zipfile.ZIP_LZMA), "'a.txt' is packed in an unusual way"),
        (packed({"more.zip": packed({"a.txt": LIST})}), "'more.zip' is an archive itself"),
        (packed({"a.txt": packed({"a.txt": LIST})}), "'a.txt' is an archive itself"),
        (packed({"a.csv": b"\x1f\x8b\x08"}), "'a.csv' is an archive itself"),
        (packed({f"{n}.txt": b"" for n in range(51)}), "51 files"),
        (packed({"a.png": b"", "b.png": b""}), "no file in it is one of .txt, .csv"),
        (packed({}), "no file in it"),
        (packed({"a.txt": LIST})[:-10], "broken"),
        (packed({"a.txt": LIST}, zipfile.ZIP_STORED).replace(LIST, LIST[::-1]), "broken"),
    ],
)
def test_what_hides_something_is_refused_and_named(data: bytes, said: str) -> None:
    assert said in why(data)


def test_an_encrypted_file_is_named() -> None:
    data = bytearray(packed({"a.txt": LIST}))
    data[6] |= 1  # the flags of its header, and of its entry in the list of members
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert "'a.txt' is encrypted" in why(bytes(data))


def test_two_files_of_one_name_are_two_answers() -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        data = packed({zipfile.ZipInfo("a.txt"): b"1", "a.txt": b"2"})
    assert "two files have one name" in why(data)


def test_a_bomb_ends_at_the_limit_whatever_it_says_of_its_size() -> None:
    big = packed({"a.txt": b"0" * 50_000_000})
    tracemalloc.start()
    assert "1000000 bytes" in why(big)
    assert "1000000 bytes" in why(packed({f"{n}.txt": b"0" * 900_000 for n in range(2)}))
    lying = bytearray(big)
    at = lying.index(b"PK\x01\x02") + 24
    lying[at : at + 4] = (10).to_bytes(4, "little")  # what comes out beyond this is not looked at by the library
    assert "broken" in why(bytes(lying))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3_000_000


def test_a_list_of_members_without_end_is_not_read() -> None:
    assert "broken" in why(packed({f"{'x' * 200}{n}.txt": b"" for n in range(5_000)}))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_documents_or_a_fault(data: st.DataObject) -> None:
    whole = bytearray(packed({"a.txt": LIST, "b.csv": LIST * 20}))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        parts = opened(bytes(whole[data.draw(st.integers(0, 3)) :]))
    except FeedFault as fault:
        assert fault.code == "feed-archive"
    else:
        assert all(one.read() in (LIST, LIST * 20) for one in parts)


# --- as sources ---


def source(location: str, **more: Any) -> Source:
    return packaged()["ipsum"].model_copy(update={"location": location, "plain_http": True, "loopback": True, **more})


async def test_an_archive_is_known_by_how_it_begins_and_not_read_again_unchanged() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            body=packed({"full.csv": LIST, "README.txt": b"x"}), content_type="application/octet-stream"
        )

    async with serving(answer) as url:
        asked = source(f"{url}/export/csv/full/", member="full.csv")
        fetched = await documents(asked, {}, (".txt", ".csv"))
        assert fetched is not None
        [part] = fetched.parts
        assert part.read() == LIST
        assert await documents(asked, fetched.cursor, (".txt", ".csv")) is None


async def test_archives_in_a_folder_are_opened_among_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(packed({"one.txt": b"1"}))
    (tmp_path / "b.txt").write_bytes(b"2")
    fetched = await documents(source(str(tmp_path)), {}, (".txt",))
    assert fetched is not None
    assert [(one.name, one.read()) for one in fetched.parts] == [("a.zip/one.txt", b"1"), ("b.txt", b"2")]
