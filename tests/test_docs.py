"""README, luigi.cfg and the cron lines say what the code does."""

from __future__ import annotations

import configparser
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import luigi
import pytest
from luigi.retcodes import retcode

from tasks import sections
from tasks.sanitise import SanitiseReports

TOP = Path(__file__).resolve().parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")
CRON = (TOP / "deploy" / "cron" / "ooni-pipeline").read_text(encoding="utf-8")
MIRROR_CRON = (TOP / "deploy" / "cron" / "ooni-mirror").read_text(encoding="utf-8")
COLLECTOR_CRON = (TOP / "deploy" / "cron" / "ooni-collector").read_text(encoding="utf-8")
GRAPH = importlib.import_module("tasks").__doc__ or ""
TEXTS = {
    "README.md": README,
    "cron": CRON,
    "mirror": MIRROR_CRON,
    "collector": COLLECTOR_CRON,
    "tasks/__init__.py": GRAPH,
}

LUIGI_COMMANDS = sorted(
    {match for text in TEXTS.values() for match in re.findall(r"luigi (--module [^\n`]+)", text)}
)
VERBS = sorted({match for text in TEXTS.values() for match in re.findall(r"python -m tasks\.(\w+)", text)})


@pytest.mark.parametrize("command", LUIGI_COMMANDS)
def test_luigi_commands(command: str) -> None:
    """The module, the task and every option of it exist."""
    words = shlex.split(command.replace("\\%", "%"))
    module = importlib.import_module(words[1])
    task = getattr(module, words[2])
    known = {f"--{name.replace('_', '-')}" for name, _ in task.get_params()}
    known |= {"--log-level", "--local-scheduler", "--no-lock"}
    known |= {f"--retcode-{name.replace('_', '-')}" for name, _ in retcode.get_params()}  # type: ignore[no-untyped-call]
    # luigi's way to give an option to a task below
    below = SanitiseReports.get_params()  # type: ignore[no-untyped-call]
    known |= {f"--SanitiseReports-{name.replace('_', '-')}" for name, _ in below}
    for section in sections.SECTIONS:  # luigi takes [section] option as --section-option
        options = [name for name, _ in section.get_params()]  # type: ignore[no-untyped-call]
        known |= {f"--{section.__name__}-{name.replace('_', '-')}" for name in options}
    for word in words[3:]:
        if word.startswith("--"):
            assert word in known
    if "--of" in words:
        assert issubclass(getattr(module, words[words.index("--of") + 1]), luigi.Task)


@pytest.mark.parametrize("verb", VERBS)
def test_commands_have_help_with_an_example(verb: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", f"tasks.{verb}", "--help"], cwd=TOP, check=True, capture_output=True, text=True
    ).stdout
    assert "Example" in shown


#: Those that take dates.
_DATED = "cleanup|forget|preview|adopt|ledger|resanitise|refingerprint"


