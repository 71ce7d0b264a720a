"""Fixing the columns of a data key: encrypting them, verifying all, and opening their checks.

Commit before fetch, as in a study. Every hospital fills every slot: who is where, nobody learns.
When all have committed, everybody fetches and verifies the columns of all once, and computes from
each member's flags a ciphertext that is zero everywhere if they are 0 or 1, by weights that nobody
could foresee. These are opened; nothing else of the columns ever is but sums.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np

from cipherward_compute import key_rows
from cipherward_compute.arithmetic import columns as arithmetic
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.column_keys import BLOCK_SLOTS, ColumnKeys, NotFixed
from cipherward_compute.columns import (
    Layout,
    Manifest,
    ManifestMalformed,
    Manifests,
    checked,
    listed,
    parse_manifest,
)
from cipherward_compute.columns_flags import OwnFlags
from cipherward_compute.columns_proofs import ColumnProofs
from cipherward_compute.columns_store import ColumnStore
from cipherward_compute.datasets import DataSets, RowsUnnamed
from cipherward_compute.enrolments import NOW, Enrolments, slot_values
from cipherward_compute.errors import DataKeyUnknown
from cipherward_compute.failures import (
    CommitmentsIncomplete,
    DataSetUnknown,
    KeyDiffers,
    OldBackup,
    TooManyMembers,
    UnitsDiffer,
    ValuesOutOfRange,
    VariableMissing,
)
from cipherward_compute.instructions import FixColumns, ReleaseCounts, RetireKey
from cipherward_compute.jobs.public import PublicArithmetic
from cipherward_compute.keyring import Ceremony, Keyring
from cipherward_compute.member import Member
from cipherward_compute.opening import Opened, Opening
from cipherward_compute.peers import Peers
from cipherward_compute.release import ReleaseSteps
from cipherward_compute.rows import TakingPart
from cipherward_compute.steps import Done, all_of
from cipherward_studies.columns import ColumnText, block_values
from cipherward_studies.variables import Integers
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.keys import public_key_digest

MEMBERS_MAX = 8  # one check of each is opened, and a batch has eight ciphertexts


@dataclass(frozen=True, slots=True)
class ColumnSources:
    """What columns are made of, and where they go."""

    keys: ColumnKeys
    enrolments: Enrolments
    data_sets: DataSets
    keyring: Keyring
    manifests: Manifests
    store: ColumnStore
    flags: OwnFlags

    async def layout(self, study: bytes) -> Layout:
        """Return which columns a data key has, and in which slots.

        Raises:
            StepFailed: they are not fixed, or this member has no text of them.
        """
        try:
            return Layout(await self.keys.data_key(study), await self.keys.slots(study))
        except DataKeyUnknown:  # this member began to follow the chain after its proposal
            raise NotFixed("this member does not know who has enrolled") from None


class ColumnSteps:
    """Carries out what a data key's contract orders about its columns."""

    def __init__(
        self,
        member: Member,
        sources: ColumnSources,
        peers: Peers,
        opening: Opening,
        public: PublicArithmetic,
    ) -> None:
        self._member = member
        self._from = sources
        self._peers = peers
        self._opening = opening
        self._proofs = ColumnProofs(member.chain_id, sources.store, public)

    async def commit(self, order: FixColumns) -> Done:
        """Encrypt this member's columns for all who have enrolled, and keep them.

        Raises:
            StepFailed: one of its subclasses says why it cannot be done.
        """
        if len(order.shared.members) > MEMBERS_MAX:
            raise TooManyMembers(f"columns are of at most {MEMBERS_MAX} members")
        study, mine = order.shared.study, self._member.id
        ceremony = await self._key(order)
        layout = await self._from.layout(study)
        columns = await self._columns(layout)
        digests: list[bytes] = []
        proofs: list[bytes] = []
        for batch in layout.batches:
            encryption = self._proofs.encryption(ceremony, layout, mine, batch)
            values = [
                block_values(columns[column.variable, column.kind], column.block, BLOCK_SLOTS)
                for column in batch.columns
            ]
            try:
                ciphertexts, proof = await self._member.pool.run(
                    arithmetic.proven_columns, encryption, values
                )
            except ThresholdError as error:
                raise ValuesOutOfRange(f"this member's columns do not fit: {error}") from None
            for ciphertext in ciphertexts:
                digests.append(await self._from.store.put(study, ciphertext))
            proofs.append(await self._from.store.put(study, proof))
        manifest = Manifest(
            study,
            mine,
            layout.data_key.spec_digest,
            layout.slots.digest,
            tuple(digests),
            tuple(proofs),
        )
        flags = columns[layout.data_key.text.names[0], "flag"].astype(np.bool_)
        write = all_of(
            listed(study, mine, manifest.to_bytes()), self._from.flags.kept(study, flags)
        )
        return Done(manifest.commitment, write)

    async def verify(self, order: FixColumns) -> Done:
        """Verify the columns of all, and compute the checks of their flags.

        Raises:
            StepFailed: one of its subclasses says why it cannot be done.
            PeerWrong: a member's columns are not what it committed to, or not proven.
        """
        if sorted(order.commitments) != list(order.shared.members):
            raise CommitmentsIncomplete("the order does not have a commitment of every member")
        ceremony = await self._key(order)
        study, layout = order.shared.study, await self._from.layout(order.shared.study)
        relin_key = await self._from.keyring.evaluation_key(study)
        checks: list[bytes] = []
        for member in order.shared.members:  # one after another: a member's flags are in memory
            manifest = await self._verified(order, ceremony, layout, member)
            flags = [
                await self._from.store.get(member, study, manifest.columns[place])
                for place in layout.flags
            ]
            weights = layout.weights(order.seed, order.commitments, member)
            try:
                checks.append(
                    await self._member.pool.run(
                        arithmetic.flags_check, ceremony.profile, relin_key, flags, weights
                    )
                )
            except ThresholdError as error:
                raise PeerWrong(member, f"its flags cannot be checked: {error}") from None
        batch, digest = await self._member.pool.run(
            arithmetic.named_checks, ceremony.profile, checks
        )
        return Done(digest, checked(study, batch, digest))

    async def open_flags(self, order: ReleaseCounts) -> Done:
        """Open the checks with the set: they must be zero everywhere.

        Raises:
            FlagsWrong: a member's are not.
            StepFailed: they cannot be opened.
            PeerWrong: a peer's share is none.
        """
        study, members = order.shared.study, order.shared.members
        batch = await self._from.manifests.checks(study, order.digest)
        ceremony = await self._from.keyring.ceremony(study)
        what = Opened(ceremony.profile, (BLOCK_SLOTS,) * len(members), arithmetic.FLAGS_CIRCUIT)
        opened = await self._opening.open(order, batch, what)
        await asyncio.to_thread(arithmetic.require_flags, members, opened)
        return Done(order.digest)

    async def _columns(self, layout: Layout) -> dict[tuple[str, str], Integers]:
        """Return the values and flags of all slots, by variable and kind."""
        text, places = layout.data_key.text, await self._from.enrolments.places(layout.slots)
        rows = await self._rows(text)
        count = len(layout.slots.pseudonyms)

        def work() -> dict[tuple[str, str], Integers]:
            found: dict[tuple[str, str], Integers] = {}
            values = slot_values(places, count, text.names, rows.chunks(text.names))
            for variable in text.variables:
                steps, there = variable.steps(values[variable.name])
                found[variable.name, "value"] = steps
                found[variable.name, "flag"] = there.astype(steps.dtype)
            return found

        return await asyncio.to_thread(work)

    async def _rows(self, text: ColumnText) -> TakingPart:
        rows = await self._from.data_sets.taking_part(text.data_set, NOW)
        if rows is None:
            raise DataSetUnknown(f"this member has no data set {text.data_set}")
        if not rows.named:
            raise RowsUnnamed("the rows have no references: nobody can say whose they are")
        units = {column.name: column.unit for column in rows.columns}
        for variable in text.variables:
            if variable.name not in units:
                raise VariableMissing(f"{text.data_set} has no variable {variable.name} here")
            if units[variable.name] not in ("", variable.unit):
                raise UnitsDiffer(f"{variable.name} is stored here in another unit")
        return rows

    async def _verified(
        self, order: FixColumns, ceremony: Ceremony, layout: Layout, member: str
    ) -> Manifest:
        """Return the list of a member's columns: all of them are proven, now or before."""
        study, mine = order.shared.study, member == self._member.id
        known = await self._from.manifests.find(study, member)
        if mine and not known:
            raise OldBackup("this member has no columns that it committed to: an old backup?")
        octets = known or await self._peers.column_manifest(member, study)
        try:
            manifest = parse_manifest(octets, layout, member)
        except ManifestMalformed as error:
            raise PeerWrong(member, str(error)) from None
        if manifest.commitment != order.commitments[member]:
            if mine:
                raise OldBackup("this member committed to other columns: an old backup?")
            raise PeerWrong(member, "its columns are not those that it committed to")
        if known:
            return manifest
        for batch in layout.batches:
            await self._proofs.verify(ceremony, layout, manifest, batch)
        await self._from.manifests.verified(study, member, octets)
        return manifest

    async def _key(self, order: FixColumns) -> Ceremony:
        ceremony = await self._from.keyring.ceremony(order.shared.study)
        if public_key_digest(ceremony.public_key) != order.key_digest:
            raise KeyDiffers("the order names another key than the ceremony made")
        return ceremony


async def retire_data_key(release: ReleaseSteps, order: RetireKey) -> Done:
    """End a data key: its key, its enrolments and the lists of its columns go."""
    done = await release.retire(order)
    study = order.shared.study
    return Done(done.digest, all_of(done.write, lambda c: key_rows.retire_data_key(c, study)))
