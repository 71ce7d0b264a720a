"""A holder's wallet: what must not be lost, and the keys that come from it.

It does no I/O: `wallet.file` writes its backup, the SDK uses it. One-time keys that records are
released to are never kept here.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from cipherward_anoncred.credential import Credential
from cipherward_anoncred.errors import AnoncredError
from cipherward_anoncred.schema import HeaderFields, parse_header
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.canonical import NotCanonical, Value, decode, encode
from cipherward_chain.fields import Fields
from cipherward_client.wallet.derivation import PSEUDONYM, REQUESTER, SEED_BYTES, derive
from cipherward_client.wallet.entries import GivenGrant, KeptStudy, OwnedRecord, PendingCredential
from cipherward_client.wallet.errors import (
    CredentialMissing,
    EntryUnknown,
    WalletFileMalformed,
    WalletOfAnotherChain,
)
from cipherward_client.wallet.scopes import issue_of

T = TypeVar("T")

FORMAT = 2  # of the backup's content; 1 did not know the genesis
GENESIS_BYTES = 32  # SHA-256


@dataclass(slots=True)
class Wallet:
    """Seed, credentials and memory of one holder in one alliance; `create` makes a new one.

    `credentials` is by (schema, issuer); all credentials of a schema hold the same secret.
    `registered` is the newest epoch in which a scope's key is known to be registered. `genesis` is
    the digest of the chain's, empty until the wallet is first used there.
    """

    chain_id: str
    seed: bytes = field(repr=False)
    credentials: dict[tuple[str, str], Credential] = field(
        default_factory=dict[tuple[str, str], Credential], repr=False
    )
    pending: dict[str, PendingCredential] = field(
        default_factory=dict[str, PendingCredential], repr=False
    )
    registered: dict[str, int] = field(default_factory=dict[str, int], repr=False)
    records: dict[bytes, OwnedRecord] = field(default_factory=dict[bytes, OwnedRecord], repr=False)
    grants: dict[bytes, GivenGrant] = field(default_factory=dict[bytes, GivenGrant], repr=False)
    studies: dict[bytes, KeptStudy] = field(default_factory=dict[bytes, KeptStudy], repr=False)
    genesis: bytes = field(default=b"", repr=False)

    @classmethod
    def create(cls, chain_id: str, genesis: bytes = b"") -> Wallet:
        """Return an empty wallet with a fresh seed; without a genesis it takes the first met."""
        return cls(chain_id, secrets.token_bytes(SEED_BYTES), genesis=genesis)

    def require_chain(self, chain_id: str, genesis: bytes) -> None:
        """Return if the wallet is of that chain; one that knows no genesis yet remembers this one.

        Args:
            chain_id: the chain's name.
            genesis: the digest of its genesis: another chain may have the same name.

        Raises:
            WalletOfAnotherChain: it is of another one.
        """
        if self.chain_id != chain_id:
            raise WalletOfAnotherChain(f"this wallet is of {self.chain_id}, not of {chain_id}")
        if self.genesis not in (b"", genesis):
            raise WalletOfAnotherChain(
                f"this wallet is of another chain that is called {chain_id}, too: of the genesis "
                f"{self.genesis.hex()}, not of {genesis.hex()}"
            )
        self.genesis = genesis

    def pseudonym_seed(self, scope: str) -> bytes:
        """Return the Ed25519 seed (32 bytes) of the key behind the scope's pseudonym."""
        return derive(self.seed, self.chain_id, PSEUDONYM, scope.encode())

    def signer(self, scope: str) -> PseudonymSigner:
        """Return who signs as the scope's registered pseudonym."""
        return PseudonymSigner(self.pseudonym_seed(scope))

    def public_key(self, scope: str) -> bytes:
        """Return the Ed25519 key (32 bytes) behind the scope's pseudonym."""
        return self.signer(scope).public_key

    def requester_seed(self, study_id: bytes) -> bytes:
        """Return the seed (32 bytes) of the key that a study's result is switched to."""
        return derive(self.seed, self.chain_id, REQUESTER, study_id)

    def add_credential(self, credential: Credential) -> HeaderFields:
        """Keep a credential, in the place of an older one of the same schema and issuer."""
        header = parse_header(credential.header)
        self.credentials[header.schema, header.issuer] = credential
        return header

    def credential(self, schema: str, issuer: str) -> Credential:
        """Return the credential of one issuer, or raise `CredentialMissing`."""
        try:
            return self.credentials[schema, issuer]
        except KeyError:
            raise CredentialMissing(f"no {schema} credential of {issuer} in the wallet") from None

    def credential_for(self, scope: str) -> Credential:
        """Return the credential that serves a scope: of the newest epoch if several do.

        Raises:
            CredentialMissing: none does.
        """
        issue = issue_of(scope)
        found = [
            (parse_header(credential.header).epoch, issuer)
            for (schema, issuer), credential in self.credentials.items()
            if schema == issue.schema and issue.issuer in ("", issuer)
        ]
        if not found:
            wanted = f"{issue.schema} credential" + (f" of {issue.issuer}" * bool(issue.issuer))
            raise CredentialMissing(f"no {wanted} in the wallet")
        return self.credentials[issue.schema, max(found)[1]]

    def record(self, record_id: bytes) -> OwnedRecord:
        """Return an owned record, or raise `EntryUnknown`."""
        return _entry(self.records, record_id, "record")

    def grant(self, grant_id: bytes) -> GivenGrant:
        """Return a given grant, or raise `EntryUnknown`."""
        return _entry(self.grants, grant_id, "grant")

    def study(self, study_id: bytes) -> KeptStudy:
        """Return a proposed study, or raise `EntryUnknown`."""
        return _entry(self.studies, study_id, "study")

    def to_bytes(self) -> bytes:
        """Return the backup's content, canonical CBOR; secret."""
        return encode(
            {
                "format": FORMAT,
                "chain_id": self.chain_id,
                **({"genesis": self.genesis} if self.genesis else {}),
                "seed": self.seed,
                "credentials": [c.to_octets() for c in self.credentials.values()],
                "pending": [p.to_value() for p in self.pending.values()],
                "registered": dict(self.registered),
                "records": [r.to_value() for r in self.records.values()],
                "grants": [g.to_value() for g in self.grants.values()],
                "studies": [s.to_value() for s in self.studies.values()],
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Wallet:
        """Return the wallet whose content is `raw`, or raise `WalletFileMalformed`."""
        try:
            fields = Fields(decode(raw))
            if fields.integer("format", minimum=1) > FORMAT:
                raise WalletFileMalformed("the wallet has a format of a later release")
            wallet = cls(fields.text("chain_id"), fields.octets("seed", length=SEED_BYTES))
            if fields.has("genesis"):
                wallet.genesis = fields.octets("genesis", length=GENESIS_BYTES)
            for octets in fields.items("credentials"):
                wallet.add_credential(Credential.from_octets(_octets(octets)))
            pending = map(PendingCredential.from_value, fields.items("pending"))
            wallet.pending.update((p.code, p) for p in pending)
            registered = Fields(known := fields.mapping("registered"))
            wallet.registered.update((scope, registered.integer(scope)) for scope in known)
            records = map(OwnedRecord.from_value, fields.items("records"))
            wallet.records.update((r.record_id, r) for r in records)
            grants = map(GivenGrant.from_value, fields.items("grants"))
            wallet.grants.update((g.grant_id, g) for g in grants)
            studies = map(KeptStudy.from_value, fields.items("studies"))
            wallet.studies.update((s.study_id, s) for s in studies)
            fields.end()
        except (NotCanonical, AnoncredError) as error:
            raise WalletFileMalformed(f"the wallet's content is out of form: {error}") from error
        return wallet


def _octets(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise NotCanonical("not octets")
    return value


def _entry(known: Mapping[bytes, T], name: bytes, kind: str) -> T:
    try:
        return known[name]
    except KeyError:
        raise EntryUnknown(f"the wallet knows no {kind} {name.hex()}") from None
