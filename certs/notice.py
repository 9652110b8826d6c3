"""The hub's notice to one member that it is to drop what it had: a STIX object of its own type, signed by the hub.

    {"type": "withdrawal-notice", "spec_version": "2.1", "id": …, "created_by_ref": the hub's identity,
     "created": …, "modified": …, "object_marking_refs": [TLP:AMBER+STRICT],
     "recall": uuid, "withdraws": [{"id": …, "versions": […]}], "asks": "drop",
     "acknowledgement": "asked" | "required", "act_by": …, "class": …, "cause": …, "extensions": {…}}

It names ids that the member had and nothing of their content. `versions` is left out when all of them are meant, `act_by` where
the agreement sets no time, `class` and `cause` where it does not let them be told. The signature is in the form of every
object's, with a `typ` of its own: a notice cannot be made of another object, nor the other way round.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from certs.signature import EXT_NOTICE, NOTICE

MARKING: Final = "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003"
"""TLP:AMBER+STRICT: what one organisation had is no other's affair."""


def notice(
    *,
    id: str,  # noqa: A002  # the property's own name
    created_by_ref: str,
    created: str,
    recall: str,
    withdraws: Sequence[Mapping[str, Any]],
    acknowledgement: str,
    act_by: str | None,
    reason: Mapping[str, str],
) -> dict[str, Any]:
    """An unsigned notice. `withdraws` lists {id, versions}, no versions for all; `reason` what may be told of it."""
    told = [{"id": one["id"], **({"versions": list(one["versions"])} if one["versions"] else {})} for one in withdraws]
    return {
        "type": NOTICE,
        "spec_version": "2.1",
        "id": id,
        "created_by_ref": created_by_ref,
        "created": created,
        "modified": created,
        "object_marking_refs": [MARKING],
        "recall": recall,
        "withdraws": told,
        "asks": "drop",
        "acknowledgement": acknowledgement,
        **({"act_by": act_by} if act_by is not None else {}),
        **reason,
        "extensions": {EXT_NOTICE: {"extension_type": "new-sdo"}},
    }
