"""Records that were opened: what the reader holds, and how what gave the right to it ends."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.canonical import encode
from cipherward_chain.sealing import SealingKey
from cipherward_client.sdk.consents import ConsentTerms, grant_consent, revoke_consent
from cipherward_client.sdk.contract_reads import read_contract
from cipherward_client.sdk.credentials import register_duty
from cipherward_client.sdk.emergencies import close_emergency, end_emergency
from cipherward_client.sdk.erasures import erase_record
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.proven_orders import orders_of
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.records import WalletOwner, ask_to_open, put_record
from cipherward_client.sdk.release_orders import Release, release_of
from cipherward_client.sdk.releases import KeyRelease, ReleasedKey
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.testing import eventually
from tests.integration.enforcement.town import CUSTODIAN, MEMBERS, WAIT_SECONDS, Town

CONTENT = bytes(range(256)) * 8192  # 2 MiB: two parts and a bit, so that a download is resumed
HOUR = 3600


@dataclass(frozen=True)
class Opening:
    """What a reader holds: an order that released a record to it, and the keys that it asked with.

    fetched: the record's key, put together while the right stood.
    """

    record_id: bytes
    grant_id: bytes
    patient: Wallet
    reader: Wallet
    signer: PseudonymSigner
    key: SealingKey = field(repr=False)
    release: Release
    fetched: ReleasedKey | None = field(default=None, repr=False)

    async def fetch(self, town: Town) -> ReleasedKey:
        """Return the record's key, put together from what the members hand over."""
        return await KeyRelease(town.alliance, self.release, self.signer, self.key).fetch()


async def stored(town: Town, content: bytes = CONTENT) -> bytes:
    """Return the id of a new record of the patient."""
    owner = WalletOwner(town.alliance, await town.patient())
    return (await put_record(town.hospitals[CUSTODIAN], content, owner)).record_id


async def consented(
    town: Town,
    *,
    content: bytes = CONTENT,
    seconds: int = HOUR,
    visits: int = 10,
    visit_seconds: int = HOUR,
    reader: Wallet | None = None,
) -> Opening:
    """Open a record under a consent."""
    patient = await town.patient()
    reader = reader or await town.clinician()
    record_id = await stored(town, content)
    terms = ConsentTerms(
        record_id,
        MEMBERS[1],
        int(town.alliance.now()) + seconds,
        visits_max=visits,
        visit_seconds=visit_seconds,
    )
    consent = await grant_consent(town.alliance, patient, terms)
    key = await asyncio.to_thread(SealingKey.generate)
    asked = await ask_to_open(town.alliance, reader, record_id, consent.grant_id, key)
    return await _opened(
        town, asked.act, Held(record_id, consent.grant_id, reader, asked.signer, key)
    )


@dataclass(frozen=True)
class Held:
    """What is known of an opening before its order is."""

    record_id: bytes
    grant_id: bytes
    reader: Wallet
    signer: PseudonymSigner
    key: SealingKey = field(repr=False)


async def _opened(town: Town, act: ProvenAct, held: Held) -> Opening:
    orders = await orders_of(town.alliance, act)
    release = release_of(orders, held.record_id, held.signer.public_key, held.key.public_key)
    patient = await town.patient()
    found = Opening(
        held.record_id, held.grant_id, patient, held.reader, held.signer, held.key, release
    )
    return replace(found, fetched=await found.fetch(town))


def emergency_act(
    record_id: bytes, emergency_id: bytes, reader_key: bytes, seconds: int
) -> chain_pb.Act:
    """Return the act that opens a record in an emergency."""
    terms = {
        "record": record_id,
        "reader_key": reader_key,
        "reason": "unconscious",
        "visit_seconds": seconds,
    }
    start = chain_pb.Instantiate(
        template="emergency-access", version=1, instance_id=emergency_id, terms=encode(terms)
    )
    return chain_pb.Act(instantiate=start)


async def emergency(
    town: Town, *, clinician: str = "clinician", content: bytes = CONTENT, seconds: int = HOUR
) -> Opening:
    """Open a record in an emergency."""
    reader = await town.clinician(clinician)
    record_id = await stored(town, content)
    key = await asyncio.to_thread(SealingKey.generate)
    signer = reader.signer(await register_duty(town.alliance, reader, MEMBERS[1]))
    emergency_id = secrets.token_bytes(ID_BYTES)
    begin = emergency_act(record_id, emergency_id, key.public_key, seconds)
    act = await Submitter(town.alliance).submit([begin], signer)
    return await _opened(town, act, Held(record_id, emergency_id, reader, signer, key))


async def contract_of(town: Town, opening: Opening) -> contract_pb.Contract:
    """Return the contract behind an opening, as its record's owner is told."""
    who = await Asker.owner(town.alliance, opening.patient, opening.record_id)
    return await read_contract(who, opening.grant_id)


async def reaches(town: Town, opening: Opening, *states: str) -> None:
    """Wait until the contract behind an opening is in one of these states."""

    async def there() -> bool:
        return (await contract_of(town, opening)).state in states

    await eventually(there, seconds=WAIT_SECONDS)


End = Callable[[Town, Opening], Awaitable[object]]


async def revoke(town: Town, opening: Opening) -> ProvenAct:
    """The owner takes the consent back."""
    return await revoke_consent(town.alliance, opening.patient, opening.grant_id)


async def expire(town: Town, opening: Opening) -> None:
    """Nobody does anything: the consent's timer ends it."""
    await reaches(town, opening, "expired")


async def close(town: Town, opening: Opening) -> ProvenAct:
    """The clinician ends the emergency."""
    return await close_emergency(town.alliance, opening.reader, opening.grant_id)


async def stop(town: Town, opening: Opening) -> ProvenAct:
    """The owner ends the emergency."""
    return await end_emergency(town.alliance, opening.patient, opening.record_id, opening.grant_id)


async def run_out(town: Town, opening: Opening) -> None:
    """Nobody does anything: the emergency's timer ends the visit, and further timers follow."""
    await reaches(town, opening, "ended", "unreviewed", "handed_over")


async def go_unreviewed(town: Town, opening: Opening) -> None:
    """Nobody reviews the emergency: its timers suspend the clinician and begin an opening."""
    await reaches(town, opening, "unreviewed", "handed_over")


async def erase(town: Town, opening: Opening) -> ProvenAct:
    """The owner has the record erased."""
    return (await erase_record(town.alliance, opening.patient, opening.record_id)).act
