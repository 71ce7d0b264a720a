"""A trust root as a file: what a reader gets out of band, small enough to be compared by eye."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.comet import Validator, ValidatorSet, ValidatorsMalformed
from cipherward_chain.errors import ChainError
from cipherward_chain.genesis import CHAIN_ID, ENGINES, Genesis
from cipherward_chain.json_fields import JsonFields, JsonMalformed
from cipherward_chain.rfc3339 import TimeMalformed, format_time, parse_time
from cipherward_chain.signatures import KeyRefused, check_public_key
from cipherward_chain.trust import TrustPoint

FORMAT: Final = 1
# Two sets of a hundred validators are 25 kB; what is much longer is another file.
ROOT_BYTES_MAX: Final = 256 * 1024


class RootMalformed(ChainError):
    """A document is no trust root; the text says where."""

    reason = "ROOT_MALFORMED"


@dataclass(frozen=True, slots=True)
class RootFile:
    """What a reader trusts: the genesis, and perhaps a later header.

    root: chain, genesis digest, first validators, engine.
    time_ns: the genesis time, Unix nanoseconds.
    checkpoint: a header that more than f members have said to be the chain's, or None. It renews
        the trusting period, and a stolen key of a member that left before it is worth nothing.
    """

    root: TrustRoot
    time_ns: int
    checkpoint: TrustPoint | None = None

    @classmethod
    def of_genesis(cls, genesis: Genesis) -> RootFile:
        """Return the root that is in a genesis."""
        return cls(genesis.trust_root(), genesis.time_ns)

    @property
    def point(self) -> TrustPoint:
        """Where verification begins: the checkpoint, or else the genesis."""
        return self.checkpoint or TrustPoint.of_genesis(self.root, self.time_ns)

    def to_bytes(self) -> bytes:
        """Return the document, JSON."""
        document: dict[str, object] = {
            "format": FORMAT,
            "chain_id": self.root.chain_id,
            "engine": self.root.engine,
            "genesis_digest": self.root.genesis_digest.hex(),
            "genesis_time": format_time(self.time_ns),
            "validators": _set_document(self.root.validators),
        }
        if self.checkpoint is not None:
            document["checkpoint"] = _point_document(self.checkpoint)
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def parse(cls, raw: bytes) -> RootFile:
        """Return the root whose document is `raw`, or raise `RootMalformed`."""
        if len(raw) > ROOT_BYTES_MAX:
            raise RootMalformed("a trust root is not so long")
        try:
            return _parse(raw)
        except (JsonMalformed, TimeMalformed, ValidatorsMalformed, KeyRefused) as error:
            raise RootMalformed(str(error)) from error


def _set_document(validators: ValidatorSet) -> Sequence[Mapping[str, object]]:
    return [{"public_key": v.public_key.hex(), "power": v.power} for v in validators.validators]


def _point_document(point: TrustPoint) -> Mapping[str, object]:
    return {
        "height": point.height,
        "header_hash": point.header_hash.hex(),
        "time": format_time(point.time_ns),
        "validators": _set_document(point.validators),
        "next_validators_hash": point.next_validators_hash.hex(),
    }


def _parse(raw: bytes) -> RootFile:
    top = JsonFields.parse(raw, "root")
    if top.integer("format", minimum=1) != FORMAT:
        raise RootMalformed("a trust root of a later format")
    chain_id, engine = top.text("chain_id"), top.text("engine")
    if not CHAIN_ID.fullmatch(chain_id) or engine not in ENGINES:
        raise RootMalformed("root.chain_id or root.engine is none")
    digest = top.hexadecimal("genesis_digest", length=32)
    time_ns = parse_time(top.text("genesis_time"))
    root = TrustRoot(chain_id, digest, _validators(top), engine)
    point = _point(top.object("checkpoint")) if top.has("checkpoint") else None
    top.end()
    return RootFile(root, time_ns, point)


def _validators(fields: JsonFields) -> ValidatorSet:
    found: list[Validator] = []
    for item in fields.objects("validators"):
        key = item.hexadecimal("public_key", length=32)
        check_public_key(key)
        found.append(Validator(key, item.integer("power", minimum=1)))
        item.end()
    return ValidatorSet(tuple(found))


def _point(fields: JsonFields) -> TrustPoint:
    found = TrustPoint(
        height=fields.integer("height", minimum=1),
        header_hash=fields.hexadecimal("header_hash", length=32),
        time_ns=parse_time(fields.text("time")),
        validators=_validators(fields),
        next_validators_hash=fields.hexadecimal("next_validators_hash", length=32),
    )
    fields.end()
    return found
