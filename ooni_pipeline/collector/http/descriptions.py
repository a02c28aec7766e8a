"""What openapi.json says of the collector's routes: bodies are read raw, so the framework cannot tell."""

from __future__ import annotations

from typing import Any

from ooni_pipeline.collector.http.fields import LONGEST_TIME, MOST_HASHES, PATTERNS, REQUIRED

_ANY_BODY = "Any Content-Type, or none. Content-Encoding may be gzip or zstd."


def _schema(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _text(name: str, description: str = "") -> dict[str, Any]:
    told = {"type": "string", "pattern": f"^{PATTERNS[name]}$"}
    return {**told, "description": description} if description else told


def _or_nothing(schema: dict[str, Any]) -> dict[str, Any]:
    """null and an empty string are as if the field was not there."""
    return {"anyOf": [schema, {"type": "null"}, {"const": ""}]}


_FORMAT = _or_nothing({"enum": ["json", "yaml"]})
_SOFTWARE = {name: _text(name) for name in REQUIRED}
_PLACE = {
    "probe_asn": _or_nothing(_text("probe_asn", "AS0 when unknown, the default.")),
    "probe_cc": _or_nothing(_text("probe_cc", "ZZ when unknown, the default.")),
    "data_format_version": _or_nothing(_text("data_format_version", "0.1.0 is the default.")),
    "test_start_time": _or_nothing(
        {
            "type": "string",
            "maxLength": LONGEST_TIME,
            "description": "UTC, 2016-08-01 12:00:00; default: now.",
        }
    ),
    "input_hashes": _or_nothing(
        {
            "type": "array",
            "maxItems": MOST_HASHES,
            "items": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$"},
        }
    ),
}
_CREATE = _schema(
    {
        **_SOFTWARE,
        **_PLACE,
        "format": {**_FORMAT, "description": "yaml is the default."},
        "test_helper": _or_nothing(_text("test_helper", "Answered with its address.")),
        "content": {"description": "The header document of a YAML client, as text."},
    },
    REQUIRED,
)
_CONTENT = {
    "anyOf": [{"type": "object"}, {"type": "string"}],
    "description": "JSON: an object. YAML: a string.",
}
_UPDATE = _schema({"content": _CONTENT, "format": _FORMAT}, ("content",))
_UPDATE_OF_OLD = _schema(
    {"report_id": _text("report_id"), "content": _CONTENT, "format": _FORMAT}, ("report_id", "content")
)
_ENTRY = _schema({**_SOFTWARE, **_PLACE}, REQUIRED)
_ID = {"type": "string", "pattern": "^[0-9]{8}T[0-9]{6}Z_AS[0-9]{1,10}_[A-Za-z0-9]{50}$"}
_CREATED = _schema(
    {
        "backend_version": {"type": "string"},
        "supported_formats": {"type": "array", "items": {"enum": ["yaml", "json"]}},
        "report_id": _ID,
        "test_helper_address": {"type": "string"},
    },
    ("backend_version", "supported_formats", "report_id"),
)
_DONE = _schema({"status": {"const": "success"}}, ("status",))
_SUBMITTED = _schema(
    {
        "report_id": _ID,
        "measurement_id": {
            "type": "string",
            "format": "uuid",
            "description": "The first 16 bytes of the SHA-256 of the entry's bytes, line ends as spaces.",
        },
    },
    ("report_id", "measurement_id"),
)
ERROR = _schema({"error": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}, ("error",))
#: Every status that any request may be answered with, and why.
REFUSALS = {
    400: "A field is missing (missing-request-field NAME) or not as it must be (invalid-request-field NAME, "
    "invalid-format-field); the body is no JSON object (invalid-request) or not packed as it says "
    "(invalid-content-encoding).",
    404: "report-not-found: never made, closed, or archived because it was silent. test-helper-not-found.",
    408: "The request came too slowly.",
    413: "The body is too large, as sent or unpacked.",
    415: "The Content-Encoding is neither gzip nor zstd.",
    429: "Too many requests, or too many open reports, from one address.",
    500: "A fault of the collector.",
    503: "Too much at a time.",
    507: "The disk is full.",
}


_IN_PATH = {"name": "report_id", "in": "path", "required": True, "schema": _text("report_id")}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def operation(
    summary: str,
    description: str,
    reply: dict[str, Any],
    body: dict[str, Any] | None = None,
    parameters: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    """The keyword arguments of a route: its description, and the schemas of its request and its answers."""
    refused = {status: {"description": why, "content": _json(ERROR)} for status, why in REFUSALS.items()}
    sent: dict[str, Any] = {"parameters": list(parameters)} if parameters else {}
    if body is not None:
        sent["requestBody"] = {"required": True, "description": _ANY_BODY, "content": _json(body)}
    return {
        "summary": summary,
        "description": description,
        "responses": {200: {"description": "Done.", "content": _json(reply)}, **refused},
        "openapi_extra": sent,
    }


CREATE = operation("Make a report", "The first request of each probe run.", _CREATED, _CREATE)
UPDATE = operation("Add an entry", "It is on disk when this is answered.", _DONE, _UPDATE, (_IN_PATH,))
UPDATE_OF_OLD = operation(
    "Add an entry, as until 2015", "The report is named in the body.", _DONE, _UPDATE_OF_OLD
)
CLOSE = operation(
    "Finish a report",
    "It goes to the archive. One that nobody finishes goes there when it was silent.",
    _DONE,
    None,
    (_IN_PATH,),
)
SUBMIT = operation(
    "A report of one entry", "In one request: the entry, or {format, content} around it.", _SUBMITTED, _ENTRY
)
