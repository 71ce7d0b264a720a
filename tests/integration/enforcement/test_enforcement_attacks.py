"""Attacks on contracts and records, tried against an alliance that runs; each of them fails.

The names are those of the review's points, as in services/contract/tests/test_contract_attacks.py:
C3 key release, C5 proof of timers' orders, C6 silence, H3 openings, H5 whose record it is, H12 the
sanction of a missed review. The custodian's own attacks (C3d, H8) have a module of their own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from cipherward.chain.v1 import block_pb2 as block_pb
from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.acts import anchor_record, parse_anchor
from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_chain.comet import parse_header
from cipherward_chain.domains import begun_contract
from cipherward_chain.errors import ChainError
from cipherward_chain.group_keys import RECORD
from cipherward_chain.light import verify_orders
from cipherward_chain.sealing import SealingKey
from cipherward_chain.wire import exact_bytes
from cipherward_client.alliance.layout import CUSTODIAN_KEY
from cipherward_client.records.sealing import Custody, SealedRecord, seal_record
from cipherward_client.sdk.consents import ConsentTerms, grant_consent, revoke_consent
from cipherward_client.sdk.contract_reads import GET_CONTRACT, read_contract
from cipherward_client.sdk.credentials import register_duty, register_pseudonym
from cipherward_client.sdk.erasures import erase_record
from cipherward_client.sdk.errors import ActRefused, ClientError, explaining
from cipherward_client.sdk.group_keys import group_key
from cipherward_client.sdk.ledger import Submitter
from cipherward_client.sdk.openings import collect_opening, vote_on_opening
from cipherward_client.sdk.proven_orders import OrderDiffers, block_at, orders_at, orders_of
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.records import WalletOwner, ask_to_open, claim_record, put_record
from cipherward_client.sdk.release_orders import release_of, release_read
from cipherward_client.sdk.releases import KeyRelease
from cipherward_client.sdk.templates import get_template, propose_template, vote_on_template
from cipherward_client.sdk.uploads import Upload
from cipherward_client.wallet.entries import GivenGrant, OwnedRecord
from cipherward_client.wallet.scopes import record_scope
from cipherward_kit.testing import eventually
from cipherward_member.shared_keys import threshold_key
from tests.integration.enforcement.openings import (
    CONTENT,
    Opening,
    consented,
    contract_of,
    emergency,
    emergency_act,
    expire,
    reaches,
    stored,
)
from tests.integration.enforcement.paths import (
    CALL_SECONDS,
    LARGE,
    ciphertext,
    drained,
    guardian_share,
    handed_out,
    nothing_runs,
)
from tests.integration.enforcement.relay import cuttable_custodian
from tests.integration.enforcement.states import SOON
from tests.integration.enforcement.town import (
    CUSTODIAN,
    MEMBERS,
    PARAMETERS,
    WAIT_SECONDS,
    Town,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATE_SECONDS = 2.0  # a stream looks at the clock once a second, and an answer takes its time


@dataclass(frozen=True)
class Timed:
    """What was opened before the first of these tests, so that its seconds pass meanwhile.

    expiring: under a consent that its timer ends. unreviewed: in an emergency that nobody ends or
    reviews.
    """

    expiring: Opening
    unreviewed: Opening


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def timed(town: Town) -> Timed:
    return Timed(
        await consented(town, seconds=SOON),
        await emergency(town, clinician="unreviewed", seconds=SOON),
    )


async def refusal(work: Awaitable[object]) -> str:
    """Return why the work is refused."""
    with pytest.raises(ClientError) as told, explaining():
        await work
    return told.value.reason


async def sealed(town: Town) -> SealedRecord:
    """Return a record of the custodian's own making, not stored yet."""
    custodian = town.alliance.members[CUSTODIAN]
    shared = threshold_key(town.alliance.chain_id, await group_key(town.alliance, RECORD))
    custody = Custody(
        town.alliance.chain_id, CUSTODIAN, CUSTODIAN, custodian.custodian_public_key, shared
    )
    return await asyncio.to_thread(seal_record, custody, b"bait")


def relabelled(record: SealedRecord, slot: bytes) -> SealedRecord:
    """Return the record with another record's slot of the members in its anchor."""
    anchor = parse_anchor(record.anchor)
    anchor.alliance_slot_digest = hashlib.sha256(slot).digest()
    return replace(record, anchor=exact_bytes(anchor), alliance_slot=slot)


