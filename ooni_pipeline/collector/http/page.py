"""The documentation for people: one page of HTML made of openapi.json, without scripts and other hosts.

The framework's own page loads scripts from elsewhere, and would show who reads it to somebody else.
"""

from __future__ import annotations

import html
import json
from typing import Any

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
pre {{ background: #f4f4f4; padding: 1em; overflow: auto; }} td {{ vertical-align: top; padding: 0 1em 0 0; }}
</style></head><body><h1>{title}</h1><p>{description}
All of it for programs: <a href="openapi.json">openapi.json</a>.</p>
"""


def page(openapi: dict[str, Any]) -> str:
    """The page of an OpenAPI description."""
    about = openapi["info"]
    parts = [_HEAD.format(title=html.escape(about["title"]), description=html.escape(about["description"]))]
    for path, operations in openapi["paths"].items():
        in_order = sorted(operations, key="post".__ne__)  # a report is made before it is added to
        parts += [_operation(path, method, operations[method]) for method in in_order]
    return "".join([*parts, "</body></html>\n"])


def _operation(path: str, method: str, told: dict[str, Any]) -> str:
    parts = [
        f"<h2>{html.escape(method.upper())} {html.escape(path)}</h2>",
        f"<p>{html.escape(told.get('summary', ''))}. {html.escape(told.get('description', ''))}</p>",
    ]
    body = told.get("requestBody")
    if body:
        parts.append(f"<p>{html.escape(body.get('description', ''))}</p>{_schema(body)}")
    rows = []
    for status, reply in told["responses"].items():
        shown = _schema(reply) if status.startswith("2") else ""
        rows.append(f"<tr><td>{status}</td><td>{html.escape(reply.get('description', ''))}{shown}</td></tr>")
    return "".join([*parts, "<table>", *rows, "</table>\n"])


def _schema(told: dict[str, Any]) -> str:
    schema = told.get("content", {}).get("application/json", {}).get("schema")
    return f"<pre>{html.escape(json.dumps(schema, indent=2))}</pre>" if schema else ""
