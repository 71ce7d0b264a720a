"""What an archive says about itself: whose it is, of which chain and height, and what is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cipherward_chain.domains import BACKUP
from cipherward_chain.json_fields import JsonFields, JsonMalformed
from cipherward_chain.signatures import SignatureRejected, SigningKey, verify_signature
from cipherward_client.backup.errors import ArchiveMalformed, ArchiveUnsigned

FORMAT: Final = 1
DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive: service/path, its length and its SHA-256."""

    path: str
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of an archive.

    genesis: SHA-256 of the document. made_at: Unix seconds. heights: by store, the block that it
    stands at; slot keys have none. entries: in the order of the archive.
    """

    chain_id: str
    genesis: bytes
    member: str
    made_at: int
    stores: tuple[str, ...]
    heights: Mapping[str, int]
    entries: tuple[Entry, ...]

    def to_bytes(self) -> bytes:
        """Return the JSON document."""
        document = {
            "format": FORMAT,
            "chain_id": self.chain_id,
            "genesis": self.genesis.hex(),
            "member": self.member,
            "made_at": self.made_at,
            "stores": list(self.stores),
            "heights": [{"store": s, "height": h} for s, h in sorted(self.heights.items())],
            "entries": [
                {"path": one.path, "size": one.size, "sha256": one.digest.hex()}
                for one in self.entries
            ],
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def parse(cls, raw: bytes) -> Manifest:
        """Return what the document says.

        Raises:
            ArchiveMalformed: it is out of form, or of another format.
        """
        try:
            fields = JsonFields.parse(raw, "manifest")
            if fields.integer("format", minimum=1) != FORMAT:
                raise ArchiveMalformed("the manifest has another format than this release knows")
            found = cls(
                fields.text("chain_id"),
                fields.hexadecimal("genesis", length=DIGEST_BYTES),
                fields.text("member"),
                fields.integer("made_at", minimum=0),
                fields.texts("stores"),
                {
                    one.text("store"): one.integer("height", minimum=0)
                    for one in fields.objects("heights")
                },
                tuple(
                    Entry(
                        one.text("path"),
                        one.integer("size", minimum=0),
                        one.hexadecimal("sha256", length=DIGEST_BYTES),
                    )
                    for one in fields.objects("entries")
                ),
            )
            fields.end()
        except JsonMalformed as error:
            raise ArchiveMalformed(str(error)) from None
        return found


def sign_manifest(raw: bytes, key: SigningKey) -> bytes:
    """Return the member's signature (64 bytes) over a manifest's bytes."""
    return key.sign(BACKUP + hashlib.sha256(raw).digest())


def check_signature(raw: bytes, signature: bytes, public_key: bytes) -> None:
    """Raise `ArchiveUnsigned` unless the key's owner signed the manifest."""
    try:
        verify_signature(public_key, BACKUP + hashlib.sha256(raw).digest(), signature)
    except SignatureRejected:
        raise ArchiveUnsigned("the manifest's signature is not by this member's key") from None
