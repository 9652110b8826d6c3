"""What may open a definition or an identity: labels under which lies what its own originator cites it by.

A marking or extension definition says how to read an object, an identity whose it is. Whoever is given the object needs
them; whoever is not, need not even know that they are cited. So their labels never change by it: the labels that cite
them stand beside, as consents do (docs/decisions/0014-graphs.md).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from policies.label import Label
from policies.predicates import ASSURANCE_RANK, PAP_RANK, TLP_RANK

Cited = Mapping[tuple[str, str], Sequence[Label]]
"""By originator and id of what is cited, the labels of what cites it and lies somewhere."""

NOTHING: Final[Cited] = MappingProxyType({})


def may_be_opened(label: Label) -> bool:
    """Whether its markings say no more of who may have it than a level: a definition that is restricted by a word stays so."""
    return label.rel_to is None and label.purposes is None and not (
        label.caveats or label.audiences or label.not_before or label.cases or label.terms
    )  # fmt: skip


def lets_open(citing: Label, cited: Label) -> bool:
    """Whether what lies under a label may open what it cites. Nobody gets another's definition released by citing it, nor one
    that he signed by what he did not; and one that bears a level needs no less in what cites it."""
    try:
        return (
            citing.originator == cited.originator
            and cited.named in citing.cites
            and ASSURANCE_RANK[citing.assurance] >= ASSURANCE_RANK[cited.assurance]
            and not (
                cited.marked
                and (TLP_RANK[citing.tlp] < TLP_RANK[cited.tlp] or PAP_RANK[citing.pap] < PAP_RANK[cited.pap])
            )
        )
    except KeyError:
        return False
