"""JSON schemas of what the hub answers and reads: the words of its OpenAPI document."""

from typing import Any

from exchange.model.product import PRODUCTS

Schema = dict[str, Any]


def _object(required: str = "", /, **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    return {**schema, "required": required.split()} if required else schema


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TIME: Schema = {"type": "string", "format": "date-time"}
_STIX: Schema = {"type": "object", "description": "A STIX 2.1 object."}
_OUTCOME = _object(
    "id version",
    id=_TEXT,
    version=_TEXT,
    message=_TEXT,
    x_message_en=_TEXT,
    x_message_es=_TEXT,
    x_code=_TEXT,
    x_field=_TEXT,
)

_BOTH_LANGUAGES = _object("en es", en=_TEXT, es=_TEXT)
_CLAUSES = _list(_object("id kind en es", id=_TEXT, kind=_TEXT, en=_TEXT, es=_TEXT))
_APPROVALS = _list(_object("approval jws", approval={"type": "object"}, jws=_TEXT))
_TIGHTENING: Schema = {
    "overlay": _TEXT,
    "sha256": _TEXT,
    "country": {"enum": ["US", "MX"]},
    "expires": _TIME,
    "reason": _BOTH_LANGUAGES,
    "clauses": _CLAUSES,
}
_ADOPTION: Schema = {
    "number": _COUNT,
    "agreement": _TEXT,
    "version": _COUNT,
    "sha256": _TEXT,
    "prev_sha256": {"type": ["string", "null"]},
    "impact_sha256": _TEXT,
    "cause": {"enum": ["activate", "tighten", "lift", "lapse", "expire", "abandon"]},
    "state": {"enum": ["active", "superseded"]},
    "adopted": _TIME,
    "effective_from": _TIME,
    "expires": _TIME,
    "overlays": _list(_object(" ".join(_TIGHTENING), **_TIGHTENING)),
}
_STEP = _object(
    "rule kind matched failed text",
    rule=_TEXT,
    kind=_TEXT,
    matched=_FLAG,
    failed={"type": ["string", "null"]},
    text=_TEXT,
)
_CONSENT_REQUEST: Schema = {
    "id": _TEXT,
    "member": _TEXT,
    "originator": _TEXT,
    "case": _TEXT,
    "reason": _TEXT,
    "asked": _TIME,
    "due": _TIME,
    "state": {"enum": ["open", "granted", "refused", "lapsed"]},
}
_COUNTS = _object("gained lost changed", gained=_COUNT, lost=_COUNT, changed=_COUNT)
_LINE: Schema = {
    "direction": {"enum": ["US>MX", "MX>US", "US>US", "MX>MX"]},
    "recipient": _TEXT,
    "kind": {"enum": ["gained", "lost", "changed"]},
    "clause": _TEXT,
    "labels": _COUNT,
    "objects": _COUNT,
}

_FEED_RUN: Schema = {
    "run": {"type": "string", "format": "uuid"},
    "from": {**_TIME, "description": "When the last good run ended; absent before the first."},
    "to": {**_TIME, "description": "When this one ended."},
    **dict.fromkeys(("fetched", "accepted", "held", "refused", "skipped"), _COUNT),
    "complete": _FLAG,
    "code": {"type": "string", "description": "Why it is not complete."},
    "fault": _BOTH_LANGUAGES,
    "cursor": {"type": "string", "maxLength": 200},
    "sha256": {"type": "string", "description": "Of what was read."},
    "cadence_seconds": _COUNT,
}
_RUN_HAS = "run to fetched accepted held refused skipped complete"
_FEED: Schema = {
    "member": _TEXT,
    "feed": _TEXT,
    "status": {"enum": ["ok", "failed", "late"]},
    "last_good": {"type": ["string", "null"], "format": "date-time"},
    "lag_seconds": {"type": ["integer", "null"]},
    "cadence_seconds": {"type": ["integer", "null"]},
    "last": _object(_RUN_HAS, **_FEED_RUN),
}
_LEAVES = _list(_object("log index origin hash", log=_TEXT, index=_COUNT, origin=_TEXT, hash=_TEXT))

SCHEMAS: dict[str, Schema] = {
    "Error": _object(
        "title http_status",
        title=_TEXT,
        description=_TEXT,
        error_id=_TEXT,
        error_code={"type": "string", "description": "Stable for a kind of error."},
        http_status=_TEXT,
        details=_object(field=_TEXT),
    ),
    "Alive": _object("alive", alive=_FLAG),
    "Ready": _object("ready", ready=_FLAG, state=_TEXT),
    "Document": {"type": "object", "description": "An OpenAPI 3.1 document."},
    "Discovery": _object("title", title=_TEXT, description=_TEXT, default=_TEXT, api_roots=_list(_TEXT)),
    "ApiRoot": _object(
        "title versions max_content_length", title=_TEXT, versions=_list(_TEXT), max_content_length=_COUNT
    ),
    "Status": _object(
        "id status total_count success_count failure_count pending_count",
        id=_TEXT,
        status={"enum": ["complete", "pending"]},
        request_timestamp=_TIME,
        total_count=_COUNT,
        success_count=_COUNT,
        failure_count=_COUNT,
        pending_count=_COUNT,
        successes=_list(_OUTCOME),
        failures=_list(_OUTCOME),
    ),
    "Collection": _object(
        "id title can_read can_write",
        id=_TEXT,
        title=_TEXT,
        description=_TEXT,
        alias=_TEXT,
        can_read=_FLAG,
        can_write=_FLAG,
        media_types=_list(_TEXT),
    ),
    "Collections": _object(collections=_list(_ref("Collection"))),
    "OwnCollections": _object(
        "collections",
        collections=_list(
            _object(
                "id alias title can_read can_write url",
                id=_TEXT, alias=_TEXT, title=_TEXT, description=_TEXT, can_read=_FLAG, can_write=_FLAG, url=_TEXT,
            )
        ),
    ),
    "Envelope": _object(more=_FLAG, next=_TEXT, objects=_list(_STIX)),
    "Manifest": _object(
        more=_FLAG,
        next=_TEXT,
        objects=_list(_object("id date_added version", id=_TEXT, date_added=_TIME, version=_TEXT, media_type=_TEXT)),
    ),
    "Versions": _object(more=_FLAG, next=_TEXT, versions=_list(_TEXT)),
    "Me": _object(
        "slug name country status identity_id kind roles sectors account expires warning_days product",
        slug=_TEXT,
        name=_TEXT,
        country={"enum": ["US", "MX"]},
        status={"enum": ["active"]},
        identity_id=_TEXT,
        kind=_TEXT,
        roles=_list(_TEXT),
        sectors=_list(_TEXT),
        account=_TEXT,
        expires={"type": ["string", "null"], "format": "date-time"},
        warning_days={"enum": [None, 30, 14, 3, 1], "description": "The credential ends within so many days."},
        product={"enum": list(PRODUCTS)},
    ),
    "Members": _object(
        "members",
        members=_list(
            _object(
                "slug name country status",
                slug=_TEXT,
                name=_TEXT,
                country={"enum": ["US", "MX"]},
                status={"enum": ["active", "suspended", "withdrawn"]},
            )
        ),
    ),
    "Submission": {
        "allOf": [
            _ref("Status"),
            _object(
                "leaves",
                leaves=_LEAVES,
            ),
        ]
    },
    "Explanation": _object(
        "object to agreement placements",
        object=_TEXT,
        to=_TEXT,
        agreement=_TEXT,
        placements=_list(
            _object(
                "collection version date_added effect view visible clause reason nearest not_before consent trace",
                collection=_TEXT,
                version=_TEXT,
                date_added=_TIME,
                effect={"enum": ["permit", "deny"]},
                view={"enum": ["full", "tearline", "anonymised"]},
                visible=_FLAG,
                collection_readable=_FLAG,
                clause=_TEXT,
                reason=_TEXT,
                delay_seconds=_COUNT,
                obligations={"type": "object", "additionalProperties": _TEXT},
                ends=_list(
                    _object("id state text", id=_TEXT, state={"enum": ["given", "withheld", "absent"]}, text=_TEXT)
                ),
                nearest={"anyOf": [_STEP, {"type": "null"}], "description": "Where no clause permits: the one that came closest."},
                not_before={"type": ["string", "null"], "description": "The embargo's end, where one keeps it back."},
                consent={
                    "anyOf": [_object("originator cases", originator=_TEXT, cases=_list(_TEXT)), {"type": "null"}],
                    "description": "Whose consent is missing, and for which of its cases.",
                },
                trace=_list(_STEP),
            )
        ),
    ),
    "Recall": _object(
        "id collection what opened due acknowledgement state seen acknowledged",
        id=_TEXT,
        collection=_TEXT,
        **{"class": {"enum": ["error", "privacy", "legal", "compromise"]}},
        cause={"enum": ["delete", "marking", "revoke", "grant", "suspension", "compromise", "erasure"]},
        what=_object(
            "",
            objects=_list(_object("id versions", id=_TEXT, versions=_list(_TEXT))),
            labels=_list(_object("originator class tlp", **{"originator": _TEXT, "class": _TEXT, "tlp": _TEXT})),
        ),
        opened=_TIME,
        due={"type": ["string", "null"], "format": "date-time"},
        acknowledgement={"enum": ["required", "asked"]},
        state={"enum": ["open", "seen", "acknowledged", "overdue"]},
        seen={"type": ["string", "null"], "format": "date-time"},
        acknowledged={"type": ["string", "null"], "format": "date-time"},
    ),
    "Recalls": _object("recalls", recalls=_list(_ref("Recall"))),
    "ConsentQuestion": _object("originator case reason", originator=_TEXT, case=_TEXT, reason=_TEXT),
    "ConsentRequest": _object(" ".join(_CONSENT_REQUEST), **_CONSENT_REQUEST),
    "Consents": _object(
        "requests consents",
        requests=_list(_object(" ".join(_CONSENT_REQUEST), **_CONSENT_REQUEST)),
        consents=_list(
            _object(
                "id originator case members countries given until state",
                id=_TEXT, originator=_TEXT, case=_TEXT, members=_list(_TEXT), countries=_list(_TEXT), given=_TIME, until=_TIME,
                state={"enum": ["standing", "over", "withdrawn"]},
            )
        ),
    ),
    "Audiences": _object(
        "audiences",
        audiences=_list(
            _object(
                "audience owner may_extend members added",
                audience=_TEXT, owner={"enum": ["US", "MX"]}, may_extend=_FLAG, members=_list(_TEXT), added=_list(_TEXT),
            )
        ),
    ),
    "Statement": _object(
        "statement jws", statement={"type": "object", "description": "As docs/agreements.md says."}, jws=_TEXT
    ),
    "Stated": _object(
        "id leaves", id=_TEXT,
        leaves=_list(_object("log index origin hash", log=_TEXT, index=_COUNT, origin=_TEXT, hash=_TEXT)),
    ),
    "Judging": _object(
        "objects", objects=_list(_object("collection id version", collection=_TEXT, id=_TEXT, version=_TEXT))
    ),
    "Judgements": _object(
        "agreement period_seconds judgements",
        agreement=_TEXT,
        period_seconds={"type": ["integer", "null"], "description": "Null when the agreement has no [anonymity]."},
        judgements=_list(
            _object(
                "code",
                code={"enum": ["relay", "absent", "named", "denied", "wider", "crowd", "marking", "assurance"]},
                origin=_object("country roles", country=_TEXT, roles=_list(_TEXT), sectors=_list(_TEXT)),
                object_marking_refs=_list(_TEXT),
                known=_list(_TEXT),
                traces=_list(_TEXT),
                assets=_list(_TEXT),
            )
        ),
    ),
    "Disclosure": _object(
        "attestation object version salt sha256 reason",
        attestation=_TEXT, object=_TEXT, version=_TEXT, salt=_TEXT, sha256=_TEXT, reason=_TEXT,
    ),
    "Disclosed": _object("leaves", leaves=_LEAVES),
    "FeedRun": _object(_RUN_HAS, **_FEED_RUN, source={"type": "string", "description": "Its address: kept in private."}),
    "Recorded": _object("run leaves", run=_TEXT, leaves=_LEAVES),
    "Feeds": _object("feeds", feeds=_list(_object(" ".join(_FEED), **_FEED))),
    "Held": _object(
        "held",
        held=_list(
            _object(
                "value list object held released_until",
                value=_TEXT,
                list=_TEXT,
                object=_TEXT,
                held=_TIME,
                released_until={"type": ["string", "null"], "format": "date-time"},
            )
        ),
    ),
    "FeedRuns": _object(
        "feeds", feeds=_list(_object(" ".join([*_FEED, "runs"]), **_FEED, runs=_list(_object(_RUN_HAS, **_FEED_RUN))))
    ),
    "Agreements": _object("agreements", agreements=_list(_object(" ".join(_ADOPTION), **_ADOPTION))),
    "Agreement": _object(
        " ".join([*_ADOPTION, "document", "clauses", "approvals", "tightenings"]),
        **_ADOPTION,
        document={"type": "string", "description": "TOML, as it was approved."},
        clauses=_CLAUSES,
        approvals=_APPROVALS,
        tightenings=_list(_object(" ".join(_TIGHTENING), **_TIGHTENING, document=_TEXT, approvals=_APPROVALS)),
    ),
    "Pending": _object(
        "pending",
        pending=_list(
            _object(
                "agreement version sha256 impact_sha256 state proposed effective_from document clauses",
                agreement=_TEXT,
                version=_COUNT,
                sha256=_TEXT,
                impact_sha256=_TEXT,
                state={"enum": ["draft", "scheduled"]},
                proposed=_TIME,
                effective_from=_TIME,
                document=_TEXT,
                clauses=_CLAUSES,
                approved={"type": "object", "additionalProperties": _list(_TEXT)},
                needed={"type": "object", "additionalProperties": _COUNT},
                impact={"type": "object", "description": "What is approved with it; lines within a country as a commitment."},
                opening={"type": "object", "description": "Of the asker's country alone: what its commitment opens to."},
            )
        ),
    ),
    "Difference": _object(
        "old new pairs objects lines",
        old=_TEXT,
        new=_TEXT,
        pairs=_COUNTS,
        objects=_COUNTS,
        lines=_list(_object(" ".join([*_LINE, "examples"]), **_LINE, examples=_list(_TEXT))),
    ),
    "Access": _object(
        "member agreement number expires collections",
        member=_TEXT,
        agreement=_TEXT,
        number=_COUNT,
        expires=_TIME,
        collections=_list(
            _object(
                "collection clauses",
                collection=_TEXT,
                clauses=_list(
                    _object(
                        "clause text obligations may_block country tlp pap object_class confidence assurance",
                        clause=_TEXT,
                        text=_TEXT,
                        obligations={"type": "object", "additionalProperties": _TEXT},
                        may_block=_FLAG,
                        **{
                            name: _list(_TEXT)
                            for name in ("country", "tlp", "pap", "object_class", "confidence", "assurance")
                        },
                    )
                ),
            )
        ),
    ),
    "Leaf": {"type": "object", "description": "A ledger entry, byte for byte as it was hashed."},
    "AuditAnswer": {
        "description": "One line of a JSON Lines answer: its head, a row, its end, or the hub's seal on the lines before it.",
        "anyOf": [
            _object(
                "question number asked logs columns",
                question=_TEXT, number=_COUNT, asked={"type": "object"}, columns=_list(_TEXT),
                logs=_list(_object("log origin size root", log=_TEXT, origin=_TEXT, size=_COUNT, root=_TEXT)),
            ),
            _object("time log entry", time=_TIME, log={"type": "string", "pattern": "^(both|us|mx)(/[0-9]+)?$"}, entry=_COUNT),
            _object(
                "rows matched totals remarks more next",
                rows=_COUNT, matched=_COUNT, totals=_list({"type": "object"}), more=_FLAG, next={"type": ["string", "null"]},
                remarks=_list(_object("code en es", code=_TEXT, en=_TEXT, es=_TEXT)), judgement={"type": ["object", "null"]},
            ),
            _object("note", note=_TEXT),
        ],
    },
}  # fmt: skip
