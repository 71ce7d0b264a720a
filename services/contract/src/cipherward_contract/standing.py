"""What follows in this process from a block that was committed: readiness, trust, snapshots."""

from __future__ import annotations

from collections.abc import Mapping

from cipherward_contract.chain import Chain
from cipherward_contract.chain_rules import ChainRules
from cipherward_contract.registry import Registered
from cipherward_contract.snapshots import Snapshots
from cipherward_kit.readiness import Readiness
from cipherward_member.authorities import Authorities

MACHINE_VERSION = "machine_version"  # the condition: this process executes what was voted


class Standing:
    """Looks at the chain after every change of its committed state."""

    def __init__(
        self,
        chain: Chain,
        readiness: Readiness,
        snapshots: Snapshots,
        authorities: Authorities,
        *,
        version_max: int,
    ) -> None:
        """Watch a chain.

        Args:
            readiness: with the condition MACHINE_VERSION.
            authorities: whose certificates this server accepts.
            version_max: the newest machine version that this process executes.
        """
        self._chain = chain
        self._readiness = readiness
        self._snapshots = snapshots
        self._authorities = authorities
        self._trusted: Mapping[str, Registered] = {}
        self._version_max = version_max

    async def look(self) -> None:
        """Say whether the next versions can be executed, trust whom the registry names, and begin
        a snapshot if one is due.
        """
        latest = self._chain.latest
        why = "" if latest is None else self._version_missing(*latest)
        self._readiness.set(MACHINE_VERSION, not why, why)
        if latest is not None:
            self._follow(latest[0], latest[1].registry)
            await self._snapshots.committed(latest[0])

    def _follow(self, height: int, registry: Mapping[str, Registered]) -> None:
        """Accept the authorities of the registry, and those of nobody that it dropped."""
        if registry == self._trusted:
            return
        self._trusted = registry
        named = {key: one.member.ca_certificate for key, one in registry.items()}
        self._authorities.follow(named, height)

    def _version_missing(self, height: int, rules: ChainRules) -> str:
        """Say what is missing as soon as it is voted, blocks before it is needed."""
        upgrade = rules.upgrade
        version = rules.version_at(height + 1) if upgrade is None else upgrade.version
        if version <= self._version_max:
            return ""
        start = height + 1 if upgrade is None else max(height + 1, upgrade.height)
        return (
            f"block {start} needs machine version {version} and this process executes at most "
            f"{self._version_max}: install a release that has it, or raise MACHINE_VERSION_MAX"
        )
