"""The researcher's side against a running alliance: the notebook, five lines, a killed process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import ALL_EMBEDDED
from cipherward_client.alliance.running import RunningAlliance, running_alliance
from cipherward_client.demo.tables import load_table
from cipherward_client.research.researcher import Researcher
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.hospital import open_hospital
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.receipts import verify_receipt_file
from cipherward_client.sdk.study_ends import ENDS
from cipherward_client.wallet.opened import opened_wallet
from cipherward_studies.analyses.linear_regression import LinearRegressionResult
from cipherward_studies.spec import Draft

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
NOTEBOOK = EXAMPLES / "diabetes.ipynb"
START_SECONDS = 180.0  # 14 processes on a busy machine without compiled bytecode
STUDY_SECONDS = 120.0
CELL_SECONDS = 120
TOO_FEW = ("COHORT_TOO_SMALL", "CONTRIBUTORS_TOO_FEW")  # which one is for the patients to say
LOGISTIC: dict[str, Any] = {
    "data_set": "cohort-1",
    "variables": [
        {"name": "bmi", "low": 15, "high": 45, "unit": "kg/m2"},
        {"name": "fast", "kind": "flag"},
    ],
    "analyses": [{"kind": "logistic_regression", "outcome": "fast", "predictors": ["bmi"]}],
}
LINEAR: dict[str, Any] = {
    "data_set": "cohort-1",
    "variables": [
        {"name": "bmi", "low": 15, "high": 45, "unit": "kg/m2"},
        {"name": "progression", "low": 0, "high": 400},
    ],
    "analyses": [{"kind": "linear_regression", "outcome": "progression", "predictors": ["bmi"]}],
}


class _Background:
    """Runs an alliance in a thread with a loop of its own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.ready: concurrent.futures.Future[RunningAlliance] = concurrent.futures.Future()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> RunningAlliance:
        self._thread.start()
        return self.ready.result(START_SECONDS)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(START_SECONDS)

    async def _run(self) -> None:
        try:
            async with running_alliance(self._root, parts=ALL_EMBEDDED) as running:
                self.ready.set_result(running)
                await asyncio.to_thread(self._stop.wait)
        except Exception as error:
            if not self.ready.done():
                self.ready.set_exception(error)
            else:
                raise


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Generator[AllianceFolder]:
    """The folder of a running alliance that the example's script has prepared."""
    background = _Background(tmp_path_factory.mktemp("research") / "alliance")
    try:
        found = background.start().folder
        script = [sys.executable, str(EXAMPLES / "prepare_diabetes.py"), str(found.root)]
        subprocess.run(script, check=True, capture_output=True, timeout=START_SECONDS)
        yield found
    finally:
        background.stop()


def notebook_of(path: Path) -> Any:  # nbformat's classes have no types of their own
    return cast("Any", nbformat).read(path, as_version=4)


def connected(folder: AllianceFolder) -> Researcher:
    wallet = folder.root / "researcher.wallet"
    passphrase = folder.root / "researcher.passphrase"
    return Researcher.connect(folder.root, wallet, passphrase_file=passphrase)


def command(folder: AllianceFolder, *arguments: str) -> list[str]:
    wallet = ["--wallet", str(folder.root / "researcher.wallet")]
    secret = ["--passphrase-file", str(folder.root / "researcher.passphrase")]
    where = ["--alliance", str(folder.root)]
    program = [sys.executable, "-m", "cipherward_client.cli"]
    return [*program, "study", *arguments, *wallet, *secret, *where]