async def slot_of(town: Town, opening: Opening) -> bytes:
    """Return the members' slot of a record, as its custodian hands it to whoever may open it."""
    storage = town.alliance.storage_of(CUSTODIAN)
    read = release_read(town.alliance, opening.release, opening.signer, "GetReleasedKey")
    answer = await storage.GetReleasedKey(pb.GetReleasedKeyRequest(read=read), timeout=CALL_SECONDS)
    return answer.alliance_slot


async def test_c3a_a_slot_copied_into_another_record_is_not_stored(town: Town) -> None:
    victim = await consented(town)
    record = relabelled(await sealed(town), await slot_of(town, victim))
    upload = Upload(town.hospitals[CUSTODIAN], record)
    assert await refusal(upload.send()) == "SLOT_REJECTED"


async def test_c3a_no_guardian_helps_a_custodian_that_stores_a_copied_slot(town: Town) -> None:
    """A custodian that checks nothing: it anchors the copy, and has it opened by right."""
    victim = await consented(town)
    honest = await sealed(town)
    await Upload(town.hospitals[CUSTODIAN], honest).send()
    record = relabelled(honest, await slot_of(town, victim))
    await asyncio.to_thread(_put_into_store, town, record)
    accomplice = await town.person("accomplice", CUSTODIAN)
    signature = await WalletOwner(town.alliance, accomplice).countersign(record.anchor)
    act = anchor_record(
        parse_anchor(record.anchor), record.slot_digest, signature.public_key, signature.signature
    )
    hospital = town.hospitals[CUSTODIAN]
    await Submitter(hospital.alliance).submit([act], hospital.signer)
    terms = ConsentTerms(record.record_id, MEMBERS[1], int(town.alliance.now()) + 3600)
    consent = await grant_consent(town.alliance, accomplice, terms)
    key, reader = SealingKey.generate(), await town.clinician()
    asked = await ask_to_open(town.alliance, reader, record.record_id, consent.grant_id, key)
    orders = await orders_of(town.alliance, asked.act)
    release = release_of(orders, record.record_id, asked.signer.public_key, key.public_key)
    assert release.guardians == MEMBERS  # it is ordered: that a slot is copied nobody can see there
    bait = replace(victim, release=release, signer=asked.signer, key=key)
    for member in MEMBERS:
        answer = await guardian_share(member)(town, bait)
        assert (answer.given, answer.reason) == (0, "RELEASE_UNKNOWN")


def _put_into_store(town: Town, record: SealedRecord) -> None:
    """Do what only the custodian can: write into its own store past its service."""
    file = town.folder.member(CUSTODIAN).data("storage") / "storage.sqlite"
    with closing(sqlite3.connect(file, timeout=20)) as database, database:
        database.execute(
            "UPDATE records SET anchor = ?, alliance_slot = ? WHERE record_id = ?",
            (record.anchor, record.alliance_slot, record.record_id),
        )


async def test_c3b_a_readers_key_that_is_swapped_on_the_way_is_refused(town: Town) -> None:
    opening = await consented(town)
    thiefs, fresh = SealingKey.generate(), SealingKey.generate()
    arguments: dict[str, Value] = {"reader_key": fresh.public_key, "purpose": "TREAT"}
    act = chain_pb.Act(
        transition=chain_pb.Transition(
            instance_id=opening.grant_id, transition="open", arguments=encode(arguments)
        )
    )
    submitter = Submitter(town.alliance)
    built = await asyncio.to_thread(submitter.build, [act], opening.signer)
    swapped = built.replace(fresh.public_key, thiefs.public_key)
    assert swapped != built
    assert await refusal(submitter.submit_built(swapped)) == "AUTHORIZATION_REJECTED"
    # What a custodian hands to another key is not what the reader asked for and the chain ordered.
    applied = (await submitter.submit_built(built)).require_applied()
    orders = await orders_of(town.alliance, applied)
    with pytest.raises(OrderDiffers):
        release_of(orders, opening.record_id, opening.signer.public_key, thiefs.public_key)
    release = release_of(orders, opening.record_id, opening.signer.public_key, fresh.public_key)
    with pytest.raises(ClientError) as told:
        await KeyRelease(town.alliance, release, opening.signer, thiefs).fetch()
    assert told.value.reason == "OPENING_REJECTED"


