"""Receipts and item proofs: they verify without a server, and nothing altered does."""

import json
from base64 import b64encode
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.ledger import merkle
from exchange.ledger.merkle import leaf_hash
from exchange.ledger.note import Checkpoint, LogKey, Policy, WitnessKey, note_text, split_note
from exchange.ledger.receipt import ItemProof, Receipt, ReceiptFault
from exchange.model.stix import item_hash

ORIGIN = "puente.hub.example/audit/both"
LOG = LogKey(ORIGIN, bytes(range(32)))
US, MX = (WitnessKey(f"witness.example/{name}", bytes([n] * 32)) for n, name in enumerate(("us", "mx"), 1))
NOW = 1_795_000_000
POLICY = Policy.parse(
    f"log {LOG.vkey}\nwitness us {US.vkey}\nwitness mx {MX.vkey}\ngroup BOTH all us mx\nquorum BOTH\n"
)
ENTRIES = [b'{"n":%d}' % n for n in range(11)]
HASHES = [leaf_hash(entry) for entry in ENTRIES]


def cosigned(size: int) -> bytes:
    body = Checkpoint(ORIGIN, size, merkle.root(HASHES[:size])).body()
    return note_text(LOG.sign(body), [US.cosign(body, NOW), MX.cosign(body, NOW + 1)])


def receipt_of(index: int, size: int = len(ENTRIES)) -> Receipt:
    return Receipt(index, tuple(merkle.inclusion_proof(index, size, merkle.reader_of(HASHES))), cosigned(size))


@pytest.mark.parametrize("size", range(1, len(ENTRIES) + 1))
def test_every_receipt_verifies_for_its_leaf_only(size: int) -> None:
    for index in range(size):
        receipt = Receipt.parse(receipt_of(index, size).encode())
        proven = receipt.verify(ENTRIES[index], POLICY)
        assert (proven.index, proven.leaf_hash, proven.checkpoint.size) == (index, HASHES[index], size)
        assert proven.cosigned == {"us": NOW, "mx": NOW + 1}
        assert receipt.origin == ORIGIN
        with pytest.raises(ReceiptFault, match="receipt-inclusion"):
            receipt.verify(ENTRIES[index] + b" ", POLICY)
        if size > 1:
            with pytest.raises(ReceiptFault, match="receipt-inclusion"):
                receipt.verify(ENTRIES[(index + 1) % size], POLICY)


def test_the_file_is_that_of_the_specification() -> None:
    receipt = receipt_of(0, 2)
    lines = receipt.encode().decode().split("\n")
    assert lines[:4] == ["c2sp.org/tlog-proof@v1", "index 0", b64encode(HASHES[1]).decode(), ""]
    with_extra = Receipt(receipt.index, receipt.proof, receipt.note, b"\0anything")
    assert with_extra.encode().startswith(b"c2sp.org/tlog-proof@v1\nextra AGFueXRoaW5n\nindex 0\n")
    assert Receipt.parse(with_extra.encode()) == with_extra
    assert with_extra.verify(ENTRIES[0], POLICY).index == 0


def test_no_flipped_bit_passes() -> None:
    data = receipt_of(4).encode()
    for position in range(len(data)):
        altered = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(ReceiptFault):
            Receipt.parse(altered).verify(ENTRIES[4], POLICY)


def test_a_receipt_without_both_countries_is_refused() -> None:
    receipt = receipt_of(4)
    body, lines = split_note(receipt.note)
    for kept in (lines[:2], [lines[0], lines[2]], lines[:1], lines[1:]):
        poorer = Receipt(4, receipt.proof, note_text(body.encode() + b"\n", kept))
        with pytest.raises(ReceiptFault) as fault:
            poorer.verify(ENTRIES[4], POLICY)
        assert fault.value.code in ("quorum-missing", "log-unsigned")
        assert fault.value.es != fault.value.en


def altered_paths(receipt: Receipt) -> list[Receipt]:
    path = receipt.proof
    return [
        Receipt(receipt.index, path[::-1], receipt.note),
        Receipt(receipt.index, path[:-1], receipt.note),
        Receipt(receipt.index, (*path, path[0]), receipt.note),
        Receipt(receipt.index, path[1:], receipt.note),
        Receipt(receipt.index + 1, path, receipt.note),
        Receipt(len(ENTRIES), path, receipt.note),
        Receipt(receipt.index, path, cosigned(len(ENTRIES) - 1)),
    ]


