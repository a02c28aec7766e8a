"""What is private stays inside: modes of files, and canaries that no log, page, mail or manifest shows."""

from __future__ import annotations

import contextlib
import email
import json
import os
import re
import socketserver
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Stage
from ooni_pipeline.database.embedded import LOG_NAME
from tests.tasks.conftest import DEMO, Pipeline
from tests.tasks.faulty import CANARY, OF_COMMANDS, OF_TASKS
from tests.tasks.test_luigid import ask, luigid

pytestmark = pytest.mark.one_server

NAME = "20160801T000000Z-{}-AS1-DE-probe-0.2.0.{}"


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The umask of somebody who does not care, for all that the test starts."""
    before = os.umask(0)
    yield
    os.umask(before)


@contextlib.contextmanager
def embedded(pipeline: Pipeline, bin_dir: Path, **more: str) -> Iterator[dict[str, str]]:
    """The pipeline with a PostgreSQL of its own, whose log can be read; the options that say so."""
    options = {"database__url": "embedded", "database__embedded_bin_dir": str(bin_dir), **more}
    pipeline.configure(**options)
    try:
        pipeline.verb("migrate")
        yield options
    finally:
        pipeline.verb("database", "stop")


def below(directory: Path) -> list[Path]:
    return [directory, *directory.rglob("*")]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_night_writes_is_for_its_owner_alone(
    pipeline: Pipeline, postgres_bin_dir: Path, workers: str
) -> None:
    pipeline.receive()
    fingerprint = next(iter(json.loads((DEMO / "bridge_table.json").read_bytes()).values()))["fingerprint"]
    held = NAME.format(f"web_connectivity-{fingerprint}", "json")
    (pipeline.archive / held).write_bytes(b'{"test_name": "web_connectivity", "input": "http://a.test/"}\n')
    day = str(pipeline.today)
    with embedded(pipeline, postgres_bin_dir):
        pipeline.nightly(None, "--workers", workers)
        pipeline.verb("forget", "normalise", day, day, "--country", "GR")
        pipeline.nightly(None, "--workers", workers)
        pipeline.verb("ledger", day)
        private = below(pipeline.layout.private)
        for kept in ("locks", "reports.sqlite", "rejected", "held", "id.key", LOG_NAME, "ooni_pipeline.conf"):
            assert any(path.name == kept for path in private), kept
        backup = below(pipeline.root / "backup")
        assert len(backup) > 50
        open_to_others = {
            str(path): oct(mode(path))
            for path in private + backup
            if mode(path) & 0o077 and not path.is_symlink()
        }
        assert open_to_others == {}
    public = below(pipeline.layout.public)
    assert {mode(path) for path in public if path.is_dir()} == {0o755}
    assert {mode(path) for path in public if path.is_file()} == {0o644}


@pytest.mark.usefixtures("open_umask")
def test_what_commands_write_is_for_its_owner_alone(pipeline: Pipeline) -> None:
    for day in ("2016-08-01", "2016-08-02"):
        pipeline.verb("adopt", "--empty", day, day)
    pipeline.verb("forget", "publish", "2016-08-01", "2016-08-01")
    private = below(pipeline.layout.private)
    assert len(private) > 20
    assert {mode(path) & 0o077 for path in private} == {0}


class Mailbox(socketserver.ThreadingTCPServer):
    """An SMTP server on loopback that takes every mail and keeps it in ``mails``: as it
    came, then its parts decoded."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.mails: list[str] = []


