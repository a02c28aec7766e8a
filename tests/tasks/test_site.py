"""The public site, made by a real night and read through a real nginx."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest

from tests.parts.nginx import Nginx, serving
from tests.tasks.conftest import Pipeline

pytestmark = pytest.mark.one_server

VIEWS = ("blockpage_count", "blockpage_urls", "country_counts", "identified_vendors")


@pytest.fixture
def nginx(pipeline: Pipeline) -> Iterator[Nginx]:
    pipeline.layout.public.mkdir(exist_ok=True)
    with serving(pipeline.root / "nginx", pipeline.layout.public) as server:
        yield server


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  # our own nginx
        data: bytes = answer.read()
        return data


class Links(HTMLParser):
    """The tags and the links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src", "action")]


def crawl(top: str) -> dict[str, bytes]:
    """Everything that a link of a page leads to; each answers, and none leads elsewhere."""
    found: dict[str, bytes] = {}
    wanted = [f"{top}/"]
    while wanted:
        url = wanted.pop().partition("#")[0]
        if url in found:
            continue
        assert url.startswith(top), f"a link leads to {url}"
        found[url] = get(url)
        if url.endswith((".html", "/")):
            links = Links(found[url].decode())
            assert not links.tags & {"script", "iframe", "form", "img", "object", "base"}
            wanted += [urljoin(url, link) for link in links.links]
    return found


def test_every_link_of_every_page_leads_to_something(pipeline: Pipeline, nginx: Nginx) -> None:
    pipeline.receive("-GR-", "-IR-")
    pipeline.nightly()
    found = crawl(nginx.url)
    public = pipeline.layout.public
    there = {path for path in public.rglob("*") if path.is_file()}
    reached = {public / urlsplit(url).path.lstrip("/") for url in found}
    unlinked = {path.name for path in there - reached}
    assert unlinked <= {"index.json", "SHA256SUMS"}, "nothing lies there that no page shows"
    assert f"Data up to <b>{pipeline.today}</b>".encode() in found[f"{nginx.url}/"]
    assert b"Withdrawn since" not in found[f"{nginx.url}/{pipeline.today}/index.html"]
