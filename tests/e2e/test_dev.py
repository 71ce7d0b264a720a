"""`cipherward dev` from the outside: used through the command line, killed, started again.

The alliances are processes, as whoever uses them starts them. The commands are what the program
runs, in this process: to load it anew for each of seventy takes longer than what they do.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import psutil
import pytest

from cipherward_client.cli.commands import run
from tests.e2e.dev_process import COMMAND, READY_SECONDS, Home, dev

GONE_SECONDS = 10
POLL_SECONDS = 0.05
CONTENT = b'{"resourceType":"Bundle","type":"collection","entry":[]}'
HOSPITALS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")

pytestmark = pytest.mark.slow


def until(holds: Callable[[], bool], seconds: float) -> None:
    """Poll until it holds, or fail."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(POLL_SECONDS)


def said(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run one command with --json; return its exit status and its document."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = run([*arguments, "--json"])
    assert out.getvalue(), err.getvalue()
    return status, json.loads(out.getvalue())


def cli(*arguments: str) -> dict[str, Any]:
    """Run one command and return its document; it must succeed."""
    status, document = said(*arguments)
    assert status == 0, document
    return document


def program(*arguments: str) -> dict[str, Any]:
    """Run one command as a process of its own and return its document; it must succeed."""
    done = subprocess.run(
        [*COMMAND, *arguments, "--json"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


class Person:
    """A person at a terminal, with a wallet of their own."""

    def __init__(self, data: Path, folder: Path, name: str = "patient") -> None:
        self.wallet = folder / f"{name}.wallet"
        passphrase = folder / f"{name}.passphrase"
        passphrase.write_text(f"the passphrase of the {name}\n")
        self._passphrase = ["--passphrase-file", str(passphrase)]
        self._place = ["--alliance", str(data), *self._passphrase]

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run a command with this patient's wallet."""
        return cli(*arguments, "--wallet", str(self.wallet), *self._place)

    def refused(self, *arguments: str) -> str:
        """Run a command that must fail, and return its reason."""
        status, document = said(*arguments, "--wallet", str(self.wallet), *self._place)
        assert status == 1, document
        return document["error"]["reason"]

    def enroll(self, hospital: str = "hospital-a", role: str = "patient") -> None:
        """Make the wallet and get a credential."""
        cli("wallet", "create", str(self.wallet), *self._place)
        self.run("wallet", "enroll", "--hospital", hospital, "--role", role)

    def records(self) -> list[dict[str, Any]]:
        """Return the records in the wallet; no alliance is asked."""
        listed = cli("record", "list", "--wallet", str(self.wallet), *self._passphrase)
        return listed["records"]

    def put(self, file: Path) -> str:
        """Store a record and return its id."""
        return self.run("record", "put", str(file), "--hospital", "hospital-a")["record"]

    def get(self, record: str, out: Path) -> bytes:
        """Open the record and return its content."""
        self.run("record", "get", record, "--out", str(out))
        return out.read_bytes()


@pytest.mark.parametrize("home", ["embedded"], indirect=True)
def test_a_killed_alliance_leaves_no_orphan_and_goes_on_with_its_records(
    home: Home, tmp_path: Path
) -> None:
    data, file = home.data, tmp_path / "record.json"
    file.write_bytes(CONTENT)
    patient = Person(data, tmp_path)
    before = home.said
    assert len(before["pids"]) == len(before["services"]) == 14
    patient.enroll()
    record = patient.put(file)
    assert patient.get(record, tmp_path / "first") == CONTENT
    (access,) = patient.run("audit", record, "--receipts", str(tmp_path / "first-receipts"))[
        "accesses"
    ]
    home.kill()
    until(lambda: not any(map(psutil.pid_exists, before["pids"].values())), GONE_SECONDS)
    genesis = str(data / "genesis.json")
    assert program("receipt", "verify", access["receipt"], "--genesis", genesis)["verified"] is True
    home.start()
    assert home.said["chain_id"] == before["chain_id"]
    assert patient.get(record, tmp_path / "second") == CONTENT
    accesses = patient.run("audit", record, "--receipts", str(tmp_path / "receipts"))
    assert len(accesses["accesses"]) == 2
    with dev(data) as another:
        assert another.refused()["reason"] == "DATA_FOLDER_LOCKED"


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with dev(tmp_path / "alliance", "--port-base", str(port)) as refused:
            error = refused.refused()
    assert str(port) in error["detail"]
    assert error["reason"] == "PORT_IN_USE"
    assert error["fix"]


def test_a_part_that_is_missing_is_named_before_anything_starts(tmp_path: Path) -> None:
    data = tmp_path / "alliance"
    for chosen, reason in (
        (("--engine", "cometbft", "--cometbft", str(tmp_path / "none")), "COMETBFT_MISSING"),
        (("--feed", "kafka", "--kafka", "127.0.0.1:1"), "KAFKA_UNREACHABLE"),
        (("--store", "mongo", "--mongo", "mongodb://127.0.0.1:1"), "MONGO_UNREACHABLE"),
    ):
        with dev(data, *chosen) as refused:
            error = refused.refused()
        assert (error["reason"], bool(error["fix"])) == (reason, True)
    assert not data.exists()


def test_a_folder_goes_on_with_its_own_parts_only(tmp_path: Path) -> None:
    data = tmp_path / "alliance"
    data.mkdir()
    kinds = {"engine": "solo", "feed": "grpc", "store": "mongo", "kafka": ""}
    (data / "parts.json").write_text(json.dumps({**kinds, "members": ["hospital-a"]}))
    with dev(data, "--store", "embedded") as refused:
        assert refused.refused()["reason"] == "PARTS_DIFFER"


def test_a_damaged_genesis_is_said_to_be_one(tmp_path: Path) -> None:
    data = tmp_path / "alliance"
    data.mkdir()
    (data / "genesis.json").write_text("{}")
    with dev(data) as refused:
        assert refused.refused()["reason"] == "GENESIS_MALFORMED"


def test_a_folder_of_another_chain_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "alliance"
    data.mkdir()
    (data / "chain-id").write_text("dev-another\n")
    with dev(data) as refused:
        assert refused.refused()["reason"] == "DATA_FOLDER_OF_ANOTHER_CHAIN"


def test_an_interrupt_before_it_is_ready_stops_all(tmp_path: Path) -> None:
    with dev(tmp_path / "alliance") as early:
        until(lambda: bool(psutil.Process(early.process.pid).children()), READY_SECONDS)
        children = psutil.Process(early.process.pid).children()
        assert early.stop(signal.SIGINT) == 0
        assert not any(child.is_running() for child in children)
        assert os.listdir(tmp_path / "alliance")


def test_a_consent_lets_read_until_it_is_revoked(alliance: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "record.json", tmp_path / "read.json"
    file.write_bytes(CONTENT)
    patient, clinician = Person(alliance, tmp_path), Person(alliance, tmp_path, "clinician")
    patient.enroll()
    clinician.enroll("hospital-b", "clinician")
    record = patient.put(file)
    assert [entry["record"] for entry in patient.records()] == [record]
    granted = patient.run("consent", "grant", record, "--to", "hospital-b", "--days", "1")
    consent = granted["consent"]
    clinician.run("record", "get", record, "--grant", consent, "--out", str(out))
    assert out.read_bytes() == CONTENT
    assert patient.run("consent", "show", consent)["state"] == "active"
    patient.run("consent", "revoke", consent)
    assert patient.run("consent", "show", consent)["state"] == "revoked"
    again = tmp_path / "again.json"
    reason = clinician.refused("record", "get", record, "--grant", consent, "--out", str(again))
    assert reason == "STATE_FORBIDS"
    assert not again.exists()
    stages = [row["stage"] for row in patient.run("audit", record)["accesses"]]
    assert stages == ["carried out", "refused"]


def test_a_study_says_what_the_pooled_rows_say(alliance: Path, tmp_path: Path) -> None:
    values = {h: [float(10 * n + i) for i in range(8)] for n, h in enumerate(HOSPITALS)}
    for hospital, rows in values.items():
        table = tmp_path / f"{hospital}.csv"
        table.write_text("size\n" + "".join(f"{value}\n" for value in rows))
        place = ["--hospital", hospital, "--alliance", str(alliance)]
        assert cli("study", "contribute", str(table), *place)["rows"] == len(rows)
    spec = tmp_path / "study.yaml"
    spec.write_text(
        "data_set: cohort-1\nvariables:\n  - {name: size, low: 0, high: 40}\n"
        "analyses:\n  - {kind: moments, variables: [size], statistics: [mean, variance]}\n"
    )
    researcher = Person(alliance, tmp_path, "researcher")
    researcher.enroll("hospital-d", "researcher")
    done = researcher.run("study", "run", str(spec), "--approve-as-all-members")
    pooled = [value for rows in values.values() for value in rows]
    assert done["stage"] == "released"
    assert done["answer"]["patients"] == len(pooled)
    (size,) = done["answer"]["results"][0]["variables"]
    assert size["mean"] == pytest.approx(statistics.mean(pooled))
    assert size["variance"] == pytest.approx(statistics.variance(pooled))
    shown = researcher.run("study", "result", done["study"])
    assert shown["answer"] == done["answer"]


def test_a_study_of_too_few_patients_ends_without_a_result(alliance: Path, tmp_path: Path) -> None:
    spec = tmp_path / "study.yaml"
    spec.write_text(
        "data_set: cohort-1\nvariables:\n  - {name: size, low: 0, high: 1}\n"
        "analyses:\n  - {kind: moments, variables: [size], statistics: [mean]}\n"
    )
    researcher = Person(alliance, tmp_path, "researcher")
    researcher.enroll("hospital-d", "researcher")
    reason = researcher.refused("study", "run", str(spec), "--approve-as-all-members")
    assert reason == "STUDY_ENDED"


def test_a_permit_is_granted_used_and_ended_by_hand(alliance: Path, tmp_path: Path) -> None:
    spec = tmp_path / "study.yaml"
    spec.write_text(
        "data_set: cohort-9\nvariables:\n  - {name: size, low: 0, high: 100}\n"
        "analyses:\n  - {kind: moments, variables: [size], statistics: [mean]}\n"
    )
    for hospital in HOSPITALS:
        table = tmp_path / f"{hospital}.csv"
        named = "".join(f"{place:032x},{10 * place}\n" for place in range(8))
        table.write_text(f"reference,size\n{named}")
        place = ["--hospital", hospital, "--data-set", "cohort-9", "--alliance", str(alliance)]
        assert cli("study", "contribute", str(table), *place)["rows"] == 8
    researcher = Person(alliance, tmp_path, "researcher")
    researcher.enroll("hospital-d", "researcher")
    assert researcher.refused("study", "run", str(spec)) == "PERMIT_MISSING"
    wanted = ["--data-set", "cohort-9", "--output", "count", "--output", "mean"]
    permit = researcher.run("study", "permit", "apply", *wanted)["permit"]
    for member in HOSPITALS[:3]:
        assert cli("study", "permit", "approve", permit, *acting(alliance, member))["approve"]
    assert researcher.run("study", "permit", "show", permit)["state"] == "granted"
    out = cli("study", "opt-out", "put", f"{7:032x}", *acting(alliance, "hospital-a"))
    assert (out["choice"], out["reference"]) == ("out", f"{7:032x}")
    patient = Person(alliance, tmp_path)
    patient.enroll()
    mine = patient.run("study", "opt-out", "set", "--member", "hospital-b")
    assert (mine["choice"], mine["linked"]) == ("out", False)
    linked = ["--reference", f"{0:032x}", *acting(alliance, "hospital-b")]
    assert cli("study", "opt-out", "link", mine["pseudonym"], *linked)["references"] == 1
    counted = cli("study", "opt-out", "count", *acting(alliance, "hospital-b"))
    assert (counted["pseudonyms"], counted["references"]) == (1, 1)
    done = researcher.run("study", "run", str(spec), "--permit", permit, "--approve-as-all-members")
    assert done["answer"]["patients"] == 4 * 8 - 2
    cli("study", "permit", "revoke", permit, *acting(alliance, "hospital-c"))
    assert researcher.run("study", "permit", "show", permit)["state"] == "revoked"
    again = researcher.refused(
        "study", "run", str(spec), "--permit", permit, "--approve-as-all-members"
    )
    assert again == "TERMS_MALFORMED"


def acting(alliance: Path, member: str) -> list[str]:
    """Return the options of a command that a member carries out."""
    return ["--member", member, "--alliance", str(alliance)]


def test_members_turn_a_newcomer_away(alliance: Path, tmp_path: Path) -> None:
    file = tmp_path / "newcomer.json"
    cli("member", "prepare", "hospital-z", "--out", str(file), "--alliance", str(alliance))
    keys = (alliance / "hospital-z" / "keys").glob("*.key")
    assert not any(key.read_bytes().hex() in file.read_text() for key in keys)
    proposed = cli("member", "propose", str(file), *acting(alliance, "hospital-a"))
    for member in ("hospital-b", "hospital-c"):
        vote = cli("member", "vote", proposed["change"], "--no", *acting(alliance, member))
        assert (vote["kind"], vote["decided"]) == ("membership", False)
    again = said("member", "vote", proposed["change"], *acting(alliance, "hospital-d"))
    assert (again[0], again[1]["error"]["reason"]) == (1, "STATE_FORBIDS")
    listed = cli("member", "list", *acting(alliance, "hospital-a"))
    assert [one["member"] for one in listed["members"]] == list(HOSPITALS)


def test_members_vote_the_next_version_of_the_rules(alliance: Path) -> None:
    height = 1_000_000  # which no test reaches
    proposed = cli("upgrade", "propose", "2", str(height), *acting(alliance, "hospital-b"))
    decided = [
        cli("upgrade", "vote", proposed["change"], *acting(alliance, member))["decided"]
        for member in ("hospital-a", "hospital-c", "hospital-d")
    ]
    assert decided == [False, False, True]
