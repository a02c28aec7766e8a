"""The frame of every page, and how what probes sent is shown on it: as text, whatever it is."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

DATA = Path(__file__).with_name("data")
#: So many characters of a text of a stranger's are shown.
_MOST = 120

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<link rel="stylesheet" href="{top}style.css">
</head>
<body>
<nav><a href="{top}index.html">Measurements</a> <a href="{top}countries/index.html">Countries</a>
<a href="{top}views/index.html">Tables</a> <a href="{top}about.html">How to use this</a></nav>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title: str, body: str, depth: int) -> str:
    """A whole page, of a file that lies ``depth`` directories below the top. ``body`` is HTML."""
    return _PAGE.format(title=html.escape(title), body=body, top="../" * depth)


def shown(text: str | None, most: int = _MOST) -> str:
    """A stranger's text as HTML: cut, escaped, control characters and those that turn the direction of
    writing spelled out, and isolated, so that it cannot reorder what stands beside it."""
    text = text or ""
    cut = text[:most] + ("…" if len(text) > most else "")
    visible = "".join(char if char.isprintable() else f"\\u{{{ord(char):x}}}" for char in cut)
    return f"<bdi>{html.escape(visible)}</bdi>"


def link(path: str, text: str) -> str:
    """A link to a file of this site, never to what was tested. ``text`` is HTML."""
    return f'<a href="{html.escape(quote(path))}">{text}</a>'


def number(value: int | None) -> str:
    """With thin gaps between thousands; a question mark where it is not known."""
    return "?" if value is None else f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def moment(value: dt.datetime | None) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls by itself on a narrow screen. ``heads`` begin with ``#`` over numbers and with
    ``~`` over long text; the cells are HTML."""
    kinds = [{"#": "number", "~": "text"}.get(head[:1], "") for head in heads]
    classes = [f' class="{kind}"' if kind else "" for kind in kinds]
    top = "".join(
        f"<th{css}>{html.escape(head.lstrip('#~'))}</th>" for css, head in zip(classes, heads, strict=True)
    )
    lines = "\n".join(
        "<tr>" + "".join(f"<td{css}>{cell}</td>" for css, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>'
    )
