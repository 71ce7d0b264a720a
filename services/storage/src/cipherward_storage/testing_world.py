"""What a test does with a storage: makes blocks, uploads, orders, reads and hears reports."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.acts import anchor_record
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.group_key_orders import USE_SHARING, SharingOrder
from cipherward_chain.orders import Order
from cipherward_chain.reads import build_read
from cipherward_chain.results import TransactionResult
from cipherward_chain.transactions import build_transaction, parse_transaction
from cipherward_kit.testing import eventually
from cipherward_member.testing_keys import SharedKey
from cipherward_storage.service import GET_GUARDIAN_SHARE, GET_RECORD, GET_RELEASED_KEY
from cipherward_storage.testing import (
    MEBIBYTE,
    MEMBERS,
    TestReader,
    TestRecord,
    custodian_slot,
    make_record,
    record_key,
)
from cipherward_storage.testing_ledger import HOUR
from cipherward_storage.testing_storage import RunningStorage


class World(RunningStorage):
    """The storage of one member, with its chain in the test's hands."""

    def sharing_order(self, shared: SharedKey | None = None, index: int = 0) -> Order:
        """The order that puts a record key into force."""
        entry = (shared or record_key()).entry
        used = SharingOrder(
            entry.ceremony,
            entry.purpose,
            entry.key_epoch,
            entry.sharing,
            entry.threshold,
            tuple(holder.member for holder in entry.holders),
            entry.guardians,
            entry.public_key,
        )
        height = self.chain.next_height()
        return Order(height, index, entry.ceremony, "key-ceremony", USE_SHARING, used.arguments())

    def record(self, size: int = 3 * MEBIBYTE + 12_345, **changes: Any) -> TestRecord:
        """Make a record for this member; `changes` are fields of the anchor that shall differ."""
        return make_record(self.keys, self.member, size, **changes)

    def slot(self, record_id: bytes, key_part: bytes, custodian: str = "") -> bytes:
        return custodian_slot(self.keys, record_id, key_part, custodian or self.member)

    def reader(self) -> TestReader:
        return TestReader()

    async def put(
        self,
        record: TestRecord,
        *,
        request_id: str | None = None,
        offset: int = 0,
        parts: Iterable[bytes] | None = None,
    ) -> pb.PutRecordResponse:
        name = request_id or str(uuid.uuid4())
        given = record.parts(offset) if parts is None else parts

        def messages() -> Iterator[pb.PutRecordRequest]:
            yield pb.PutRecordRequest(header=record.header(name, offset))
            for part in given:
                yield pb.PutRecordRequest(part=part)

        return await self.stub.PutRecord(messages(), timeout=30)

    def transaction(self, member: str, *acts: chain_pb.Act) -> bytes:
        return build_transaction(
            acts or (chain_pb.Act(tick=chain_pb.Tick()),),
            chain_id=self.genesis.chain_id,
            expires_at=self.clock.seconds + 300,
            signer=MemberSigner(member, self.keys.member_seeds[member]),
        )

    async def block(
        self,
        *transactions: bytes,
        orders: Iterable[Order] = (),
        results: list[TransactionResult] | None = None,
    ) -> int:
        """Make a block and wait until every storage of the scene has applied it."""
        height = self.grow(*transactions, orders=orders, results=results)
        await asyncio.gather(
            self.applied(height), *(one.applied(height) for one in self.scene.storages.values())
        )
        return height

    def grow(
        self,
        *transactions: bytes,
        orders: Iterable[Order] = (),
        results: list[TransactionResult] | None = None,
    ) -> int:
        """Make a block now, by the test's clock; return its height."""
        height = self.chain.next_height()
        self.clock.advance(0.001)  # block times increase
        self.chain.append(
            transactions or (self.transaction("hospital-d"),),
            orders=tuple(orders),
            results=results,
            time_ns=self.clock.now_ns,
        )
        # The proof block's time is 10 ms later.
        self.clock.advance(0.01)
        return height

    async def anchored(self, record: TestRecord) -> int:
        act = anchor_record(record.anchor, record.slot_digest)
        return await self.block(self.transaction(record.anchor.author, act))

    def release_order(
        self, record: TestRecord, reader: TestReader, index: int = 0, /, **changes: Any
    ) -> Order:
        arguments: dict[str, Any] = {
            "record": record.id,
            "custodian": record.anchor.custodian,
            "anchor_digest": record.anchor_digest,
            "slot_digest": record.slot_digest,
            "reader_key": reader.sealing.public_key,
            "reader": reader.public_key,
            "grant": b"G" * 16,
            "ends": self.clock.seconds + HOUR,
            "key_epoch": record.anchor.key_epoch,
            "guardians": list(MEMBERS),
        }
        order = self.chain.order(index, "release_key", **{**arguments, **changes})
        return replace(order, template="consent", instance=order.arguments["grant"])

    def ending_orders(self, record: TestRecord, grant: bytes = b"G" * 16) -> list[Order]:
        """The orders of a revocation or an expiry."""
        custodian = record.anchor.custodian
        arguments = {"record": record.id, "custodian": custodian, "grant": grant}
        return [
            self.chain.order(0, "revoke_key", **arguments),
            self.chain.order(1, "cut_transfers", **arguments),
        ]

    def erasure_order(self, record: TestRecord, index: int = 0) -> Order:
        """The order to erase a record."""
        arguments: dict[str, Any] = {
            "record": record.id,
            "custodian": record.anchor.custodian,
            "members": list(MEMBERS),
        }
        order = self.chain.order(index, "erase_record", **arguments)
        return replace(order, template="erasure")

    async def stored(self, size: int = 3 * MEBIBYTE + 12_345) -> TestRecord:
        """A record that is uploaded and anchored."""
        record = self.record(size)
        await self.put(record)
        await self.anchored(record)
        return record

    async def released(self, record: TestRecord, reader: TestReader, /, **changes: Any) -> Order:
        """Order a release and wait until it is carried out."""
        order = self.release_order(record, reader, **changes)
        await self.block(orders=[order])
        return order

    def read(
        self, method: str, record_id: bytes, order: Order | None, reader: TestReader
    ) -> chain_pb.AuthorizedRead:
        return build_read(
            method,
            record_id,
            chain_id=self.genesis.chain_id,
            signer=reader.signer,
            time_ns=self.clock.now_ns,
            order=None if order is None else (order.height, order.index),
        )

    async def key(
        self, record: TestRecord, order: Order, reader: TestReader
    ) -> pb.GetReleasedKeyResponse:
        read = self.read(GET_RELEASED_KEY, record.id, order, reader)
        return await self.holder.GetReleasedKey(pb.GetReleasedKeyRequest(read=read), timeout=10)

    async def share(self, record: TestRecord, order: Order, reader: TestReader) -> bytes:
        """Return this guardian's share as it is served: sealed."""
        read = self.read(GET_GUARDIAN_SHARE, record.id, order, reader)
        request = pb.GetGuardianShareRequest(read=read)
        return (await self.holder.GetGuardianShare(request, timeout=10)).sealed_part

    def download(
        self, record: TestRecord, order: Order, reader: TestReader, offset: int = 0
    ) -> Any:
        read = self.read(GET_RECORD, record.id, order, reader)
        return self.holder.GetRecord(pb.GetRecordRequest(read=read, offset=offset), timeout=30)

    async def ciphertext(
        self, record: TestRecord, order: Order, reader: TestReader, offset: int = 0
    ) -> bytes:
        parts = [m.part async for m in self.download(record, order, reader, offset)]
        return b"".join(parts)

    def told(self) -> list[chain_pb.Report]:
        """Return what this member has reported so far."""
        found = [parse_transaction(raw) for raw in self.ledger.submitted]
        mine = [t for t in found if t.authorization.member.member_id == self.member]
        return [act.report for t in mine for act in t.body.acts if act.HasField("report")]

    async def reports(self, count: int) -> list[chain_pb.Report]:
        """Wait for so many submitted reports of this member and return them."""
        await eventually(lambda: len(self.told()) >= count, what="the reports")
        return self.told()
