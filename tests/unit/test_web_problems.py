"""Refusals as HTTP answers: the table is whole, the form is TAXII's, both languages are there."""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web
from multidict import CIMultiDict

from certs.jcs import load
from exchange import errors
from exchange.web.problems import STATUS, TITLES, fault, problem, status_of, without_route


def request(headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> web.BaseRequest:
    """All that negotiation looks at: the headers."""
    return cast(web.BaseRequest, SimpleNamespace(headers=CIMultiDict(headers)))


def test_every_refusal_has_a_status_and_a_title() -> None:
    assert set(STATUS) == set(errors.Refusal.__subclasses__())
    assert set(STATUS.values()) <= set(TITLES)


def body(response: object) -> dict[str, object]:
    found = load(response.body, max_bytes=10_000)  # type: ignore[attr-defined]
    assert isinstance(found, dict)
    return found


@pytest.mark.rule("ERR-01", "ERR-02", "ERR-03", "ERR-08", "NEG-04", "EP-04")
def test_the_form_is_taxii_3_6_1() -> None:
    refusal = errors.Malformed("limit is wrong.", "limit es incorrecto.", code="query-malformed", field="limit")
    answers = [problem(refusal, request()) for _ in range(2)]
    first, second = (body(answer) for answer in answers)
    assert answers[0].status == 400
    assert answers[0].headers["Content-Type"] == "application/taxii+json;version=2.1"
    assert answers[0].headers["Content-Language"] == "en"
    assert first["http_status"] == "400"
    assert first["error_code"] == "query-malformed"
    assert first["details"] == {"field": "limit"}
    assert first["description"] == "limit is wrong."
    assert first["error_id"] != second["error_id"]


def test_spanish_is_spoken_to_who_asks_for_it() -> None:
    asker = request({"Accept-Language": "es-MX"})
    answer = problem(errors.NotFound("No.", "No existe."), asker)
    assert answer.headers["Content-Language"] == "es"
    assert (body(answer)["title"], body(answer)["description"]) == ("No encontrado", "No existe.")


@pytest.mark.rule("AUT-02", "AUT-05", "AUT-06")
def test_a_401_challenges() -> None:
    answer = problem(errors.NotAuthenticated("Who?", "¿Quién?"), request())
    basic, bearer = answer.headers.getall("WWW-Authenticate")
    assert basic == 'Basic realm="puente", charset="UTF-8"'
    assert bearer.startswith("Bearer ")


@pytest.mark.parametrize(
    ("refusal", "status", "retry"),
    [
        (errors.TooFast("Slow.", "Lento.", retry_after_seconds=7), 429, "7"),
        (errors.Unavailable("Later.", "Luego.", retry_after_seconds=60), 503, "60"),
        (errors.TooLarge("Big.", "Grande."), 413, None),
        (errors.TooLarge("Many.", "Muchos.", code="envelope-too-many"), 422, None),
    ],
)
@pytest.mark.rule("ERR-06", "ROOT-08")
def test_statuses_and_retry_after(refusal: errors.Refusal, status: int, retry: str | None) -> None:
    """Too many objects in a body of the right size are no 413."""
    answer = problem(refusal, request())
    assert (answer.status, answer.headers.get("Retry-After")) == (status, retry)


def test_a_kind_nobody_listed_has_the_status_of_the_kind_above_it() -> None:
    class Odd(errors.NotPermitted):
        pass

    assert status_of(Odd("a", "b")) == 403
    assert status_of(errors.Refusal("a", "b")) == 400


@pytest.mark.rule("ERR-07")
def test_a_fault_tells_only_its_id() -> None:
    answer = fault(request(), "the-id")
    assert answer.status == 500
    assert set(body(answer)) == {"title", "description", "error_id", "error_code", "http_status"}
    assert body(answer)["error_id"] == "the-id"


@pytest.mark.rule("TRN-12")
def test_405_and_options_name_what_is_allowed() -> None:
    for method, status in (("PUT", 405), ("OPTIONS", 200)):
        asked = cast(web.BaseRequest, SimpleNamespace(method=method, headers=CIMultiDict()))
        answer = without_route(asked, "GET, HEAD")
        assert (answer.status, answer.headers["Allow"]) == (status, "GET, HEAD")
        assert answer.headers["Content-Type"] == "application/taxii+json;version=2.1"
