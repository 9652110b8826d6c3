"""Where an answer's entries lie in the logs, as a header short enough for any client."""

from collections.abc import Mapping, Sequence

from exchange.store.acts import LeafRef

AUDIT_LEAF = "X-Audit-Leaf"


def audit_leaf(leaves: Sequence[LeafRef], origins: Mapping[str, str]) -> str:
    """`<origin>/<index>`, joined by commas. Neighbours of one log are one item, `<origin>/<first>-<last>`: an envelope
    of thousands of objects has thousands of entries, and clients cut headers off at 8 KiB."""
    runs: list[tuple[str, int, int]] = []
    for leaf in sorted(leaves, key=lambda leaf: (leaf.log, leaf.index)):
        if runs and runs[-1][0] == leaf.log and runs[-1][2] + 1 == leaf.index:
            runs[-1] = (leaf.log, runs[-1][1], leaf.index)
        else:
            runs.append((leaf.log, leaf.index, leaf.index))
    return ", ".join(
        f"{origins[log]}/{first}" if first == last else f"{origins[log]}/{first}-{last}" for log, first, last in runs
    )
