"""The tables of an agreement that people and other parts of the hub carry out, and that some decisions are bound by."""

import re
from typing import Annotated, Literal

from pydantic import Field

from policies.words import Country, Duration, Form, Granularity, Name, ObjectClass, Text, must


class OriginatorControl(Form):
    answer_by: Literal["originator"]
    time_limit: Duration
    on_silence: Literal["refuse"]
    consent_valid: Duration
    """No consent holds longer, whatever it says itself."""


class Embargo(Form):
    longest: Duration
    """The furthest ahead that an originator may put the hour before which nobody has its object."""


class Redaction(Form):
    """Tearlines: objects of their own, made for wider release."""

    prepared_by: list[Literal["originator", "national-gateway"]]
    signature: Literal["gateway-signed", "originator-signed"]
    properties: dict[ObjectClass, list[Annotated[str, must("bad-form", re.compile(r"[a-z][a-z0-9_]*").fullmatch)]]]
    """What a tearline of a class may hold, by STIX's names."""


class Sightings(Form):
    """Who learns where something was sighted."""

    learns: list[Literal["originator", "authorities", "recipients"]]
    granularity: Granularity
    """The most that any recipient is asked to tell."""


class WithdrawalTerms(Form):
    act_within: Duration
    ack: Literal["required", "asked"] = "asked"
    reveals: Literal["id", "id-and-class", "reason"] = "id-and-class"
    """What the notice may say."""


class Withdrawal(Form):
    error: WithdrawalTerms | None = None
    privacy: WithdrawalTerms | None = None
    legal: WithdrawalTerms | None = None
    compromise: WithdrawalTerms | None = None


class EmergencyRelease(Form):
    """Release beyond the clauses, when both countries' people on call say so."""

    needs: Literal["both-on-call"]
    longest: Duration


class Emergency(Form):
    tighten: Literal["any-one-party"]
    loosen: Literal["both"]
    max_overlay: Duration
    release: EmergencyRelease | None = None


class Reciprocity(Form):
    """Duties that can be counted, and what follows when a Party falls short of them."""

    window: Duration
    feedback_percent: Annotated[int, Field(ge=1, le=100)] | None = None
    """Of the sightings asked for, the least share to be answered."""
    median_time_to_share: Duration | None = None
    availability_percent: Annotated[int, Field(ge=1, le=100)] | None = None
    on_breach: Literal["report", "review", "cut-off"]
    cut_off_chosen_by: list[Country] = []
    """Nothing is cut off by itself unless both Parties chose so."""


class Anonymity(Form):
    """How much the national gateways' objects may tell of where they come from, and when."""

    period: Duration
    """Their times are cut down to it, and originals are relayed together, once a period."""
    origin: Literal["country", "sector"]
    """Whether the sender's sectors are told beside its country and roles."""
    crowd: Annotated[int, Field(ge=1, le=100)]
    """The least number of active members who must share what is told: what fewer share is left out."""


class Retention(Form):
    default: Duration
    by_class: dict[ObjectClass, Duration] = {}
    audit_keeps: Literal["digest"] = "digest"


class Privacy(Form):
    contact: Annotated[str, must("bad-form", re.compile(r"[^@\s]+@[^@\s]+").fullmatch)]
    refused: list[Name] = []
    minimisation: Text | None = None
    redress: Text | None = None
