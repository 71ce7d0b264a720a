"""The recipient's key is swapped on the way: in what the chain is told, or in the study's text."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.canonical import decode_map, encode
from cipherward_client.sdk.credentials import register_duty
from cipherward_client.sdk.ledger import Submitter
from cipherward_client.sdk.permits import staff_member
from cipherward_client.sdk.study_requests import kept_bytes, study_terms
from cipherward_client.sdk.study_results import requester_key
from cipherward_client.wallet.entries import KeptStudy
from cipherward_studies.spec import Draft
from tests.integration.studies.town import (
    MEMBERS,
    StudyTown,
    asked,
    everywhere,
    explained,
    new_data_set,
    shown,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def started(
    town: StudyTown, draft: Draft, changed: Callable[[dict[str, Any]], None], text: bytes = b""
) -> bytes:
    """Propose a study whose terms, or whose text, somebody on the way has changed."""
    alliance, researcher = town.town.alliance, await town.researcher()
    study = secrets.token_bytes(ID_BYTES)
    key = requester_key(draft.profile, researcher.requester_seed(study))
    spec = draft.spec(key.public_key())
    for member in MEMBERS:
        request = pb.PutStudySpecRequest(spec=text or spec.octets)
        await alliance.compute_of(member).PutStudySpec(request, timeout=30)
    permit_id = await town.permitted(draft)
    scope = await register_duty(alliance, researcher, staff_member(researcher))
    terms: dict[str, Any] = dict(decode_map(study_terms(draft, spec, MEMBERS, (permit_id, 100))))
    changed(terms)
    researcher.studies[study] = KeptStudy(study, scope, kept_bytes(draft))
    act = chain_pb.Instantiate(template="study", version=1, instance_id=study, terms=encode(terms))
    signer = researcher.signer(scope)
    await Submitter(alliance).submit([chain_pb.Act(instantiate=act)], signer)
    await town.approve(study)
    return study


def thiefs_key() -> bytes:
    """Return the public key of who wants to read the result in the researcher's place."""
    return requester_key("additive-1", b"somebody on the way, of 32 bytes").public_key()


async def test_a_recipients_key_that_was_swapped_in_the_order_is_refused(
    town: StudyTown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_set = new_data_set()
    await town.give(data_set, everywhere(16))

    def swap(terms: dict[str, Any]) -> None:
        terms["requester_key_digest"] = hashlib.sha256(thiefs_key()).digest()

    study = await started(town, asked(data_set), swap)
    refused = await town.refused(study)
    assert {end.reason for end in refused.values()} == {"SPEC_DIFFERS"}
    assert all("requester's key" in end.failure for end in refused.values())
    explained(await shown(town, study, tmp_path, capsys), "SPEC_DIFFERS")


async def test_a_text_with_another_recipient_is_not_the_studys(
    town: StudyTown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody on the way to the hospitals hands them a text of its own."""
    data_set = new_data_set()
    await town.give(data_set, everywhere(17))
    draft = asked(data_set)
    study = await started(town, draft, lambda _: None, draft.spec(thiefs_key()).octets)
    refused = await town.refused(study)
    assert {end.reason for end in refused.values()} == {"SPEC_NOT_HANDED_OVER"}
    explained(await shown(town, study, tmp_path, capsys), "SPEC_NOT_HANDED_OVER")
