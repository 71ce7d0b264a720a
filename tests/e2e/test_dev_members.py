"""Alliances of other sizes on consensus nodes, and a hospital that joins one and leaves again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.servers.cometbft import cometbft_binary
from tests.servers.need import need

COMMAND = (sys.executable, "-m", "cipherward_client.cli")
CONTENT = b'{"resourceType":"Bundle","type":"collection","entry":[]}'

# Whole alliances, made and left again: minutes that CI spends on the same acts in less.
pytestmark = [pytest.mark.slow, pytest.mark.servers, pytest.mark.soak]


@pytest.fixture(autouse=True)
def _nodes() -> None:
    need("cometbft")


def cli(*arguments: str) -> dict[str, Any]:
    """Run one command with --json and return its document; it must succeed."""
    done = subprocess.run(
        [*COMMAND, *arguments, "--json"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@contextmanager
def running(*arguments: str) -> Generator[subprocess.Popen[str]]:
    """Run a command that goes on until it is stopped; killed at the end if it still lives."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def lines(process: subprocess.Popen[str]) -> IO[str]:
    """Return what a process says; a generator over it would close it when it is left."""
    assert process.stdout is not None
    return process.stdout


@contextmanager
def alliance(data: Path, *options: str) -> Generator[dict[str, Any]]:
    """Run an alliance; the context gets what it says when it is ready."""
    with running("dev", "--data", str(data), "--json", *options) as process:
        line = next(lines(process), "")
        document = json.loads(line)
        assert document.get("ready"), line
        yield document
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def nodes(*options: str) -> list[str]:
    """Return the options of an alliance on consensus nodes."""
    return ["--engine", "cometbft", "--cometbft", str(cometbft_binary()), *options]


class Patient:
    """A patient with a wallet, at one hospital's desk."""

    def __init__(self, data: Path, folder: Path, hospital: str) -> None:
        self._hospital = hospital
        self._wallet = folder / f"{hospital}.wallet"
        passphrase = folder / "passphrase"
        passphrase.write_text("correct horse\n")
        self._place = ["--alliance", str(data), "--passphrase-file", str(passphrase)]
        cli("wallet", "create", str(self._wallet), *self._place)
        self._run("wallet", "enroll", "--hospital", hospital)

    def _run(self, *arguments: str) -> dict[str, Any]:
        return cli(*arguments, "--wallet", str(self._wallet), *self._place)

    def stores_and_opens(self, folder: Path) -> None:
        """Store a record at the hospital, and open it again."""
        file, out = folder / "record.json", folder / "opened.json"
        file.write_bytes(CONTENT)
        out.unlink(missing_ok=True)
        record = self._run("record", "put", str(file), "--hospital", self._hospital)["record"]
        self._run("record", "get", record, "--out", str(out))
        assert out.read_bytes() == CONTENT


def powers(data: Path, member: str = "hospital-a") -> dict[str, int]:
    """Return every member's voting power as one member has it."""
    listed = cli("member", "list", "--member", member, "--alliance", str(data))
    return {one["member"]: one["voting_power"] for one in listed["members"]}


def test_one_hospital_alone_commits_and_goes_on_with_its_own_parts(tmp_path: Path) -> None:
    data = tmp_path / "alliance"
    with alliance(data, *nodes("--members", "1")) as ready:
        assert len(ready["pids"]) == 5
        patient = Patient(data, tmp_path, "hospital-a")
        patient.stores_and_opens(tmp_path)
    with alliance(data) as again:
        assert (again["engine"], again["chain_id"]) == ("cometbft", ready["chain_id"])
        patient.stores_and_opens(tmp_path)


def test_seven_hospitals_commit(tmp_path: Path) -> None:
    data = tmp_path / "alliance"
    with alliance(data, *nodes("--members", "7")) as ready:
        assert len(ready["pids"]) == 35
        Patient(data, tmp_path, "hospital-g").stores_and_opens(tmp_path)
        assert list(powers(data).values()) == [10] * 7


def test_a_fifth_hospital_joins_a_running_alliance_and_leaves_it(tmp_path: Path) -> None:
    data = tmp_path / "alliance"
    with alliance(data, *nodes()):
        joining = ("dev", "join", str(data), "hospital-e", "--cometbft", str(cometbft_binary()))
        with running(*joining) as fifth:
            told = ""
            for line in lines(fifth):
                told += line
                if "Ctrl-C" in line:
                    break
            assert "hospital-e votes in consensus" in told, told
            assert powers(data) == powers(data, "hospital-e")
            assert powers(data)["hospital-e"] == 10
            Patient(data, tmp_path, "hospital-e").stores_and_opens(tmp_path)
            left = subprocess.run(
                [*COMMAND, "dev", "leave", str(data), "hospital-e"],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert left.returncode == 0, left.stdout + left.stderr
            assert any("hospital-e/ledger has stopped for good" in line for line in lines(fifth))
            fifth.send_signal(signal.SIGTERM)
            assert fifth.wait(60) == 0
        assert not (data / "hospital-e" / "keys" / "consensus.key").exists()
        assert sorted(powers(data)) == ["hospital-a", "hospital-b", "hospital-c", "hospital-d"]
        Patient(data, tmp_path, "hospital-b").stores_and_opens(tmp_path)