@pytest.mark.parametrize("case", range(7))
def test_altered_paths_are_refused(case: int) -> None:
    with pytest.raises(ReceiptFault, match="receipt-inclusion"):
        altered_paths(receipt_of(4))[case].verify(ENTRIES[4], POLICY)


GOOD = receipt_of(4).encode()
MALFORMED = {
    "empty": b"",
    "another version": GOOD.replace(b"@v1", b"@v2"),
    "no index": GOOD.replace(b"index 4\n", b""),
    "index with a zero": GOOD.replace(b"index 4", b"index 04"),
    "negative index": GOOD.replace(b"index 4", b"index -4"),
    "index with a space": GOOD.replace(b"index 4", b"index 4 "),
    "huge index": GOOD.replace(b"index 4", b"index 9223372036854775808"),
    "extra after the index": GOOD.replace(b"index 4\n", b"index 4\nextra AAAA\n"),
    "extra twice": GOOD.replace(b"index 4\n", b"extra AAAA\nextra AAAA\nindex 4\n"),
    "short hash": GOOD.replace(b"index 4\n", b"index 4\nAAAA\n"),
    "too many hashes": GOOD.replace(b"index 4\n", b"index 4\n" + (b64encode(bytes(32)) + b"\n") * 64),
    "CRLF": GOOD.replace(b"\n", b"\r\n"),
    "not ASCII": GOOD.replace(b"index 4", "index ٤".encode()),
    "too large": GOOD + b"x" * 2_000_000,
    "header only": b"c2sp.org/tlog-proof@v1\n\n",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_files_are_refused(kind: str) -> None:
    with pytest.raises(ReceiptFault, match="receipt-malformed"):
        Receipt.parse(MALFORMED[kind])


def test_a_note_that_is_none_has_no_origin() -> None:
    with pytest.raises(ReceiptFault, match="receipt-malformed"):
        _ = Receipt(0, (), b"rubbish\n").origin


# --- items ---

OBJECTS = [(f"indicator--{n}", f"2026-11-24T12:00:0{n % 10}.000Z", sha256(b"%d" % n).digest()) for n in range(23)]


def page_leaf(objects: list[tuple[str, str, bytes]]) -> bytes:
    items = [item_hash(*one) for one in objects]
    pub = {"count": len(items), "items_root": merkle.root(items).hex()}
    return json.dumps({"t": "release", "pub": pub}).encode()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, len(OBJECTS)), st.data())
def test_every_object_of_a_page_is_proved_and_no_other(count: int, data: st.DataObject) -> None:
    objects = OBJECTS[:count]
    index = data.draw(st.integers(0, count - 1))
    leaf = page_leaf(objects)
    proof = ItemProof.parse(ItemProof.of([item_hash(*one) for one in objects], index).encode())
    object_id, version, digest = objects[index]
    proof.verify(leaf, object_id, version, digest)
    for claim in (("x", version, digest), (object_id, "x", digest), (object_id, version, bytes(32))):
        with pytest.raises(ReceiptFault, match="receipt-item"):
            proof.verify(leaf, *claim)
    for other in (
        ItemProof(index, count + 1, proof.proof),
        ItemProof(index + 1, count, proof.proof),
        ItemProof(index, count, (*proof.proof, digest)),
    ):
        with pytest.raises(ReceiptFault, match="receipt-item"):
            other.verify(leaf, object_id, version, digest)


@pytest.mark.parametrize(
    "leaf", [b"", b"[]", b"{}", b'{"pub":1}', b'{"pub":{"count":1}}', b'{"pub":{"count":1,"items_root":"zz"}}', b"\xff"]
)
def test_a_leaf_without_items_proves_none(leaf: bytes) -> None:
    with pytest.raises(ReceiptFault, match="receipt-no-items"):
        ItemProof(0, 1, ()).verify(leaf, "a", "b", bytes(32))


@pytest.mark.parametrize(
    "data", [b"", b"puente-item-proof@v1\nindex 0\n", b"puente-item-proof@v1\ncount 1\nindex 0\n", b"\xff"]
)
def test_malformed_item_proofs_are_refused(data: bytes) -> None:
    with pytest.raises(ReceiptFault, match="receipt-malformed"):
        ItemProof.parse(data)
