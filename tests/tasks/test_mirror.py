"""``python -m tasks.mirror`` over a real ssh, by an account that may only read; and what is served then."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ooni_pipeline.bucket.layout import Stage
from tests.parts.sshd import Sshd, can_sshd, keygen, running_sshd
from tests.tasks.conftest import Pipeline

pytestmark = [
    pytest.mark.one_server,
    pytest.mark.skipif(not can_sshd(), reason="no sshd, rsync or rrsync here: apt-get install them"),
]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as server:
        yield server


def readers_key(sshd: Sshd, public: Path) -> Path:
    """A key whose account may read the public tree and nothing else, as the README has it."""
    key = sshd.root / "mirror"
    keygen(key)
    sshd.authorize(key, f"{shutil.which('rrsync')} -ro {public}")
    return key


def served(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file() and ".spool" not in path.parts
    }


def configure(pipeline: Pipeline, **options: str) -> Path:
    directory = pipeline.root / "mirror"
    chosen = {f"mirror__{name}": value for name, value in options.items()}
    pipeline.configure(**{"mirror__directory": str(directory), **chosen})
    return directory


def test_a_mirror_follows_over_ssh(pipeline: Pipeline, sshd: Sshd) -> None:
    pipeline.receive("-GR-")
    pipeline.nightly()
    public = pipeline.layout.public
    key = readers_key(sshd, public)
    options = {
        "source": f"ssh://{sshd.user}@{sshd.host}:{sshd.port}/",
        "ssh_key": str(key),
        "known_hosts": str(sshd.known_hosts),
        "ssh_timeout": "20",
    }
    directory = configure(pipeline, **options)
    # As on the mirror's machine: a luigi.cfg with this section alone.
    config = pipeline.root / "luigi.cfg"
    config.write_text("[mirror" + config.read_text().partition("[mirror")[2].partition("\n[")[0] + "\n")
    assert "1 buckets came or were replaced, 0 went" in pipeline.verb("mirror")
    assert served(directory) == served(public)
    assert pipeline.verb("mirror", "--quiet") == ""
    assert (directory / str(pipeline.today)).stat().st_mode & 0o777 == 0o755

    # What goes there goes here, also out of the spool.
    bucket = pipeline.layout.bucket(Stage.PUBLISHED, pipeline.today)
    gone = next(bucket.glob("*.gz"))
    lines = (bucket / "SHA256SUMS").read_text().splitlines(keepends=True)
    gone.unlink()
    (bucket / "SHA256SUMS").write_text("".join(line for line in lines if gone.name not in line))
    assert "1 buckets came or were replaced, 0 went" in pipeline.verb("mirror")
    assert served(directory) == served(public)
    everywhere = [path for path in directory.rglob("*") if path.is_file()]
    assert all(gone.name not in str(path) for path in everywhere)
    assert (
        gone.name.encode()
        not in (directory / ".spool/sums" / str(pipeline.today) / "SHA256SUMS").read_bytes()
    )

    # A host key that is another one stops it, and says what to do; nothing that is served changes.
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    before = served(directory)
    said = pipeline.verb("mirror", expect=1)
    assert "host key is not the one in" in said and "Traceback" not in said
    sshd.stop()
    assert "connection was refused" in pipeline.verb("mirror", expect=1)
    assert served(directory) == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "source is empty"),
        ("relative/path", "source is no ssh://user@host:port/directory"),
        ("ssh://user:s3cret@host/", "has a password in it"),
        ("ssh://host/", "does not name a user and a host"),
        ("ssh://[::1/", "is no"),
        ("/nowhere/at/all", "/nowhere/at/all is no directory"),
    ],
)
def test_a_source_that_is_none(tmp_path: Path, source: str, message: str) -> None:
    pipeline = Pipeline(tmp_path, "embedded")
    configure(pipeline, source=source)
    said = pipeline.verb("mirror", expect=1)
    assert message in said and "s3cret" not in said and "Traceback" not in said


def test_what_is_withdrawn_goes_from_every_page_and_from_the_mirror(pipeline: Pipeline) -> None:
    """By name from all files of the public tree, of the mirror and its spool; what is left is a number."""
    pipeline.receive("-GR-", "-TR-")
    pipeline.nightly()
    directory = configure(pipeline, source=str(pipeline.layout.public))
    pipeline.verb("mirror")
    (bucket,) = pipeline.layout.public.glob("20*")
    report = next(path.name for path in bucket.glob("*-TR-*.gz")).removesuffix(".gz")
    (rid,) = {report.split("-")[2]}
    assert any(rid in text for text in texts(directory))
    where = f"{pipeline.today}/{report}"
    pipeline.verb("withdraw", "--file", where, "--why", "a volunteer asked", "--yes")
    pipeline.verb("mirror")
    assert served(directory) == served(pipeline.layout.public)
    for tree in (directory, pipeline.layout.public):
        assert not any(rid in text for text in texts(tree))
        assert "Withdrawn since: 1 reports" in (tree / str(pipeline.today) / "index.html").read_text()
    assert '"withdrawn_reports": 1' in (directory / "index.json").read_text()


def texts(tree: Path) -> list[str]:
    """Names and contents of all files, unpacked."""
    found = []
    for path in tree.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            text = gzip.decompress(data) if path.suffix == ".gz" else data
            found.append(f"{path}\n{text.decode()}")
    return found
