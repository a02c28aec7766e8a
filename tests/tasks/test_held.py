"""Reports that are held: the alarm, what a person is shown, and what becomes of what the person decides."""

from __future__ import annotations

import datetime as dt
import email
import gzip
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ooni_pipeline.bucket.decisions import decide
from ooni_pipeline.bucket.layout import Stage
from tests.tasks.conftest import DEMO, Pipeline

pytestmark = pytest.mark.one_server

BRIDGE = next(place.rpartition(":")[0] for place in json.loads((DEMO / "bridge_table.json").read_bytes()))
REPORT = "20260801T000000-web_connectivity-asks-AS1-GR-probe-0.2.0"
NAME_IN_THE_ARCHIVE = REPORT.replace("000000-", "000000Z-")
CANARY = "canary-of-the-content"


def receive_a_question(pipeline: Pipeline) -> None:
    """A report that names a bridge where none is expected, and others that do not."""
    pipeline.receive("-GR-")
    lines = []
    for number in range(3):
        body = f"{CANARY} is it {BRIDGE}?" if number else "nothing"
        entry = {
            "test_name": "web_connectivity", "input": f"http://{number}.test/", "probe_cc": "GR",
            "probe_asn": "AS1", "probe_ip": "127.0.0.1", "report_id": "asks", "data_format_version": "0.2.0",
            "test_keys": {"requests": [{"response": {"body": body, "code": 200, "headers": {}}}]},
        }  # fmt: skip
        lines.append(json.dumps(entry))
    (pipeline.archive / f"{NAME_IN_THE_ARCHIVE}.json").write_text("\n".join(lines) + "\n")


def mirror(pipeline: Pipeline) -> dict[str, bytes]:
    bucket = pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today)
    return {path.name: gzip.decompress(path.read_bytes()) for path in bucket.glob("*.gz")}


def rows(pipeline: Pipeline) -> int:
    return int(pipeline.query("SELECT count(*) FROM metrics WHERE report_id = 'asks'")[0][0])


def in_views(pipeline: Pipeline) -> object:
    return pipeline.query("SELECT count FROM country_counts WHERE probe_cc = 'GR'")[0][0]


def test_nothing_of_it_is_published_and_a_person_is_told(pipeline: Pipeline) -> None:
    receive_a_question(pipeline)
    output = pipeline.nightly(None, "--log-level", "ERROR")
    day = pipeline.today
    assert f"bucket {day}: 1 reports are held for a person: python -m tasks.held list {day} {day}" in output
    assert (rows(pipeline), [name for name in mirror(pipeline) if "asks" in name]) == (0, [])

    for arguments in ((), (day,), (day, day)):
        listed = pipeline.verb("held", "list", *arguments, expect=1)
        assert f"{day}  {REPORT}  3 of 3 entries  bridge_elsewhere  waits 0 d 0 h" in listed
    assert f"held list {day} {day}" in pipeline.verb("ledger", "--quiet", day)
    shown = pipeline.verb("held", "show", day, f"{REPORT}.json")
    assert str(pipeline.layout.held(day) / f"{REPORT}.jsonl") in shown
    assert shown.count("    line ") == 3
    for told in (output, listed, shown):
        assert CANARY not in told
        assert BRIDGE not in told

    pipeline.verb("forget", "sanitise", day, day)
    assert "held for a person" not in pipeline.nightly(None, "--log-level", "ERROR"), "it was told before"


@pytest.mark.parametrize("ending", ["", ".json", ".json.gz"])
def test_released_it_is_published_without_the_bridge(pipeline: Pipeline, ending: str) -> None:
    receive_a_question(pipeline)
    pipeline.nightly()
    before, others = in_views(pipeline), mirror(pipeline)
    day = pipeline.today
    told = pipeline.verb("held", "release", day, f"{REPORT}{ending}", "--reason", "a list of relays")
    assert f"{REPORT}: 3 measurements to publish, 0 stay held" in told
    assert rows(pipeline) == 3
    assert in_views(pipeline) == before + 3  # type: ignore[operator]
    published = mirror(pipeline)
    mine = published.pop(f"{REPORT}.json.gz").decode()
    assert published == others
    assert BRIDGE not in mine
    assert mine.count(f"{CANARY} is it [REDACTED]?") == 2
    assert pipeline.verb("held", "list") == ""
    pipeline.verb("ledger", day)
    case = json.loads(pipeline.layout.decisions(day).read_bytes())["reports"][REPORT]
    assert (case["decision"], case["reason"]) == ("release", "a list of relays")
    assert case["by"]
    assert case["since"] <= case["when"]

    for stage in ("sanitise", "normalise"):
        pipeline.verb("forget", stage, day, day)
        pipeline.nightly()
        assert rows(pipeline) == 3, "it stays released"
    pipeline.verb("held", "drop", day, REPORT)  # it was a mistake
    assert (rows(pipeline), mirror(pipeline)) == (0, others)


