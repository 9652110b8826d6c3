"""Witnesses that lag behind one another are led to the same size by what one of them keeps, when the log's hub cannot do it any more.

What the hub signed last and one mirror holds is shown to the others as the hub would have shown it: its entries, the proof that
the log grew so, and the note with the log's own signature. Each judges for itself, as ever, and nothing else comes of it than
what it would have cosigned in its next round.
"""

from collections.abc import Sequence

import aiohttp

from exchange.ledger.asking import Copying, Cosigned, Said, add_checkpoint, add_entries
from exchange.ledger.merkle import HashReader, consistency_proof, leaf_hash, node_hash
from exchange.ledger.mirror import Piece
from exchange.ledger.note import Checkpoint, NoteFault, Policy, note_text, open_note
from exchange.ledger.rounds import PIECE_LEAVES
from exchange.ledger.sources import Mirrors, entries

TIMEOUT_SECONDS = 60.0


async def catch_up(session: aiohttp.ClientSession, mirrors: Mirrors, log: str, policy: Policy) -> dict[str, Said]:
    """Lead every mirror that lags to the newest checkpoint that any of them has; by address, how each that lagged answered at last.

    Raises SourceFault when the one that has it does not give its entries.
    """
    seen = {}
    for mirror in mirrors.each():
        # A witness that shows nothing of a log may be the other country's, which must not learn how long it is.
        if (found := await _signed(mirror, log, policy)) is not None:
            seen[mirror.address] = (*found, mirror)
    if not seen:
        return {}
    checkpoint, note, holder = max(seen.values(), key=lambda one: one[0].size)
    behind = {url: one.size for url, (one, _, _) in seen.items() if one != checkpoint}
    if not behind:
        return {}
    leaves = [leaf async for bundle in entries(holder, log, checkpoint, 0) for leaf in bundle]
    read = _reader([leaf_hash(leaf) for leaf in leaves])
    return {url: await _lead(session, url, size, leaves, read, note) for url, size in behind.items()}


async def _signed(mirror: Mirrors, log: str, policy: Policy) -> tuple[Checkpoint, bytes] | None:
    """The newest checkpoint of the log that a mirror shows, with the log's signature alone."""
    for key in policy.logs:
        for note in await mirror.notes(log, key.name):
            try:
                opened = open_note(note, policy.logs)
                return Checkpoint.parse(opened.body), note_text(
                    f"{opened.body}\n".encode(), [one.line for one in opened.signatures]
                )
            except NoteFault:
                continue
    return None


async def _lead(
    session: aiohttp.ClientSession, url: str, old: int, leaves: Sequence[bytes], read: HashReader, note: bytes
) -> Said:
    size = len(leaves)
    proof = consistency_proof(old, size, read) if old else []
    answer = await add_checkpoint(session, url, old, proof, note, TIMEOUT_SECONDS)
    while isinstance(answer, Copying) and answer.size < size:
        held = answer.size
        end = min(held + PIECE_LEAVES, size)
        piece = Piece(
            held, end, tuple(consistency_proof(end, size, read) if end < size else ()), note, tuple(leaves[held:end])
        )
        answer = await add_entries(session, url, piece, TIMEOUT_SECONDS)
        if not isinstance(answer, Copying) or answer.size <= held:
            return answer
    if isinstance(answer, Cosigned):
        return answer
    return await add_checkpoint(session, url, old, proof, note, TIMEOUT_SECONDS)


def _reader(hashes: Sequence[bytes]) -> HashReader:
    """Each subtree is hashed once, for one proof after the other."""
    known: dict[tuple[int, int], bytes] = {}

    def subtree(level: int, n: int) -> bytes:
        if level == 0:
            return hashes[n]
        if (level, n) not in known:
            known[level, n] = node_hash(subtree(level - 1, 2 * n), subtree(level - 1, 2 * n + 1))
        return known[level, n]

    return lambda asked: [subtree(level, n) for level, n in asked]