async def test_c3f_a_later_voted_template_releases_nothing_that_its_owner_never_named(
    town: Town,
) -> None:
    record_id = await stored(town)
    shipped = (await get_template(town.alliance, "emergency-access")).document
    hospitals = list(town.hospitals.values())
    clinician = await town.clinician()
    signer = clinician.signer(await register_duty(town.alliance, clinician, MEMBERS[1]))
    for name, version in (("take-all", 1), ("emergency-access", 2)):
        document = encode({**decode_map(shipped), "name": name, "version": version})
        proposed = await propose_template(hospitals[0], document)
        votes = [await vote_on_template(one, proposed.change_id) for one in hospitals[:3]]
        assert votes[-1].decided
        begin = emergency_act(record_id, os.urandom(16), SealingKey.generate().public_key, 60)
        begin.instantiate.template, begin.instantiate.version = name, version
        with pytest.raises(ActRefused) as refused:
            await Submitter(town.alliance).submit([begin], signer)
        assert refused.value.reason == "TEMPLATE_NOT_ALLOWED"


async def test_c3_an_order_is_good_at_its_own_place_for_its_own_record(town: Town) -> None:
    opening, other = await consented(town), await stored(town)
    height, index = opening.release.order
    replays = (
        replace(opening.release, order=(height, index + 1)),
        replace(opening.release, order=(height - 1, index)),
        replace(opening.release, order=(height + 1, index)),
        replace(opening.release, record_id=other),
    )
    for release in replays:
        replayed = replace(opening, release=release)
        for member in MEMBERS:
            assert (await guardian_share(member)(town, replayed)).refused
        answer = await drained(ciphertext(town, replayed, 0))
        assert (answer.given, answer.reason) == (0, "RECORD_UNKNOWN")


async def test_c5_the_orders_of_a_timer_are_proven_and_none_is_left_out(
    town: Town, timed: Timed
) -> None:
    opening = timed.expiring
    await expire(town, opening)
    height = (await contract_of(town, opening)).changed_height
    orders = await orders_at(town.alliance, height)  # verified from the trust root
    about = [one for one in orders if one.arguments.get("grant") == opening.grant_id]
    assert [one.instruction for one in about] == ["revoke_key", "cut_transfers"]
    block = await block_at(town.alliance, height)
    app_hash = parse_header(block.next_header).app_hash
    assert verify_orders(block, height, app_hash) == orders
    for place in range(len(block.orders)):
        fewer = block_pb.ProvenBlock.FromString(block.SerializeToString())
        del fewer.orders[place]
        with pytest.raises(ChainError):
            verify_orders(fewer, height, app_hash)


async def test_c6_a_custodian_that_is_cut_off_from_the_chain_gives_nothing(
    town: Town, tmp_path: Path
) -> None:
    """The suffix with the revocation is withheld from it: silence ends the right in its place."""
    async with cuttable_custodian(town, tmp_path) as line:
        opening = await consented(town, content=LARGE)
        stream = ciphertext(town, opening, 0)
        await anext(stream)
        line.cut()
        cut_at = time.monotonic()
        await revoke_consent(town.alliance, opening.patient, opening.grant_id)
        for member in MEMBERS[1:]:
            await eventually(_refuses(town, opening, member), seconds=WAIT_SECONDS)

        async def silent() -> bool:
            return await told(town, opening) == "CHAIN_STALE"

        await eventually(silent, seconds=WAIT_SECONDS)
        assert time.monotonic() - cut_at <= PARAMETERS.fresh_seconds + LATE_SECONDS
        # A stream whose reader takes nothing looks at the clock once a second.
        await eventually(lambda: nothing_runs(town), seconds=WAIT_SECONDS)
        assert time.monotonic() - cut_at <= PARAMETERS.fresh_seconds + 2 * LATE_SECONDS
        before = await handed_out(town)
        rest = await drained(stream)
        assert rest.reason == "CHAIN_STALE"
        assert await handed_out(town) == before
        # It knows what it knew, and no news: a restart makes nothing fresh.
        name = f"{CUSTODIAN}/storage"
        before = town.running.supervisor.pids[name]
        os.kill(before, signal.SIGKILL)
        await eventually(
            lambda: town.running.supervisor.pids.get(name, before) != before, seconds=WAIT_SECONDS
        )
        await eventually(silent, seconds=WAIT_SECONDS)
        line.mend()
        answers = set[str]()

        async def knows() -> bool:
            answers.add(await told(town, opening))
            return "RELEASE_ENDED" in answers

        await eventually(knows, seconds=WAIT_SECONDS)
        assert answers <= {"CHAIN_STALE", "RELEASE_ENDED"}