def test_dropped_it_is_never_published(pipeline: Pipeline) -> None:
    receive_a_question(pipeline)
    pipeline.nightly()
    before, others = in_views(pipeline), mirror(pipeline)
    day = pipeline.today
    assert f"{REPORT}: is never published" in pipeline.verb("held", "drop", day, REPORT)
    assert pipeline.verb("held", "list") == ""
    for stage in (None, "sanitise"):
        if stage:
            pipeline.verb("forget", stage, day, day)
            pipeline.nightly()
        assert (rows(pipeline), in_views(pipeline), mirror(pipeline)) == (0, before, others)
        tally = pipeline.manifest(Stage.SANITISED).tally()
        assert (dict(tally.rejected), tally.held, tally.missing()) == ({"dropped_by_a_person": 3}, 0, 0)
        kept = pipeline.layout.rejected(Stage.SANITISED, day) / f"{REPORT}.json"
        assert kept.read_text().count(BRIDGE) == 2
        assert list(pipeline.layout.held(day).iterdir()) == []
        assert "dropped_by_a_person 3" in pipeline.verb("ledger", day)


@pytest.mark.parametrize(("others", "reason"), [(200, None), (201, "addresses_beside_bridge")])
def test_a_list_of_addresses_with_a_bridge_in_it(pipeline: Pipeline, others: int, reason: str | None) -> None:
    """Where a bridge is expected, among so many others that somebody asks which of them it is."""
    places = [*(f"198.51.{number >> 8}.{number & 255}:443" for number in range(1, others)), f"{BRIDGE}:443"]
    entry = {"test_name": "tcp_connect", "data_format_version": "0.2.0", "test_keys": {"connection": "x"}}
    pipeline.archive.joinpath(f"{NAME_IN_THE_ARCHIVE}.json").write_text(
        "".join(json.dumps({**entry, "input": place}) + "\n" for place in places)
    )
    pipeline.nightly()
    listed = pipeline.verb("held", "list", expect=1 if reason else 0)
    assert (f"{others} of {others} entries  {reason}" in listed) is bool(reason)
    assert pipeline.query("SELECT count(*) FROM metrics") == [(0 if reason else others,)]


def test_a_known_leaker_is_no_question(pipeline: Pipeline) -> None:
    """Nobody has to look at it: it is rejected as a whole."""
    entry = {"test_name": "ndt", "data_format_version": "0.2.0", "software_name": "ooniprobe-android",
             "software_version": "2.0.0", "test_keys": {}}  # fmt: skip
    pipeline.archive.joinpath(f"{NAME_IN_THE_ARCHIVE}.json").write_text(json.dumps(entry) + "\n")
    pipeline.nightly()
    assert pipeline.verb("held", "list") == ""
    assert [record.rejected for record in pipeline.manifest(Stage.SANITISED).reports] == ["known_leaker"]
    assert mirror(pipeline) == {}
    pipeline.verb("ledger", pipeline.today)


def test_only_the_report_is_done_again(pipeline: Pipeline) -> None:
    receive_a_question(pipeline)
    pipeline.nightly()
    bucket = pipeline.layout.bucket(Stage.SANITISED, pipeline.today)
    before = {path.name: path.stat().st_mtime_ns for path in bucket.iterdir()}
    pipeline.verb("held", "release", pipeline.today, REPORT)
    after = {path.name: path.stat().st_mtime_ns for path in bucket.iterdir()}
    assert after.pop(f"{REPORT}.json")
    assert after == before


def test_names_that_are_not_held(pipeline: Pipeline) -> None:
    receive_a_question(pipeline)
    output = pipeline.verb("held", "release", pipeline.today, REPORT, expect=1)
    assert f"luigi --module tasks.nightly Nightly --bucket-date {pipeline.today}" in output
    pipeline.nightly()
    for verb in ("show", "release", "drop"):
        output = pipeline.verb("held", verb, pipeline.today, "something", expect=1)
        assert f"something is not held in bucket {pipeline.today}; held are: {REPORT}" in output
    output = pipeline.verb("held", "drop", pipeline.today, REPORT, "something", expect=1)
    assert not decisions(pipeline), "all of them or none"


def decisions(pipeline: Pipeline) -> list[str]:
    cases = json.loads(pipeline.layout.decisions(pipeline.today).read_bytes())["reports"]
    return [case["decision"] for case in cases.values() if "decision" in case]


def test_a_report_whose_name_holds_a_bridge_cannot_be_released(pipeline: Pipeline) -> None:
    table = pipeline.root / "bridge_table.json"
    fingerprint = "ab" * 20
    table.write_text(json.dumps({"192.0.2.1:443": {"fingerprint": fingerprint}}))
    pipeline.configure(sanitise__bridge_table=str(table))
    pipeline.archive.joinpath(f"20260801T000000Z-ndt-{fingerprint}-AS1-GR-probe-0.2.0.json").write_text(
        '{"test_name": "ndt", "data_format_version": "0.2.0", "test_keys": {}}\n'
    )
    pipeline.nightly()
    report = pipeline.manifest(Stage.SANITISED).reports[0].report
    assert "bridge_in_its_name" in pipeline.verb("held", "list", expect=1)
    assert "can only be dropped" in pipeline.verb("held", "release", pipeline.today, report, expect=1)
    pipeline.verb("held", "drop", pipeline.today, report)
    assert pipeline.verb("held", "list") == ""


