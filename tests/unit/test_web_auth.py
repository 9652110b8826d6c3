"""Credentials as they arrive: every spelling real clients use, and everything else refused as 401, never worse."""

from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import NotAuthenticated, NotPermitted
from exchange.model.member import Access, Country, Member, Status, in_audience
from exchange.web.auth import NOBODY, must_be_allowed, token_in


def basic(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("BEARER abc", "abc"),
        ("Token abc", "abc"),
        ("token   abc", "abc"),
        (f"Basic {basic('user:abc')}", "abc"),
        (f"basic {basic('user:abc')}", "abc"),
        (f"Basic {basic(':abc')}", "abc"),
        (f"Basic {basic('user:a:b:c')}", "a:b:c"),
        (f"Basic {basic('usuario:contraseña')}", "contraseña"),
    ],
)
@pytest.mark.rule("AUT-04", "AUT-12", "AUT-13", "AUT-18")
def test_spellings(header: str, token: str) -> None:
    """Also MISP's lower case, XSOAR's Token, Sumo Logic's empty user."""
    assert token_in([header]) == token


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ["Basic"],
        ["Basic "],
        ["Basic !!!"],
        [f"Basic {basic('nocolon')}"],
        ["Basic " + b64encode(b"\xff\xfe:x").decode()],
        ["Bearer"],
        ["Bearer "],
        ["Digest username=x"],
        ["Negotiate abc"],
        ["abc"],
        ["Bearer a", "Bearer a"],
    ],
)
@pytest.mark.rule("AUT-11")
def test_malformed_is_401(lines: list[str]) -> None:
    with pytest.raises(NotAuthenticated) as refusal:
        token_in(lines)
    assert refusal.value.code == "credential-malformed"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"Basic {text}"))
def test_no_header_does_worse(text: str) -> None:
    try:
        token_in([text])
    except NotAuthenticated as refusal:
        assert str(refusal) == "The Authorization header cannot be read.", "a credential is never repeated"


def member(status: Status = Status.ACTIVE, *roles: str) -> Member:
    return Member("us-cyber", "identity--1", Country.US, "agency", roles, (), "A", "A", status)


def test_access() -> None:
    must_be_allowed(Access.MEMBER, member())
    must_be_allowed(Access.AUDITOR, member(Status.ACTIVE, "auditor"))
    for status in (Status.SUSPENDED, Status.WITHDRAWN):
        with pytest.raises(NotPermitted) as refusal:
            must_be_allowed(Access.MEMBER, member(status, "auditor"))
        assert refusal.value.code == f"member-{status.value}"
    with pytest.raises(NotPermitted) as refusal:
        must_be_allowed(Access.AUDITOR, member(Status.ACTIVE, "agency"))
    assert refusal.value.code == "auditors-only"
    must_be_allowed(Access.GATEWAY, member(), gateway=True)
    for kind in (member(Status.ACTIVE, "auditor"), replace(member(), kind="gateway")):
        with pytest.raises(NotPermitted) as refusal:
            must_be_allowed(Access.GATEWAY, kind)
        assert refusal.value.code == "gateways-only", "the trust list says who is one, not the registry"


def test_nobody_may_do_nothing() -> None:
    with pytest.raises(NotPermitted):
        must_be_allowed(Access.MEMBER, NOBODY.member)
    assert not in_audience(("role:agency", "member:us-cyber", "country:MX"), NOBODY.member)
