"""What the service promises is what it does: runs last, on what this folder's tests provoked."""

from __future__ import annotations

from cipherward_contract import errors, metrics
from cipherward_contract.refusals import Reason
from cipherward_kit.jobs import WorkerLost, WorkersBusy
from cipherward_kit.testing import assert_promises_kept
from cipherward_member.canaries import CanaryReportMalformed
from cipherward_member.errors import ReadMalformed, ReadRejected


def test_every_promise_is_kept() -> None:
    assert_promises_kept(
        "contract.cipherward",
        [errors],
        ["cipherward.contract.v1"],
        also=[CanaryReportMalformed, ReadMalformed, ReadRejected, WorkerLost, WorkersBusy],
    )
    # Refusals of acts are results on the chain: each of them was provoked too.
    refused = {
        sample.labels["reason"]
        for metric in metrics.TRANSACTIONS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }
    assert {reason.value for reason in Reason} - refused == set()
