"""A store with many templates and many contracts, filled through the product's own classes.

The contracts are consents of records of the second suite, spread over the shipped consent and
copies of it under other names.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.canonical import decode_map, encode
from cipherward_chain.genesis import Genesis, TemplateDocument
from cipherward_chain.group_keys import (
    POINT_BYTES,
    GroupKeyEntry,
    KeyHolder,
    group_key_key,
    newest_entry,
    newest_group_key_key,
)
from cipherward_chain.group_keys import RECORD as RECORD_KEY
from cipherward_chain.testing import make_genesis, seed_of
from cipherward_chain.wire import exact_bytes
from cipherward_contract.entries import (
    INSTANCE,
    KEY,
    RECORD,
    Instance,
    Origin,
    Position,
    Record,
    Registration,
    pseudonym_key,
)
from cipherward_contract.genesis_state import initial_pairs
from cipherward_contract.store import SCHEMA, Head, all_pairs, save_head, save_writes
from cipherward_contract.testing import shipped_documents
from cipherward_contract.testing_records import shared_anchor
from cipherward_contract.tree import StateTree
from cipherward_kit.database import Database
from cipherward_kit.testing import MEMBERS, TestAlliance

TEMPLATES = 100
BATCH = 50_000  # pairs of one transaction
READER = "hospital-b"
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Town:
    """A genesis of many templates, in a folder with what a member's service needs."""

    folder: Path
    alliance: TestAlliance
    genesis: Genesis
    document: bytes
    consents: tuple[str, ...]  # the names of the consent and its copies

    @classmethod
    def found(cls, folder: Path) -> Town:
        """Make it; the chain has begun a minute ago, so that clocks agree."""
        shipped = shipped_documents()
        consent = next(one for one in shipped if one.name == "consent")
        copies = [
            TemplateDocument(name, 1, encode({**decode_map(consent.document), "name": name}))
            for name in (f"consent-{n}" for n in range(TEMPLATES - len(shipped)))
        ]
        alliance = TestAlliance(folder)
        authorities = alliance.authorities.items()
        genesis, keys = make_genesis(
            templates=[*shipped, *copies],
            ca_certificates={member: one.certificate_pem.decode() for member, one in authorities},
            time_ns=time.time_ns() - 60 * 10**9,
        )
        names = ("consent", *(one.name for one in copies))
        return cls(folder, alliance, genesis, keys.document, names)


def pairs(town: Town, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield a record key, a clinician, and `count` records with a consent each."""
    holders = tuple(KeyHolder(m, n, bytes(POINT_BYTES), True) for n, m in enumerate(MEMBERS, 1))
    entry = GroupKeyEntry(RECORD_KEY, 1, 1, 3, bytes(POINT_BYTES), holders, bytes(16), 1)
    yield newest_group_key_key(RECORD_KEY), newest_entry(1)
    yield group_key_key(RECORD_KEY, 1), entry.to_bytes()
    scope, pseudonym, key = f"duty:{READER}:1", bytes(48), clinician().public_key
    staff = Registration(pseudonym, scope, READER, "staff", "clinician", 1, 1)
    yield KEY + key, staff.to_bytes()
    yield pseudonym_key(scope, pseudonym), key
    expires = int(time.time()) + DAY
    for number in range(count):
        record, owner = record_id(number), hashlib.sha256(b"owner" + record_id(number)).digest()
        anchor = shared_anchor(1)
        anchor.record_id = record
        yield RECORD + record, Record(exact_bytes(anchor), owner, owner, 1).to_bytes()
        terms = {
            "record": record,
            "grantee_member": READER,
            "grantee_key": b"",
            "representative_key": b"",
            "purposes": ["TREAT"],
            "expires": expires + number % DAY,
            "visits_max": 10,
            "visit_seconds": 600,
        }
        template = town.consents[number % len(town.consents)]
        origin = Origin(template, 1, encode(terms), owner, 1)
        yield INSTANCE + record, Instance(record, origin, Position("active", expires)).to_bytes()


def record_id(number: int) -> bytes:
    """Return the id of a record, and of the consent about it."""
    return hashlib.sha256(number.to_bytes(8, "big")).digest()[:16]


def clinician() -> PseudonymSigner:
    """Return the signer of the clinician whom every consent lets."""
    return PseudonymSigner(seed_of("clinician"))


async def fill(town: Town, data: Path, count: int) -> None:
    """Write the state of the town's chain with `count` contracts."""
    async with Database(data / "state.db", SCHEMA) as database:
        written = dict(initial_pairs(town.genesis))
        for key, value in pairs(town, count):
            written[key] = value
            if len(written) >= BATCH:
                await database.write(lambda c, writes=written: save_writes(c, writes))
                written = {}
        await database.write(lambda c: save_writes(c, written))
        tree = await database.read(lambda c: StateTree(all_pairs(c)))
        head = Head(1, town.genesis.time_ns, tree.root, town.genesis.digest)
        await database.write(lambda c: save_head(c, head))