@pytest.mark.parametrize("command", re.findall(rf"python -m tasks\.((?:{_DATED}) [^\n`]+\d)`", README))
def test_arguments_of_commands_are_taken(command: str, tmp_path: Path) -> None:
    """They are run for real, in a pipeline of their own that has no database."""
    (tmp_path / "luigi.cfg").write_text(
        f"[paths]\nprivate = {tmp_path}/private\npublic = {tmp_path}/public\n"
        "[database]\nurl = postgresql:///nowhere?host=/nonexistent\n"
        f"[sanitise]\nbridge_table = {tmp_path}/none\n[backup]\nurl = {tmp_path}/backup\n"
    )
    verb, *arguments = command.split()
    ran = subprocess.run(
        [sys.executable, "-m", f"tasks.{verb}", *arguments],
        cwd=TOP,
        env={"LUIGI_CONFIG_PATH": str(tmp_path / "luigi.cfg"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "usage:" not in ran.stderr, ran.stderr
    assert "Traceback" not in ran.stderr


def shipped() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(TOP / "luigi.cfg", encoding="utf-8")
    return parser


def test_luigi_cfg_lists_every_option_with_its_default() -> None:
    parser = shipped()
    for section in sections.SECTIONS:
        name = section.__name__
        options = dict(section.get_params())  # type: ignore[no-untyped-call]
        assert set(parser[name]) == set(options), f"[{name}]"
        for option, parameter in options.items():
            if parameter._default is not luigi.parameter._no_value:
                assert parser[name][option] == str(parameter._default), f"[{name}] {option}"


def test_luigi_cfg_explains_every_option() -> None:
    lines = (TOP / "luigi.cfg").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\w+ =", line):
            above = lines[number - 1]
            assert above.startswith("#") or " = " in above, f"line {number + 1}: {line} has no comment"


def test_our_sections_are_not_luigis() -> None:
    from luigi.task_register import Register

    ours = {section.__name__ for section in sections.SECTIONS}
    theirs = {
        task.__name__
        for task in Register._reg
        if task.__module__.startswith("luigi.") and issubclass(task, luigi.Config)
    }
    assert not ours & theirs


def test_the_stages_that_the_readme_names_are_there() -> None:
    for path in re.findall(r"`((?:tasks|ooni_pipeline|sql|deploy|tests|bin)/[\w./-]*)`", README):
        assert (TOP / path).exists(), path


def test_cron_times_are_those_of_the_picture() -> None:
    for minute, hour in re.findall(r"^(\d+) (\d+) \* \* \*", CRON + COLLECTOR_CRON, re.MULTILINE):
        assert re.search(rf"^ ?{int(hour):02d}:{int(minute):02d} ", README, re.MULTILINE)


def test_setup_cfg_and_changelog_agree_on_the_version() -> None:
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(TOP / "setup.cfg", encoding="utf-8")
    assert f"## {setup['metadata']['version']} " in (TOP / "CHANGELOG.md").read_text(encoding="utf-8")


#: What a key must be allowed for each call that the S3 client makes: every night, and to withdraw.
_NIGHTLY = {
    "put_object": {"s3:PutObject"}, "get_object": {"s3:GetObject"}, "head_object": {"s3:GetObject"},
    "list_objects_v2": {"s3:ListBucket"}, "create_multipart_upload": {"s3:PutObject"},
    "upload_part": {"s3:PutObject"}, "complete_multipart_upload": {"s3:PutObject"},
    "abort_multipart_upload": {"s3:AbortMultipartUpload"},
    "list_multipart_uploads": {"s3:ListBucketMultipartUploads"},
    "get_bucket_policy_status": {"s3:GetBucketPolicyStatus"}, "get_bucket_acl": {"s3:GetBucketAcl"},
}  # fmt: skip
_WITHDRAWING = {
    "list_object_versions": {"s3:ListBucketVersions"},
    "delete_object": {"s3:DeleteObject", "s3:DeleteObjectVersion"},
    "head_object": {"s3:GetObjectVersion", "s3:GetObjectRetention", "s3:GetObjectLegalHold"},
}


def test_the_policy_of_the_readme_is_what_the_s3_client_calls() -> None:
    calls: dict[str, set[str]] = {}
    for path in (TOP / "ooni_pipeline" / "remote" / "s3").glob("*.py"):
        found = re.findall(r"(?:\bclient|_client|stranger)\.([a-z0-9_]+)\(", path.read_text(encoding="utf-8"))
        calls[path.name] = set(found)
    withdrawing = calls.pop("versions.py")
    nightly = set().union(*calls.values())
    assert nightly == set(_NIGHTLY)
    assert withdrawing == set(_WITHDRAWING)
    policy, _, more = README[README.index('{"Version": "2012-10-17"') :].partition("```")
    assert set(re.findall(r"s3:[A-Za-z]+", policy)) == set().union(*_NIGHTLY.values())
    more = more[: more.index("Add a lifecycle rule")]
    assert set(re.findall(r"s3:[A-Za-z]+", more)) == set().union(*_WITHDRAWING.values())
