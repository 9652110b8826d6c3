"""Newer editions of warninglists: which of them a hub may take in place of those it has.

Lists hold back what members submit. So one that was emptied would open the guard, and one that names everything would shut the hub:
neither is taken. What lists *refuse* is settled by standards, and changes with a release only.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from certs.jcs import Json
from exchange.errors import Malformed, Text
from exchange.intake.warninglists import REFUSED, KnownGood, documents_at

FALL_AT_MOST: Final = 0.5
"""The share of its entries that a list may lose from one edition to the next."""
NETWORK_AT_LEAST: Final = {4: 8, 6: 16}
"""Prefix lengths. The widest of all real lists that hold is Apple's 17.0.0.0/8."""


def kept(folder: Path) -> dict[str, Json]:
    """The lists in a hub's folder of them, if it has one. Raises Malformed: a hub that cannot read its lists does not start."""
    try:
        documents = documents_at(folder) if folder.exists() else {}
        KnownGood(documents)
    except (OSError, ValueError) as error:
        raise Malformed(
            f"Settings: warninglists: {error}; mend or remove that file in {folder}.",
            f"Configuración: warninglists no es válido ({error}); corrija o retire ese archivo de {folder}.",
            code="settings",
            field="warninglists",
        ) from None
    return documents


def refreshable(name: str) -> bool:
    """Whether another edition than that of the release may be used: neither of what we wrote, nor of what is refused."""
    return not name.startswith("puente-") and name not in REFUSED


def entries_of(document: Json) -> list[str]:
    return [str(entry) for entry in document["list"]]


def why_not(name: str, new: Json, old: Json | None) -> Text | None:
    """Why this edition of a list is not taken in place of the old one, if there was one; None when it is."""
    if not refreshable(name):
        return Text("it changes with a release only", "solo cambia con una versión de Puente")
    try:
        known = KnownGood({name: new})
    except ValueError as error:
        return Text(f"it is no list ({error})", f"no es una lista ({error})")
    if name in known.skipped and "entries" not in known.skipped[name]:
        return Text(f"it is not used: {known.skipped[name]}", f"no se usa: {known.skipped[name]}")
    if old is not None and (fault := _against(new, old)) is not None:
        return fault
    if (wide := _too_wide(entries_of(new))) is not None:
        return Text(f"it would hold all of {wide}", f"retendría todo {wide}")
    return None if new["list"] else Text("it is empty", "está vacía")


def _against(new: Mapping[str, Json], old: Mapping[str, Json]) -> Text | None:
    version, before = new.get("version"), old.get("version")
    if isinstance(version, int) and isinstance(before, int) and version < before:
        return Text(f"it is older: {version}", f"es anterior: {version}")
    counts = len(new["list"]), len(old["list"])
    if counts[0] < counts[1] * (1 - FALL_AT_MOST):
        return Text(f"it has {counts[0]} entries instead of {counts[1]}", f"tiene {counts[0]} entradas en lugar de {counts[1]}")  # fmt: skip
    return None


def _too_wide(entries: Iterable[str]) -> str | None:
    for entry in entries:
        with suppress(ValueError):
            network = ip_network(entry, strict=False)
            if network.prefixlen < NETWORK_AT_LEAST[network.version]:
                return entry
    return None
