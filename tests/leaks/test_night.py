"""Good nights over canary reports, and what persons do after them: no canary is to be found anywhere."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Stage
from tests.leaks.canaries import Planted, with_response
from tests.leaks.conftest import WatchedPipeline, bad_tables, nothing_leaks
from tests.leaks.spellings import address_spellings, fingerprint_spellings
from tests.tasks.conftest import DEMO
from tests.tasks.test_luigid import luigid
from tests.write_golden_reports import report_name

pytestmark = pytest.mark.one_server


def test_a_night(watched: WatchedPipeline) -> None:
    """Over the demo's reports and canaries of every kind, with luigid; and one of another bucket that fails,
    so that its state holds why."""
    watched.receive()
    watched.planted.write_one_of_each(watched.archive)
    configuration = watched.root / "luigi.cfg"
    with luigid(watched):  # which configures the pipeline anew, with the demo's table
        text = configuration.read_text()
        configuration.write_text(text.replace(str(DEMO / "bridge_table.json"), str(watched.bridge_table)))
        watched.nightly(None, "--log-level", "DEBUG")
        yesterday = watched.today - dt.timedelta(days=1)
        watched.planted.write(watched.layout.bucket(Stage.RAW, yesterday), 100)
        watched.verb("adopt", yesterday, yesterday)
        broken = watched.root / "broken.json"
        broken.write_text(bad_tables(watched)["no fingerprint"])
        configuration.write_text(text.replace(str(DEMO / "bridge_table.json"), str(broken)))
        watched.nightly(yesterday, expect=30)
    watched.verb("ledger", watched.today)
    assert watched.query("SELECT count(*) > 2000 FROM metrics") == [(True,)]
    assert len(list(watched.layout.public.rglob("*.json.gz"))) > 200
    assert list((watched.root / "tmp").rglob("*")) == [], "temporary files outside the private directory"
    state = (watched.root / "luigid" / "state").read_bytes()
    assert b"broken.json" in state, "why it failed"
    nothing_leaks(watched)


def test_the_search_of_a_night_is_not_blind(watched: WatchedPipeline) -> None:
    """The same search finds what somebody puts there by hand: in the mirror, a row, a log, a manifest."""
    watched.receive_canaries(300)
    watched.nightly()
    nothing_leaks(watched)
    text, quoted = next(iter(watched.planted.texts)), next(iter(watched.planted.quoted))
    address = next(iter(watched.planted.own))
    watched.query(f"UPDATE metrics SET input = 'http://{address}/'; COMMIT; SELECT 1")
    assert {one.file.name[:7] for one in watched.published()} == {"metrics"}
    watched.query("UPDATE metrics SET input = NULL; COMMIT; SELECT 1")
    page = watched.layout.public / "page.html"
    page.write_text(text)
    assert {one.file for one in watched.published()} == {page}
    page.write_text(quoted)
    nothing_leaks(watched)
    for place in (watched.layout.private / "manifests" / "x.json", watched.root / "tmp" / "x"):
        place.write_text(f"{text} {quoted}")
    watched.printed.append(quoted)
    leaks = watched.leaks()
    assert f"1 times '{watched.planted.texts[text]}'" in leaks
    for name in ("x.json:1", "x:1", "output.log:"):
        assert name in leaks


PAGE = "<p>a site that is considered illegal according to Belgian legislation, asked for by"


def test_what_is_released_and_what_is_listed_later(watched: WatchedPipeline) -> None:
    """A report that asks for a bridge is held, and comes out without it when a person says so; a bridge that
    is listed when its address is published already goes from mirror, rows and views."""
    watched.planted = planted = Planted()
    now = planted.bridge("a bridge of a question", known=True)
    spelled = [*address_spellings(now.address).values(), *fingerprint_spellings(now.fingerprint).values()]
    own = planted.address("own address in a question")
    asks = [with_response({"Location": "http://b.test/"}, f"{PAGE} {own}: {text}") for text in spelled]
    entries = [{"probe_ip": own, "test_keys": {"requests": [one], spelled[0]: own}} for one in asks]
    name = report_name(Path(planted.add("web_connectivity", entries)))
    day, table = watched.today, watched.root / "table.json"
    table.write_bytes(watched.bridge_table.read_bytes())
    for version in (4, 6):
        later = planted.bridge(f"listed later, IPv{version}", known=True, version=version)
        forms = [
            *address_spellings(later.address).values(),
            *fingerprint_spellings(later.fingerprint).values(),
        ]
        planted.add("tcp_connect", [{"input": later.place, "test_keys": {"failure": form}} for form in forms])
        planted.add("tcp_connect", [{"input": later.place, "test_keys": {"failure": later.address}}])
        host = f"[{later.address}]" if version == 6 else later.address
        blocked = {"input": f"http://{host}/", "probe_cc": "BE"}
        page = {**blocked, "test_keys": {"requests": [with_response(body=f"{PAGE} a volunteer")]}}
        planted.add("web_connectivity", [page])
        asked = {"test_keys": {"requests": [with_response(body=f"{PAGE} {form}") for form in forms]}}
        planted.add("web_connectivity", [{"input": "http://a.test/", "probe_cc": "BE", **asked}])
    watched.receive_canaries()
    watched.configure(sanitise__bridge_table=str(table))
    watched.nightly()
    assert {one.hit.secret for one in watched.published()} == {
        secret for secret, where in planted.where.items() if "later" in where
    }, "the later ones, whole"

    watched.verb("held", "release", day, name, "--reason", "no question")
    assert watched.query(f"SELECT count(*) FROM metrics WHERE report_filename LIKE '%{name}%'") == [
        (len(spelled),)
    ]
    about_now = {secret for secret, where in planted.where.items() if "question" in where}
    published = list(watched.published())
    assert about_now & {one.hit.secret for one in published} == set()
    places = {one.file.name for one in published}
    assert {"blockpage_urls"} | {one for one in places if "metrics" in one} < places, "rows, views and mirror"

    table.write_bytes(watched.bridge_table.read_bytes())
    watched.verb("resanitise", day, day)
    assert watched.query("SELECT count(*) FROM blockpage_urls WHERE input LIKE '%REDACTED%'") == [(2,)]
    assert f"{name}.json.gz" in {path.name for path in watched.layout.public.rglob("*.gz")}
    nothing_leaks(watched)
