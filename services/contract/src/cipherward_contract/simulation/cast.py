"""Who plays a scenario: members, patients and staff with keys made from their names.

Signatures are real. Presentations have the right form and no proof inside: the machine verifies
none, it reads what a ledger let through. Nothing made here counts on any chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.authorization import ISSUER_KEY_BYTES, PSEUDONYM_BYTES
from cipherward_chain.comet import Validator, ValidatorSet
from cipherward_chain.credentials import Header, attribute_octets
from cipherward_chain.domains import presentation_authorizer
from cipherward_chain.genesis import Genesis, Issuer, Member, Parameters, TemplateDocument
from cipherward_chain.group_keys import (
    OPENING,
    POINT_BYTES,
    PURPOSES,
    GroupKeyEntry,
    KeyHolder,
    group_key_key,
    newest_entry,
    newest_group_key_key,
)
from cipherward_chain.members import SCHEMAS
from cipherward_chain.sealing import SealingKey
from cipherward_chain.signatures import SigningKey
from cipherward_chain.wire import NANOS, exact_bytes
from cipherward_contract.genesis_state import initial_pairs
from cipherward_contract.machine_versions import NEWEST_VERSION
from cipherward_contract.simulation.scenario import Holder
from cipherward_threshold.group.ceremony.plan import enough_of

CHAIN_ID = "simulation"
BEGIN = 1_790_000_000  # Unix seconds of a scenario's beginning: any time would do
KEY_EPOCH = 1  # of the keys that the members share from the beginning
SEALING_SECRET_BYTES = 96
OPENING_BYTES = 96  # an identity key encrypted to the opening key
_VALIDATOR_POWER = 10


def octets(name: str, length: int) -> bytes:
    """Return bytes that are made from a name: the same name, the same bytes."""
    return hashlib.shake_256(b"cipherward simulation " + name.encode()).digest(length)


def seed_of(name: str) -> bytes:
    """Return the 32 bytes that a key is made from."""
    return octets(f"{name}/key", 32)


@lru_cache(maxsize=256)  # a few milliseconds each, and every scenario has the same members
def sealing_key(name: str) -> bytes:
    """Return an HPKE public key."""
    return SealingKey(octets(f"{name}/sealing", SEALING_SECRET_BYTES)).public_key


def issuer_key(member: str) -> bytes:
    """Return a member's issuing key."""
    return octets(f"{member}/issuer", ISSUER_KEY_BYTES)


def beginning(members: Sequence[str], templates: Sequence[TemplateDocument]) -> dict[bytes, bytes]:
    """Return the state in which a scenario begins: a registry, templates, and shared keys.

    Raises:
        GenesisUnusable: a template may not be deployed.
    """
    consensus = SigningKey(seed_of("consensus")).public_key
    registry = {
        name: Member(
            id=name,
            name=name.replace("-", " ").title(),
            index=index,
            public_key=SigningKey(seed_of(name)).public_key,
            custodian_public_key=sealing_key(name),
            ca_certificate=f"the certificate of {name}",
            consensus_public_key=b"" if index else consensus,
        )
        for index, name in enumerate(members)
    }
    genesis = Genesis(
        chain_id=CHAIN_ID,
        time_ns=BEGIN * NANOS,
        engine="solo",
        machine_version=NEWEST_VERSION,
        validators=ValidatorSet.of([Validator(consensus, _VALIDATOR_POWER)]),
        members=registry,
        issuers=tuple(Issuer(name, issuer_key(name), SCHEMAS) for name in members),
        templates=tuple(templates),
        parameters=Parameters(),
        digest=octets("genesis", 32),
    )
    pairs = initial_pairs(genesis)
    for purpose in PURPOSES:
        pairs[newest_group_key_key(purpose)] = newest_entry(KEY_EPOCH)
        pairs[group_key_key(purpose, KEY_EPOCH)] = _shared(purpose, members).to_bytes()
    return pairs


def _shared(purpose: str, members: Sequence[str]) -> GroupKeyEntry:
    holders = tuple(
        KeyHolder(name, index, octets(f"{purpose}/{name}", POINT_BYTES), ready=True)
        for index, name in enumerate(sorted(members), start=1)
    )
    return GroupKeyEntry(
        purpose=purpose,
        key_epoch=KEY_EPOCH,
        sharing=1,
        threshold=enough_of(len(members)),
        public_key=octets(f"{purpose}/public", POINT_BYTES),
        holders=holders,
        ceremony=octets(f"{purpose}/ceremony", 16),
        height=1,
    )


@dataclass(frozen=True, slots=True)
class Presented:
    """Authorises with a holder's credential of an epoch, inside a scope; nothing proves it."""

    holder: Holder
    scope: str
    epoch: int

    @property
    def pseudonym(self) -> bytes:
        """The holder's name inside the scope."""
        return octets(f"{self.holder.name}/{self.scope}", PSEUDONYM_BYTES)

    @property
    def authorizer(self) -> bytes:
        """How a body names the pseudonym."""
        return presentation_authorizer(self.pseudonym)

    def authorize(self, context: bytes) -> bytes:
        """Return a serialised Authorization; no proof binds it to the context."""
        holder = self.holder
        is_staff = holder.schema == "staff"
        shown = [("member", holder.member), ("role", holder.role)] if is_staff else []
        presentation = pb.Presentation(
            issuer_public_key=issuer_key(holder.member),
            header=Header(holder.schema, holder.member, self.epoch).to_bytes(),
            disclosed=[
                pb.DisclosedAttribute(index=index, value=attribute_octets(name, "text", word))
                for index, (name, word) in enumerate(shown)
            ],
            scope=self.scope,
            proof=hashlib.sha256(context).digest(),
            pseudonym=self.pseudonym,
            opening_key=octets(f"{OPENING}/public", POINT_BYTES) if is_staff else b"",
            opening=octets(f"{holder.name}/opening", OPENING_BYTES) if is_staff else b"",
        )
        return exact_bytes(pb.Authorization(presentation=presentation))
