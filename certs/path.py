"""Whether a certificate leads to the root of one country, for one purpose, at one time (RFC 5280)."""

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from certs.faults import PathFault


def check_path(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    root: x509.Certificate,
    *,
    purpose: ObjectIdentifier,
    at: datetime,
) -> None:
    """Raise PathFault unless `leaf` chains to `root` through `intermediates`, is valid at `at` and is for `purpose`.

    Codes: `expired` (outside its dates), `purpose` (another extended key usage), `wrong-country` (no path to this root,
    or a name outside the country's name constraints). Revocation is not looked at here.
    """
    if not leaf.not_valid_before_utc <= at <= leaf.not_valid_after_utc:
        raise PathFault("expired", "is not valid at this time", "no es válido en este momento")
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usages = x509.ExtendedKeyUsage([])
    if list(usages) != [purpose]:
        raise PathFault("purpose", "was issued for another purpose", "fue emitido para otro propósito")

    def same_usage(_: Policy, __: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
        if usage is None or purpose not in usage:
            raise ValueError("another purpose")

    leaf_policy = (
        ExtensionPolicy.permit_all()
        .require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, same_usage)
    )
    builder = PolicyBuilder().store(Store([root])).time(at)
    builder = builder.extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=leaf_policy)
    try:
        builder.build_client_verifier().verify(leaf, list(intermediates))
    except VerificationError as error:
        raise PathFault(
            "wrong-country",
            "does not lead to the root of its member's country",
            "no conduce a la raíz del país de su miembro",
        ) from error
