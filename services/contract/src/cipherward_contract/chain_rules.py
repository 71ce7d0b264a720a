"""What every block needs of the state: the chain's name, times, bounds, version and registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cipherward_chain.canonical import decode
from cipherward_chain.fields import Fields
from cipherward_chain.genesis import MEMBERS_MAX
from cipherward_chain.wire import NANOS
from cipherward_contract.entries import PARAMETERS
from cipherward_contract.machine_versions import Upgrade
from cipherward_contract.marks import RAISED, RAISED_END, raised_epoch
from cipherward_contract.registry import ReadableState, Registered, load_registry, next_index


@dataclass(frozen=True, slots=True)
class ChainRules:
    """The parameters and the registry of one state.

    registry: the members by id, by ascending index. member_ids: its keys.
    active: of these, the members that are not suspended. active_ids: its keys.
    machine_version: the version of the genesis, or of the upgrade before `upgrade`.
    upgrade: the newest that was voted, in force from its height on.
    next_index: the number that the next member gets.
    minimum_suite: of the records that may be anchored.
    template_delay_seconds: between the vote on a template and its first instance.
    data_set_releases_max, data_set_rho_max: what one data set gives, over all contracts.
    raised: by member, the last epoch whose credentials count no more.
    """

    chain_id: str
    engine: str
    genesis_ns: int
    epoch_seconds: int
    expiry_seconds_max: int
    block_bytes_max: int
    machine_version: int
    upgrade: Upgrade | None
    next_index: int
    registry: Mapping[str, Registered]
    member_ids: frozenset[str]
    active: Mapping[str, Registered]
    active_ids: frozenset[str]
    minimum_suite: int
    template_delay_seconds: int
    data_set_releases_max: int
    data_set_rho_max: int
    raised: Mapping[str, int]

    @classmethod
    def load(cls, state: ReadableState) -> ChainRules | None:
        """Return the rules of an initialised chain, else None."""
        raw = state.get(PARAMETERS)
        if raw is None:
            return None
        fields = Fields(decode(raw))
        registry = load_registry(state)
        active = {member: one for member, one in registry.items() if not one.suspended}
        return cls(
            chain_id=fields.text("chain_id"),
            engine=fields.text("engine"),
            genesis_ns=fields.integer("genesis_ns"),
            epoch_seconds=fields.integer("epoch_seconds"),
            expiry_seconds_max=fields.integer("expiry_seconds_max"),
            block_bytes_max=fields.integer("block_bytes_max"),
            machine_version=fields.integer("machine_version"),
            upgrade=Upgrade.from_value(fields.items("upgrade")),
            next_index=next_index(state),
            registry=registry,
            member_ids=frozenset(registry),
            active=active,
            active_ids=frozenset(active),
            minimum_suite=fields.integer("minimum_suite"),
            template_delay_seconds=fields.integer("template_delay_seconds"),
            data_set_releases_max=fields.integer("data_set_releases_max"),
            data_set_rho_max=fields.integer("data_set_rho_max"),
            raised={
                key.removeprefix(RAISED).decode(): raised_epoch(value)
                for key, value in state.scan(RAISED, RAISED_END, MEMBERS_MAX)
            },
        )

    def epoch_at(self, time_ns: int) -> int:
        """Return the credential epoch of a block time, from 1, as `Genesis.epoch_at`."""
        return max(0, time_ns - self.genesis_ns) // (self.epoch_seconds * NANOS) + 1

    def version_at(self, height: int) -> int:
        """Return the version of the state machine that executes the block at `height`."""
        if self.upgrade is not None and height >= self.upgrade.height:
            return self.upgrade.version
        return self.machine_version
