"""What can go wrong with keys, certificates and signatures, drawn as a tree. Receipts, notes, pages and JSON have faults of
their own kind beside them.

* Fault                 has a stable code and one sentence in each language
  - KeyFault            a key file that cannot be read safely, or is of the wrong kind
  - PathFault           a certificate that does not lead to its country's root for this purpose at this time
  - SignatureFault      an object or document whose signature does not count
  - UnstableForm        (a SignatureFault) a form that relays rewrite; it is refused before it is signed
  - TrustFault          a trust list or an approval that both countries have not made as they must
"""

from typing import ClassVar


class Fault(Exception):
    """`code` is stable kebab-case; `en` and `es` are whole sentences for people (but see PathFault)."""

    status: ClassVar[int] = 1
    """What a command ends with that failed by it."""

    def __init__(self, code: str, en: str, es: str) -> None:
        super().__init__(f"{code}: {en}")
        self.code = code
        self.en = en
        self.es = es


class KeyFault(Fault):
    pass


class PathFault(Fault):
    """Codes: untrusted, wrong-country, purpose, expired, revoked, algorithm, crl-missing, crl-stale, crl-form, and for
    members of a trust list: not-a-member, suspended, name, withdrawn.

    The sentences lack their subject, which only the caller knows: “The client certificate”, “El certificado de firma”.
    """


class SignatureFault(Fault):
    pass


class UnstableForm(SignatureFault):
    """The code is always signature-unstable; `field` is the path of the property to mend."""

    def __init__(self, field: str, en: str, es: str) -> None:
        super().__init__("signature-unstable", f"{field}: {en}", f"{field}: {es}")
        self.field = field


class TrustFault(Fault):
    pass