async def told(town: Town, opening: Opening) -> str:
    """Return what the custodian says to a question for its half of the key; "" if it gives it."""
    storage = town.alliance.storage_of(CUSTODIAN)
    read = release_read(town.alliance, opening.release, opening.signer, "GetReleasedKey")
    request = pb.GetReleasedKeyRequest(read=read)
    try:
        with explaining():
            await storage.GetReleasedKey(request, timeout=CALL_SECONDS, wait_for_ready=True)
    except ClientError as error:
        return error.reason
    return ""


def _refuses(town: Town, opening: Opening, member: str) -> Callable[[], Awaitable[bool]]:
    async def refuses() -> bool:
        return (await guardian_share(member)(town, opening)).refused

    return refuses


async def test_h5_an_invented_patient_takes_over_no_record(town: Town) -> None:
    """Its issuer gives the invented patient everything that a patient has."""
    patient, hospital = await town.patient(), town.hospitals[CUSTODIAN]
    victim = await put_record(hospital, CONTENT, WalletOwner(town.alliance, patient))
    record_id = victim.record_id
    terms = ConsentTerms(record_id, MEMBERS[2], int(town.alliance.now()) + 3600)
    given = await grant_consent(town.alliance, patient, terms)
    invented = await town.person("invented", CUSTODIAN)
    await register_pseudonym(town.alliance, invented, record_scope(record_id))
    invented.records[record_id] = OwnedRecord(record_id, CUSTODIAN, CUSTODIAN, "")
    invented.grants[given.grant_id] = GivenGrant(given.grant_id, record_id, MEMBERS[2])
    alliance, key = town.alliance, SealingKey.generate()
    attempts = {
        "grants": grant_consent(alliance, invented, terms),
        "opens": ask_to_open(alliance, invented, record_id, given.grant_id, key),
        "revokes": revoke_consent(alliance, invented, given.grant_id),
        "erases": erase_record(alliance, invented, record_id),
        "claims": claim_record(hospital, victim.act, WalletOwner(alliance, invented)),
    }
    found = {name: await refusal(attempt) for name, attempt in attempts.items()}
    assert found.pop("claims") == "RECORD_EXISTS"
    assert set(found.values()) <= {"NOT_A_PARTY", "POLICY_DENIED"}, found
    clinician = await town.clinician("of the consent", MEMBERS[2])
    assert (await ask_to_open(alliance, clinician, record_id, given.grant_id, key)).act


async def test_h12_h3_a_missed_review_suspends_and_opens_and_shows_no_identity(
    town: Town, timed: Timed
) -> None:
    """Nobody reviews an emergency: its clinician is suspended, and the members are asked who."""
    opening = timed.unreviewed
    consent = await consented(town, reader=await town.clinician())
    reader = opening.reader
    await reaches(town, opening, "unreviewed", "handed_over")
    again = ask_to_open(
        town.alliance, reader, consent.record_id, consent.grant_id, SealingKey.generate()
    )
    assert await refusal(again) == "PSEUDONYM_SUSPENDED"
    await reaches(town, opening, "handed_over")
    hospital = town.hospitals[CUSTODIAN]
    height = (await contract_of(town, opening)).changed_height
    orders = await orders_at(town.alliance, height)
    warrants = [begun_contract(opening.grant_id, height, place) for place in range(len(orders) + 1)]
    warrant = await _proposed(town, warrants)
    for member in MEMBERS:
        if (await vote_on_opening(town.hospitals[member], warrant)).decided:
            break
    key = town.folder.member(CUSTODIAN).key(CUSTODIAN_KEY)
    secret = SealingKey(await asyncio.to_thread(key.read_bytes))
    opened = await collect_opening(hospital, warrant, secret)
    credential = reader.credential("staff", MEMBERS[1])
    assert opened.identity == credential.identity()
    # H3: the chain has the warrant and digests, and neither the identity nor a share of it.
    newest = (await read_contract(Asker.member(hospital), warrant)).changed_height
    blocks = [await block_at(town.alliance, height) for height in range(1, newest + 1)]
    chain = b"".join(block.SerializeToString() for block in blocks)
    assert warrant in chain
    assert opened.identity not in chain


async def _proposed(town: Town, warrants: Sequence[bytes]) -> bytes:
    """Return the opening among these ids that has begun."""
    hospital = town.hospitals[CUSTODIAN]
    for warrant in warrants:
        read = Asker.member(hospital).read(GET_CONTRACT, warrant)
        request = contract_pb.GetContractRequest(read=read)
        try:
            with explaining():
                answer = await hospital.alliance.contract.GetContract(request, timeout=CALL_SECONDS)
        except ClientError:
            continue
        assert (answer.contract.template, answer.contract.state) == ("opening", "proposed")
        return warrant
    pytest.fail("no opening has begun")