def test_the_example_notebook_has_no_outputs_and_runs_to_its_end(
    folder: AllianceFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIPHERWARD_ALLIANCE", str(folder.root))
    notebook = notebook_of(NOTEBOOK)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    NotebookClient(notebook, timeout=CELL_SECONDS, kernel_name="python3").execute()
    pictures = [
        output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 3
    told = "".join(output.get("text", "") for cell in code for output in cell.outputs)
    assert "study/1 instantiate ('researcher-proposes',)" in told  # from the chain, proven
    assert verify_receipt_file(
        folder.root / "receipts" / "proposal.receipt", folder.genesis_file
    ).result.applied


def test_five_lines_lead_to_the_pooled_answer_a_frame_and_a_picture(
    folder: AllianceFolder, tmp_path: Path
) -> None:
    with connected(folder) as researcher:
        study = researcher.run(LINEAR, approve_as_all_members=True)
        frame = study.frame()
        study.plot().savefig(tmp_path / "forest.png")
        again = researcher.study(study.id)
        files = study.save_receipts(tmp_path / "receipts")
    patients = load_table("diabetes")
    design = np.column_stack([np.ones(442), patients["bmi"]])
    expected = np.linalg.lstsq(design, patients["progression"], rcond=None)[0]
    assert study.answer.patients == 442
    np.testing.assert_allclose(frame["estimate"], expected, rtol=1e-8)
    assert isinstance(study.answer.results[0], LinearRegressionResult)
    assert again.answer == study.answer
    assert (tmp_path / "forest.png").stat().st_size > 1000
    assert [file.name for file in files if file.suffix == ".receipt"] == [
        "proposal.receipt",
        "release-1.receipt",
    ]
    citation = json.loads((tmp_path / "receipts" / "citation.json").read_text())
    assert (citation["patients"], citation["study"]) == (442, study.id)
    for name in ("proposal", "release-1"):
        path = tmp_path / "receipts" / f"{name}.receipt"
        assert verify_receipt_file(path, folder.genesis_file).result.applied


def test_a_researcher_killed_between_rounds_goes_on_with_the_same_study(
    folder: AllianceFolder, tmp_path: Path
) -> None:
    spec = tmp_path / "study.json"
    spec.write_text(json.dumps(LOGISTIC))
    arguments = command(folder, "run", str(spec), "--approve-as-all-members")
    seen: list[str] = []
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        began = time.monotonic()
        for line in process.stdout:
            seen.append(line)
            if line.startswith("round 2"):
                break
            assert time.monotonic() - began < STUDY_SECONDS, seen
        process.kill()
    study_id = next(line.split()[1] for line in seen if line.startswith("study "))
    with connected(folder) as researcher:
        rounds: list[str] = []
        study = researcher.resume(study_id, tell=rounds.append)
        assert rounds[-1] == "released"
        assert study.id == study_id
        assert study.answer.rounds > 2
        assert study.answer.results[0].to_document()["outcome"] == "converged"
    shown = subprocess.run(
        [*command(folder, "show", study_id), "--json"],
        check=True,
        capture_output=True,
        timeout=STUDY_SECONDS,
    )
    document = json.loads(shown.stdout)
    assert (document["stage"], document["awaited"]) == ("released", [])
    assert document["answer"] == json.loads(json.dumps(study.answer.to_document()))
    assert set(document["by_member"]) == set(document["members"])


async def permitted(folder: AllianceFolder, request: PermitRequest) -> str:
    """Return the id of a permit that three hospitals have granted to the researcher."""
    secret = (folder.root / "researcher.passphrase").read_text().strip()
    async with (
        Alliance.open(folder.endpoints_file, folder.genesis_file) as alliance,
        opened_wallet(folder.root / "researcher.wallet", lambda: secret) as mine,
    ):
        applied = await apply_for_permit(alliance, mine.wallet, request)
        for member in alliance.present[:3]:
            async with open_hospital(folder, member) as hospital:
                await vote_permit(hospital, applied.permit_id)
    return applied.permit_id.hex()


def test_rounds_that_the_permit_does_not_allow_are_not_asked_and_the_study_is_concluded(
    folder: AllianceFolder,
) -> None:
    least = PermitRequest.for_study(Draft.from_document(LOGISTIC))
    permit = asyncio.run(permitted(folder, replace(least, releases_max=3)))
    with connected(folder) as researcher:
        refusals = researcher.explain(LOGISTIC, permit=permit).refusals
        assert refusals == ("it has 3 releases, and up to 26 are needed",)
        study = researcher.run(LOGISTIC, permit=permit, approve_as_all_members=True)
    assert study.answer.rounds == 2  # and one release for the counts
    assert study.answer.results[0].to_document()["outcome"] == "not_converged"


def test_a_study_that_fails_says_what_happened_and_what_to_do(folder: AllianceFolder) -> None:
    few = {
        **LINEAR,
        "cohort": [{"variable": "bmi", "op": ">", "values": [41.5]}],
    }
    with connected(folder) as researcher:
        lines: list[str] = []
        with pytest.raises(ClientError) as ended:
            researcher.run(few, approve_as_all_members=True, tell=lines.append)
        assert ended.value.reason == "STUDY_ENDED"
        assert any(ENDS[word].fix.rstrip(".") in ended.value.detail for word in TOO_FEW)
        study_id = next(line.split()[1] for line in lines if line.startswith("study "))
    shown = subprocess.run(
        [*command(folder, "watch", study_id), "--json"],
        check=True,
        capture_output=True,
        timeout=STUDY_SECONDS,
    )
    document = json.loads(shown.stdout)
    assert document["stage"] == "failed"
    assert document["reason"] in TOO_FEW


def test_a_wallet_in_use_is_not_opened_twice(folder: AllianceFolder) -> None:
    with connected(folder):
        with pytest.raises(ClientError) as busy:
            connected(folder)
        assert busy.value.reason == "WALLET_IN_USE"
    connected(folder).close()
