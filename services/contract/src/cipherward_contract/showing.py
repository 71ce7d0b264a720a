"""Protobuf at the edge: how the service shows what was found."""

from __future__ import annotations

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import encode
from cipherward_chain.wire import NANOS, timestamp_of
from cipherward_contract.disclosures import DisclosureRow
from cipherward_contract.entries import Instance
from cipherward_contract.errors import SnapshotRefused
from cipherward_contract.notices import NoticeRow
from cipherward_contract.registry import Registered
from cipherward_contract.snapshots import Snapshot


def contract_of(instance: Instance) -> pb.Contract:
    """Return an instance as the service shows it."""
    return pb.Contract(
        instance_id=instance.id,
        template=instance.origin.template,
        version=instance.origin.version,
        state=instance.position.state,
        terms=instance.origin.document,
        variables=encode(instance.variables),
        created_height=instance.origin.height,
        changed_height=instance.changed,
    )


def registered_of(one: Registered) -> pb.RegisteredMember:
    """Return a member of the registry as the service shows it."""
    member = one.member
    return pb.RegisteredMember(
        member_id=member.id,
        name=member.name,
        index=member.index,
        public_key=member.public_key,
        custodian_public_key=member.custodian_public_key,
        ca_certificate=member.ca_certificate,
        consensus_public_key=member.consensus_public_key,
        node_id=member.node_id,
        voting_power=one.voting_power,
    )


def snapshot_info(found: Snapshot) -> pb.SnapshotInfo:
    """Return a snapshot as the engine is told of it."""
    return pb.SnapshotInfo(
        height=found.height,
        format=found.format,
        chunks=found.chunks,
        hash=found.hash,
        metadata=found.metadata,
    )


def offered_snapshot(info: pb.SnapshotInfo) -> Snapshot:
    """Return the snapshot that a peer says it has, or raise `SnapshotRefused`."""
    offered = Snapshot(info.height, info.metadata, info.format)
    if offered.chunks != info.chunks:
        raise SnapshotRefused("the snapshot has not as many digests as chunks", part="snapshot")
    return offered


def disclosure_of(row: DisclosureRow) -> pb.Disclosure:
    """Return a row of the disclosures as the service shows it."""
    order = None
    if row.order is not None:
        order = chain_pb.OrderRef(height=row.order[0], index=row.order[1])
    return pb.Disclosure(
        stage=pb.DisclosureStage.ValueType(row.stage.value),
        transaction_id=row.transaction_id,
        height=row.height,
        time=timestamp_of(row.time_ns),
        member=row.member,
        role=row.role,
        purpose=row.purpose,
        instance_id=row.instance,
        order=order,
        report_transaction_id=row.report_transaction_id,
        reason=row.reason,
    )


def notice_of(row: NoticeRow) -> pb.Notice:
    """Return a notice as the service shows it."""
    return pb.Notice(
        kind=row.kind,
        record_id=row.record,
        instance_id=row.instance,
        height=row.height,
        time=timestamp_of(row.time_ns),
        due=timestamp_of(row.due * NANOS) if row.due else None,
    )
