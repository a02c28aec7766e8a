"""The set-up of a collector as the README shows it, done for real."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from ooni_pipeline.errors import TransferError
from tests.parts.sshd import GATE, can_sshd, keygen, running_sshd
from tests.transfer.conftest import Pipeline, report_name
from tests.transfer.far import far_collector

README_FILE = Path(__file__).resolve().parents[2] / "README.md"
README = README_FILE.read_text(encoding="utf-8")
SECTION = README.partition("### Collectors over ssh\n")[2].partition("\n## ")[0]


@pytest.mark.skipif(not can_sshd(), reason="no sshd, rsync or rrsync here")
def test_the_set_up_that_the_readme_shows(pipeline: Pipeline, tmp_path: Path) -> None:
    """Its commands, with this machine's directories in the place of a collector's."""
    archive = pipeline.collector.holds(1).directory
    home, gate = tmp_path / "home", tmp_path / "bin" / "ooni-gate"
    with running_sshd(tmp_path / "sshd") as sshd:
        keygen(tmp_path / "id_ed25519")
        gate.parent.mkdir()
        (home / ".ssh").mkdir(parents=True)
        places = {
            "/usr/local/bin/ooni-gate": str(gate), "/data/bouncer/renamed": str(archive),
            "~ooni-sync": str(home),
            "gate.py": str(GATE), " -o ooni-sync": "", "id_ed25519.pub": str(tmp_path / "id_ed25519.pub"),
        }  # fmt: skip
        for command in ("install -m", "install -d -m 0700 -o ooni-sync", "echo "):
            (line,) = re.findall(rf"^{re.escape(command)}.*$", SECTION, re.MULTILINE)
            for shown, here in places.items():
                line = line.replace(shown, here)
            subprocess.run(["sh", "-euc", line], check=True)
        (sshd.root / "authorized_keys").write_text((home / ".ssh" / "authorized_keys").read_text())
        (by_hand,) = re.findall(r"^runuser -u ooni -- (ssh -i .*) list$", SECTION, re.MULTILINE)
        words = shlex.split(
            by_hand.replace("/etc/ooni-pipeline/ssh/id_ed25519", str(tmp_path / "id_ed25519"))
            .replace("/etc/ooni-pipeline/ssh/known_hosts", str(sshd.known_hosts))
            .replace("ooni-sync@c1.example", f"-p {sshd.port} {sshd.user}@{sshd.host}")
        )
        said = subprocess.run([*words, "list"], check=True, capture_output=True, text=True).stdout
        assert report_name(1) in said and '"ooni_gate": 1' in said
        assert subprocess.run([*words, "sh"], check=False, capture_output=True).returncode == 77
        collector = far_collector(pipeline.layout, sshd.account(tmp_path / "id_ed25519"), archive)
        pipeline.fetch(collector)
        collector.close()
    assert len(pipeline.names()) == 1


@pytest.mark.skipif(not can_sshd(), reason="no sshd, rsync or rrsync here")
def test_the_files_for_a_collector_say_what_the_readme_says(tmp_path: Path) -> None:
    """The script is the README's commands, and its line of authorized_keys that of the sample and gate."""
    deploy = README_FILE.parent / "deploy" / "collector"
    script = (deploy / "set-up").read_text(encoding="utf-8")
    values = dict(re.findall(r"^(\w+)=(\S+)$", script, re.MULTILINE))
    body = (
        script.partition("\n\n")[2]
        .replace("getent passwd ooni-sync >/dev/null || ", "")
        .replace('"$group"', "$group")
    )
    for name, value in values.items():
        body = body.replace(f"${name}", value)
    blocks = re.findall(r"^```sh\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    assert body in blocks
    subprocess.run(["sh", "-n", str(deploy / "set-up")], check=True)

    sample = (deploy / "authorized_keys").read_text(encoding="utf-8")
    line = sample.splitlines()[1]
    (echo,) = re.findall(r"^(echo .*) > ", body, re.MULTILINE)
    (tmp_path / "id_ed25519.pub").write_text("ssh-ed25519 AAAA... ooni-pipeline\n")
    said = subprocess.run(["sh", "-c", echo], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert said == f"{line}\n"
    assert f"    {line}\n" in GATE.read_text(encoding="utf-8")
    with running_sshd(tmp_path / "sshd") as sshd:  # and sshd takes it for a line with one key
        keygen(tmp_path / "key")
        key = (tmp_path / "key.pub").read_text().split()[1]
        (sshd.root / "authorized_keys").write_text(sample.replace("AAAA...", key))
        collector = far_collector(Pipeline(tmp_path).layout, sshd.account(tmp_path / "key"), tmp_path)
        with pytest.raises(TransferError, match="does not run ooni-gate as its forced command"):
            list(collector.list())
        collector.close()
