"""Everything there is while a block is executed: the pairs, the time, and the orders so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import decode, decode_map, encode
from tests.reference.templates import Document

NANOS = 1_000_000_000
BARE = encode({})  # the value of a pair that says everything by being there


@lru_cache(4096)
def _decoded(raw: bytes) -> Any:
    return decode(raw)


class Refusal(Exception):
    """An act is refused; the text is the reason on the chain."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. `lapsed` is the reason why a key may only give up rights, or ""."""

    kind: str
    key: bytes
    member: str
    schema: str = ""
    role: str = ""
    scope: str = ""
    pseudonym: bytes = b""
    shown: bool = False
    lapsed: str = ""


NOBODY = Actor("member", b"", "")


@dataclass(slots=True)
class World:
    """The state and the block. Values are canonical bytes, or raw where `raw` wrote them."""

    pairs: dict[bytes, bytes]
    templates: Mapping[tuple[str, int], Document]
    height: int = 0
    time_ns: int = 0
    orders: list[bytes] = field(default_factory=list[bytes])
    proposals: int = 0

    @property
    def now(self) -> int:
        """The block's time in whole seconds."""
        return self.time_ns // NANOS

    @property
    def epoch(self) -> int:
        """The credential epoch of the block."""
        rules = self.get(b"parameters")
        return max(0, self.time_ns - rules["genesis_ns"]) // (rules["epoch_seconds"] * NANOS) + 1

    @property
    def forgets_orders(self) -> bool:
        """Whether this block's machine forgets what nobody reports any more."""
        rules = self.get(b"parameters")
        version = rules["machine_version"]
        if rules["upgrade"] and self.height >= rules["upgrade"][1]:
            version = rules["upgrade"][0]
        return version >= 2

    def get(self, key: bytes) -> Any:
        """Return the decoded value under a key, which nobody changes; or None."""
        raw = self.pairs.get(key)
        return None if raw is None else _decoded(raw)

    def put(self, key: bytes, value: Any) -> None:
        """Write a value."""
        self.pairs[key] = encode(value)

    def drop(self, key: bytes) -> None:
        """Remove a pair, if it is there."""
        self.pairs.pop(key, None)

    def under(self, prefix: bytes) -> list[bytes]:
        """Return the keys that begin so, ascending."""
        return sorted(key for key in self.pairs if key.startswith(prefix))

    def members(self) -> dict[str, Document]:
        """Return the registry by id, in the order of the index."""
        found = {key[len(b"member/") :].decode(): self.get(key) for key in self.under(b"member/")}
        return dict(sorted(found.items(), key=lambda item: item[1]["index"]))

    def active(self) -> list[str]:
        """Return the members that are not suspended."""
        return [member for member, entry in self.members().items() if not entry["suspended"]]

    def record(self, record_id: bytes) -> Document:
        """Return a record's entry with its parsed anchor, or refuse."""
        found = self.get(b"record/" + record_id)
        if found is None:
            raise Refusal("RECORD_UNKNOWN")
        return {**found, "parsed": pb.RecordAnchor.FromString(found["anchor"])}

    def guardians(self, key_epoch: int) -> list[str]:
        """Return who has a share of the record key of an epoch, and a say."""
        entry = self.get(b"groupkey/record/" + key_epoch.to_bytes(8, "big")) if key_epoch else None
        ready = [one["member"] for one in entry["holders"] if one["ready"]] if entry else []
        return sorted(set(ready) & set(self.active()))

    def erased(self, record_id: bytes) -> bool:
        """Say whether a record's erasure was ordered."""
        return b"erased/" + record_id in self.pairs

    def instance(self, instance_id: bytes) -> Document:
        """Return a contract's entry, or refuse."""
        found = self.get(b"instance/" + instance_id)
        if found is None:
            raise Refusal("INSTANCE_UNKNOWN")
        return found

    @staticmethod
    def get_terms(instance: Document) -> Document:
        """Return the terms of a contract's entry."""
        return decode_map(instance["terms"])

    def template(self, name: str, version: int) -> Document:
        """Return a template that the state holds, or refuse."""
        if f"template/{name}/{version}".encode() not in self.pairs:
            raise Refusal("TEMPLATE_UNKNOWN")
        return self.templates[name, version]

    def active_template(self, name: str, version: int) -> Document:
        """Return a template that may be instantiated now, or refuse."""
        found = self.template(name, version)
        since = self.get(f"active/{name}/{version}".encode())
        if since is not None and self.now < since["from"]:
            raise Refusal("TEMPLATE_NOT_ACTIVE")
        return found

    def newest(self, name: str) -> int:
        """Return the highest version of a template that may be instantiated now."""
        prefix = f"template/{name}/".encode()
        for version in sorted((int(k[len(prefix) :]) for k in self.under(prefix)), reverse=True):
            since = self.get(f"active/{name}/{version}".encode())
            if since is None or since["from"] <= self.now:
                return version
        raise Refusal("TEMPLATE_UNKNOWN")

    def order(
        self, by: tuple[bytes, str], instruction: str, arguments: Document, members: list[str]
    ) -> tuple[int, int]:
        """Give an order for an instance (id, template); note whom it names; return its place."""
        index = len(self.orders)
        order = {
            "height": self.height,
            "index": index,
            "instance": by[0],
            "template": by[1],
            "instruction": instruction,
            "arguments": arguments,
        }
        self.orders.append(encode(order))
        if members:
            entry = {"instance": by[0], "instruction": instruction, "members": members}
            self.put(order_key(self.height, index), {**entry, "reports": []})
        return self.height, index


def order_key(height: int, index: int) -> bytes:
    """Return the key of what the state holds of an order."""
    return b"order/" + height.to_bytes(8, "big") + index.to_bytes(4, "big")


def timer_key(due: int, instance: bytes) -> bytes:
    """Return the key of a timer."""
    return b"timer/" + due.to_bytes(8, "big") + instance