def test_decided_and_then_killed(pipeline: Pipeline) -> None:
    """Between the decision and what follows from it: the list says so, and any later run follows it."""
    receive_a_question(pipeline)
    pipeline.nightly()
    day = pipeline.today
    now = dt.datetime(2026, 8, 2, 12)
    decide(pipeline.layout, day, [REPORT], decision="release", now=now, by="somebody")
    assert "release decided" in (listed := pipeline.verb("held", "list", expect=1))
    assert "by somebody, not done yet" in listed
    other = next(one.report for one in pipeline.manifest(Stage.SANITISED).reports if "asks" not in one.report)
    pipeline.verb("forget", "sanitise", day, day, "--asn", other.split("-AS")[1].split("-")[0])
    pipeline.nightly()
    assert rows(pipeline) == 3, "not carried over: another decision holds"
    assert pipeline.verb("held", "list") == ""


def test_what_cannot_be_done_at_once_is_told(pipeline: Pipeline) -> None:
    receive_a_question(pipeline)
    pipeline.nightly()
    pipeline.layout.manifest(Stage.NORMALISED, pipeline.today).rename(pipeline.root / "aside.json")
    output = pipeline.verb("held", "release", pipeline.today, REPORT, expect=1)
    assert "error: SanitiseReports of bucket" in output
    assert f"luigi --module tasks.nightly Nightly --bucket-date {pipeline.today}" in output
    (pipeline.root / "aside.json").rename(pipeline.layout.manifest(Stage.NORMALISED, pipeline.today))
    pipeline.nightly()
    assert rows(pipeline) == 3


def test_entries_that_cannot_be_cut_stay_held_and_wait_for_nobody(pipeline: Pipeline) -> None:
    """A bridge where no marker can stand: released, the rest of the report is what it was."""
    table = pipeline.root / "bridge_table.json"
    digits = "1234567890" * 4
    table.write_text(json.dumps({"192.0.2.1:443": {"fingerprint": digits}}))
    pipeline.configure(sanitise__bridge_table=str(table))
    pipeline.archive.joinpath("20260801T000000Z-ndt-number-AS1-GR-probe-0.2.0.json").write_text(
        '{"test_name": "ndt", "data_format_version": "0.2.0", "test_keys": {"a": 1}}\n'
        f'{{"test_name": "ndt", "data_format_version": "0.2.0", "test_keys": {{"a": {digits}}}}}\n'
    )
    pipeline.nightly()
    report = pipeline.manifest(Stage.SANITISED).reports[0].report
    listed = pipeline.verb("held", "list", expect=1)
    if "1 of 2 entries  still_leaks" in listed:  # else it is held as a whole, which is as good
        shown = pipeline.verb("held", "show", pipeline.today, report)
        assert "line 1: still_leaks, " in shown
        assert digits not in shown
    pipeline.verb("held", "release", pipeline.today, report)
    assert "cannot be cut and stay held" in pipeline.verb("held", "list")
    assert pipeline.query("SELECT count(*) FROM metrics") == [(1,)]


class _Mailbox(socketserver.StreamRequestHandler):
    """A server for mail that takes everything."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            command = line[:4].upper()
            if command == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                for text in self.rfile:
                    if text == b".\r\n":
                        break
                    self.server.mails.append(text.decode())  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 well\r\n")


@contextmanager
def mailbox() -> Iterator[tuple[int, list[str]]]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mailbox) as server:
        server.mails = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], server.mails  # type: ignore[attr-defined]
        server.shutdown()


def test_a_mail_where_one_is_wanted(pipeline: Pipeline) -> None:
    receive_a_question(pipeline)
    with mailbox() as (port, mails):
        wanted = {
            "email__receiver": "operator@pipeline.test",
            "smtp__host": "127.0.0.1",
            "smtp__port": str(port),
        }
        pipeline.configure(**wanted)
        pipeline.nightly()
    mail = email.message_from_string("".join(mails))
    assert mail["To"] == "operator@pipeline.test"
    assert mail["Subject"] == f"bucket {pipeline.today}: 1 reports are held for a person"
    text = "".join(bytes(part.get_payload(decode=True)).decode() for part in mail.get_payload())  # type: ignore[union-attr]
    assert f"python -m tasks.held list {pipeline.today} {pipeline.today}" in text
    assert CANARY not in text
    assert REPORT not in text


def test_a_mail_that_cannot_be_sent_stops_nothing(pipeline: Pipeline) -> None:
    receive_a_question(pipeline)
    wanted = {"email__receiver": "operator@pipeline.test", "smtp__host": "127.0.0.1", "smtp__port": "1"}
    pipeline.configure(**wanted)
    output = pipeline.nightly(None, "--log-level", "ERROR")
    assert "1 reports are held for a person" in output
    assert "Not able to connect to smtp server" in output
