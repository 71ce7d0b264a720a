"""Five members' stores and parts, three of whom hold a data key that is reshared.

The members ask what each other's exchange shows them. The library makes the key at once; its
columns are lists of digests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cipherward_chain.testing import seed_of
from cipherward_compute.ceremony.handing import Handing
from cipherward_compute.ceremony.resharing import ResharingSteps
from cipherward_compute.ciphertexts import Ciphertexts
from cipherward_compute.column_keys import PROFILE, ColumnKeys, DataKey, Slots
from cipherward_compute.columns import Layout, Manifest, Manifests
from cipherward_compute.errors import NotYetMade, StudyUnknown
from cipherward_compute.exchange import Exchange, Shown
from cipherward_compute.inference.uses import Uses
from cipherward_compute.keyring import KEY_SHARE, Keyring, MessageKind
from cipherward_compute.member import Member
from cipherward_compute.shares import ShareLog
from cipherward_compute.store import ChainStore
from cipherward_compute.studies import News, Studies
from cipherward_compute.vault import CeremonyRoot, Vault
from cipherward_compute.verdicts import Verdicts
from cipherward_kit.database import Database
from cipherward_studies.columns import ColumnText
from cipherward_threshold.decryption import combine, partial_decryption
from cipherward_threshold.encryption import encrypt
from cipherward_threshold.keys import combine_public_key, member_secret, public_key_digest
from cipherward_threshold.shamir import aggregate_shares
from services.compute.tests.members_on_disk import MembersOnDisk, Neighbours

A, B, C, D, E = MEMBERS = tuple(f"hospital-{letter}" for letter in "abcde")
FIRST = (A, B, C)
POINTS = {name: place + 1 for place, name in enumerate(MEMBERS)}
SOURCE = b"k" * 16
EVALUATION_KEY = b"an evaluation key"
PSEUDONYMS = tuple(sorted(seed_of(name)[:32] + bytes(16) for name in ("x", "y", "z")))
TEXT = ColumnText.from_document(
    {"data_set": "cohort-1", "variables": [{"name": "age", "low": 0, "high": 120}]}
)


@dataclass(frozen=True)
class MadeKey:
    """A data key of the first three members, any two of whom decrypt; shares by member."""

    public_key: bytes
    shares: Mapping[str, bytes]
    lists: Mapping[str, Manifest]

    @property
    def digest(self) -> bytes:
        return public_key_digest(self.public_key)

    @classmethod
    def make(cls) -> MadeKey:
        """Make it; always the same."""
        points = [POINTS[name] for name in FIRST]
        secrets = [member_secret(PROFILE, seed_of(name), b"a data key") for name in FIRST]
        deals = [one.deal(points, 2) for one in secrets]
        shares = {
            name: aggregate_shares(PROFILE, [deal[POINTS[name]] for deal in deals])
            for name in FIRST
        }
        public = combine_public_key(PROFILE, b"a data key", [s.public_key_share() for s in secrets])
        slots = Slots.of(SOURCE, PSEUDONYMS)
        layout = Layout(DataKey(SOURCE, TEXT.data_set, 10, TEXT.digest, TEXT, 1), slots)
        lists = {
            name: Manifest(
                SOURCE,
                name,
                TEXT.digest,
                slots.digest,
                tuple(seed_of(f"{name}/{place}") for place in range(len(layout.columns))),
                tuple(seed_of(f"{name}/proof/{place}") for place in range(len(layout.batches))),
            )
            for name in FIRST
        }
        return cls(public, shares, lists)

    def opened_with(self, shares: Mapping[int, bytes]) -> list[int]:
        """Decrypt 41, 42 with shares by point, as they name their sharing."""
        ciphertext = encrypt(PROFILE, self.public_key, [41, 42])
        given = [
            partial_decryption(
                PROFILE,
                share,
                ciphertext,
                point=point,
                online=tuple(shares),
                seed=b"s" * 32,
                context=b"test",
                circuit="column-sum",
            )
            for point, share in shares.items()
        ]
        return combine(PROFILE, ciphertext, given, 2, circuit="column-sum")


@dataclass
class Holder:
    """A member's stores and steps."""

    vault: Vault
    keyring: Keyring
    keys: ColumnKeys
    manifests: Manifests
    chain: ChainStore
    studies: Studies
    exchange: Exchange
    steps: ResharingSteps
    peers: Neighbours


@dataclass
class Alliance(MembersOnDisk):
    """Five members, none of whom holds a key yet."""

    at: dict[str, Holder] = field(default_factory=dict[str, Holder])

    def assemble(self, me: Member, database: Database) -> None:
        vault = Vault(seed_of(f"{me.id}/data"))
        keyring, keys, manifests = (
            Keyring(database, vault),
            ColumnKeys(database),
            Manifests(database),
        )
        studies = Studies(database, News())
        shown = Shown(
            keyring,
            Handing(keyring, keys, manifests),
            Ciphertexts(database, vault),
            Verdicts(database),
            ShareLog(database, vault),
            manifests,
            Uses(database, vault),
        )
        peers = Neighbours(me.id, self._message)
        self.at[me.id] = Holder(
            vault,
            keyring,
            keys,
            manifests,
            ChainStore(database),
            studies,
            Exchange(me.id, studies, shown, lambda: None),
            ResharingSteps(me, CeremonyRoot(seed_of(f"{me.id}/ceremony")), keyring, peers),
            peers,
        )

    async def _message(self, member: str, study: bytes, kind: MessageKind, to: str) -> bytes:
        try:
            return await self.at[member].exchange.ceremony_message(study, kind, to)
        except (NotYetMade, StudyUnknown):
            return b""

    def give(self, made: MadeKey) -> None:
        """Let the first members hold the key, and know of its columns, as when it is ready."""
        for name in FIRST:
            sealed = self.at[name].vault.seal(made.shares[name], KEY_SHARE, SOURCE)
            for statement, values in (
                (
                    "INSERT INTO ceremonies VALUES (?, ?, x'', ?, ?, ?, ?)",
                    (SOURCE, PROFILE, seed_of(name), made.public_key, sealed, EVALUATION_KEY),
                ),
                (
                    "INSERT INTO data_keys VALUES (?, ?, 10, ?, ?, 5)",
                    (SOURCE, TEXT.data_set, TEXT.digest, TEXT.octets),
                ),
                (
                    "INSERT INTO studies (study, requester, members, lapses, template, stage)"
                    " VALUES (?, x'', x'80', 0, 'data-key', 'ready')",
                    (SOURCE,),
                ),
            ):
                self.sql(name, statement, *values)
            for pseudonym in PSEUDONYMS:
                self.sql(name, "INSERT INTO registrations VALUES (?, ?, 4)", SOURCE, pseudonym)
            for other, listed in made.lists.items():
                self.sql(
                    name,
                    "INSERT INTO column_manifests (study, member, manifest) VALUES (?, ?, ?)",
                    SOURCE,
                    other,
                    listed.to_bytes(),
                )
