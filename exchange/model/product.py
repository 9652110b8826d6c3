"""The products that credentials are made for, and the habits of theirs that the hub meets.

A credential's product changes how an answer is written and how long a page is, never what is in the exchange for its
member: no object is shown, hidden or edited because of it. Each habit is one that was read in the product's code or
manual; docs/clients.md has the sources.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Product:
    name: str
    title: str
    empty_lists: bool = False
    """An empty page is `{"more":false,"objects":[]}`: a program that maps over `objects` fails on `{}`."""
    whole_pages: bool = False
    """Without `limit` a page is as long as a page may be, for what asks for one page and no more, or one a tick."""
    media: tuple[str, ...] = ()
    """Names of media types that it asks for in place of TAXII's, whatever their version."""


PRODUCTS: Final = {
    one.name: one
    for one in (
        Product("sentinel", "Microsoft Sentinel"),
        Product("splunk", "Splunk Enterprise Security"),
        Product("elastic", "Elastic Custom Threat Intelligence (ti_custom)", empty_lists=True),
        Product("xsoar", "Cortex XSOAR / XSIAM"),
        Product("opencti", "OpenCTI", whole_pages=True),
        Product("misp", "MISP"),
        Product("sumo", "Sumo Logic"),
        Product("fortigate", "FortiGate", whole_pages=True, media=("application/vnd.oasis.stix+json",)),
        Product("generic", "TAXII 2.1"),
    )
}

PLAIN: Final = PRODUCTS["generic"]