class _Receiver(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            word = line[:4].upper().strip()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                mail = b"".join(iter(self.rfile.readline, b".\r\n"))
                assert isinstance(self.server, Mailbox)
                message = email.message_from_bytes(mail)
                parts = [part.get_payload(decode=True) for part in message.walk()]
                texts = [part.decode() for part in parts if isinstance(part, bytes)]
                self.server.mails.append("\n".join([str(message), *texts]))
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")
            if word == b"QUIT":
                return


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def mailing(mailbox: Mailbox) -> dict[str, str]:
    return {
        "email__receiver": "operator@localhost",
        "email__sender": "luigi@localhost",
        "email__format": "plain",
        "smtp__host": "127.0.0.1",
        "smtp__port": str(mailbox.server_address[1]),
    }


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_nobody_foresaw_is_told_without_what_it_quotes(
    pipeline: Pipeline, mailbox: Mailbox, workers: str
) -> None:
    run = [sys.executable, "-m", "luigi", "--module", "tests.tasks.faulty", "AllFaults", "--workers", workers]
    with luigid(pipeline, **mailing(mailbox)) as url:
        output = pipeline.run(*run, expect=35)
        failed = ask(url, "task_list", status="FAILED", upstream_status="")
        pages = {
            told["params"]["fault"]: json.loads(ask(url, "fetch_error", task_id=task)["error"])
            for task, told in failed.items()
        }
    log = pipeline.root / "luigid"
    assert (log / "state").stat().st_size > 1000
    kept = [output, *mailbox.mails, *pages.values()]
    kept += [path.read_bytes().decode(errors="replace") for path in log.rglob("*") if path.is_file()]
    assert not [text for text in kept if CANARY in text]

    assert set(pages) == set(OF_TASKS)
    assert len(mailbox.mails) == len(OF_TASKS) + 1
    for fault, page in pages.items():
        assert "Traceback" not in page
        (line,) = (line for line in output.splitlines() if f"fault={fault})" in line and " failed " in line)
        assert page in line
        assert any(page in " ".join(mail.split()) for mail in mailbox.mails)
        if fault != "os":
            assert re.match(
                r'"?(report r1: )?unforeseen [\w.]+ at (tests\.tasks\.faulty|json\.decoder):\d+', page
            )
            assert "tests.tasks.faulty:" in page
    assert "; after ValueError at tests.tasks.faulty:" in pages["chained"]
    assert "bucket 2016-08-01: OSError; mend it and run FaultyReports again" in pages["os"]
    (line,) = (line for line in output.splitlines() if "Will not run" in line)
    assert "unforeseen KeyError at tests.tasks.faulty:" in line


@pytest.mark.parametrize("fault", OF_COMMANDS)
def test_a_command_tells_no_more(pipeline: Pipeline, fault: str) -> None:
    command = (sys.executable, "-m", "tests.tasks.faulty", fault)
    output = pipeline.run(*command, expect=None if fault == "interrupted" else 1)
    assert CANARY not in output
    assert "Traceback" not in output
    if fault == "interrupted":
        assert output == "interrupted\n"
    else:
        assert output.startswith("error: ") and "Error" in output


def canaries(archive: Path) -> None:
    """Reports with the canary in what no reader takes and in what each library quotes."""
    entry = {"test_name": "web_connectivity", "probe_cc": "DE", "probe_asn": "AS1", "test_keys": {}}
    good = json.dumps({**entry, "input": f"http://{CANARY}.test/"})
    broken = [
        good, good[:-1], f'{{"{CANARY}": {CANARY}}}', f'["{CANARY}"]', f'"{CANARY}"', "[" * 2000 + CANARY,
        good.replace("test/", "test/\udcff"), f'{{"{CANARY}": {"9" * 5000}}}', good + good,
    ]  # fmt: skip
    lines = b"\n".join(line.encode(errors="surrogateescape") for line in broken)
    (archive / NAME.format("web_connectivity-a", "json")).write_bytes(lines)
    header = "---\ntest_name: http_requests\nprobe_cc: DE\nprobe_asn: AS1\n...\n"
    bad = [
        f"a: [{CANARY}", f"a: !!python/object/apply:os.{CANARY} [x]", f"a: *{CANARY}", f"a: {{{CANARY}: ]",
        f"a: !!int {CANARY}", f"a: !!timestamp {CANARY}", f"- {CANARY}", f"a: !!binary {CANARY}!",
        f'a: "\\{CANARY}',
    ]  # fmt: skip
    documents = header + "".join(f"---\n{text}\n...\n" for text in bad) + f"---\na: {CANARY}"
    (archive / NAME.format("http_requests-b", "yaml")).write_text(documents)
    for number, text in enumerate([f"---\na: [{CANARY}\n...\n", f"---\n- {CANARY}\n...\n", f"{CANARY}: 1\n"]):
        (archive / NAME.format(f"http_requests-c{number}", "yaml")).write_text(text)
    (archive / NAME.format("http_requests-d", "yaml.gz")).write_bytes(b"\x1f\x8b" + CANARY.encode() * 9)


#: How the database may refuse a row: what PostgreSQL or a trigger says of it quotes the row.
REFUSALS = {
    "detail": "ALTER TABLE metrics ADD CHECK (input NOT LIKE '%canary%')",
    "message": "ALTER TABLE metrics ADD CHECK (CASE WHEN input LIKE '%canary%' "
    "THEN input::timestamp IS NULL ELSE true END)",
    "trigger": "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.input LIKE "
    "'%canary%' THEN RAISE EXCEPTION 'I dislike %', NEW.input; END IF; RETURN NEW; END $$; "
    "CREATE TRIGGER fail BEFORE INSERT ON metrics FOR EACH ROW EXECUTE FUNCTION fail()",
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_no_canary_gets_out_of_a_night_that_meets_them(
    pipeline: Pipeline, postgres_bin_dir: Path, mailbox: Mailbox, refusal: str
) -> None:
    fails = refusal == "trigger"  # of the others the row is set aside
    pipeline.receive("-GR-")
    canaries(pipeline.archive)
    with embedded(pipeline, postgres_bin_dir) as options, luigid(pipeline, **options, **mailing(mailbox)):
        pipeline.url = pipeline.verb("database", "url").strip()
        pipeline.query(f"{REFUSALS[refusal]}; COMMIT; SELECT 1")
        output = pipeline.nightly(None, "--workers", "2", expect=30 if fails else 0)
        output += pipeline.verb("ledger", pipeline.today, expect=None)
    texts = {"output": output, "mails": "\n".join(mailbox.mails)}
    places = [
        pipeline.root / "luigid",
        pipeline.layout.private / "manifests",
        pipeline.layout.private / "locks",
    ]
    logs = list((pipeline.layout.private / "database").glob(f"{LOG_NAME}*"))
    for path in [path for place in places for path in below(place)] + logs:
        if path.is_file():
            texts[str(path)] = path.read_bytes().decode(errors="replace")
    assert logs and (pipeline.root / "luigid" / "state").exists()
    assert [name for name, text in texts.items() if CANARY in text] == []

    rejected = pipeline.manifest(Stage.NORMALISED).tally().rejected
    assert {"not_json", "not_yaml", "unsafe_tag", "not_a_mapping", "too_deep"} <= set(rejected), "it met them"
    if fails:
        assert "the database answers P0001: raise exception" in output
        assert len(mailbox.mails) == 1 and "P0001" in mailbox.mails[0]
    else:
        (refused,) = pipeline.layout.rejected_rows(pipeline.today).iterdir()
        assert refused.read_text().count("SQLSTATE 2") == 1
