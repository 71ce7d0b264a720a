"""An open connection to an alliance: its genesis, its services' channels, its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from grpc import aio

from cipherward.compute.v1.compute_service_pb2_grpc import ComputeServiceStub
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from cipherward_chain.admission import FOLDER, Admission
from cipherward_chain.authorities import members_authorities
from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.endpoints import Endpoints, EndpointUnknown
from cipherward_chain.genesis import Genesis, Member
from cipherward_chain.group_keys import GroupKeyEntry
from cipherward_chain.members import AuthoritiesSet
from cipherward_chain.orders_proof import DOCUMENT_BYTES_MAX
from cipherward_client.sdk.authority_files import following_authorities
from cipherward_client.sdk.certified import Certifier
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.ledgers import Ledgers, ledgers_of
from cipherward_kit.channels import open_channel
from cipherward_kit.tls import Presented, TrustRegistry

# A batch of 512 transactions has 2 MiB, a part of a record 1 MiB: a server's own default is enough
# for all but a study's parts, which are three polynomials of 200 kB.
MESSAGE_BYTES_MAX = 4 * 1024 * 1024


class AllianceFilesDiffer(CheckFailed):
    """Genesis and endpoints are of different chains."""

    reason = "ALLIANCE_FILES_DIFFER"


class Alliance:
    """A connection for as long as `open` is; it opens each channel when it is first used.

    Without an identity it is a holder's: the services do not learn who asks. With the certificate
    `spiffe://<member>/client` it is that of the member's own systems.
    """

    def __init__(
        self,
        genesis: Genesis,
        endpoints: Endpoints,
        identity: Presented | None,
        home: str,
        stack: AsyncExitStack,
        admitted: Mapping[str, Member] | None = None,
    ) -> None:
        """Describe the connection; use `open`."""
        self.genesis = genesis
        self.endpoints = endpoints
        self.identity = identity
        self.home = home  # whose ledger and contract it asks
        self.ledgers = Ledgers(home, ledgers_of(endpoints))
        self.trust_root: TrustRoot = genesis.trust_root()
        self.certifier = Certifier(self.trust_root)
        # Proven entries of shared keys by (purpose, epoch; 0 the newest), and when they were asked.
        self.known_keys: dict[tuple[str, int], tuple[float, GroupKeyEntry]] = {}
        # Everybody who is or was a member, for what they signed: `present` are those of now.
        self.members: dict[str, Member] = {**genesis.members, **(admitted or {})}
        self._registry = TrustRegistry(self._authorities({}))
        self._stack = stack
        self._channels: dict[tuple[str, str], aio.Channel] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        endpoints_file: Path,
        genesis_file: Path,
        *,
        member_identity: Presented | None = None,
        home: str = "",
    ) -> AsyncGenerator[Alliance]:
        """Open a connection; inside the context it can be used.

        Args:
            endpoints_file: where the services listen (alliance.json).
            genesis_file: the genesis, got out of band: all that is believed is checked against it.
            member_identity: of a member's own systems, as `following` keeps it if the connection
                is to outlive a certificate; None for a holder.
            home: the member whose ledger is used, where every member has one; by default the
                member's own, and for a holder the first that the file names.

        Raises:
            ClientError: a file is unreadable, damaged, or of another chain.
        """
        with explaining():
            genesis = Genesis.parse(await asyncio.to_thread(genesis_file.read_bytes))
            endpoints = Endpoints.parse(await asyncio.to_thread(endpoints_file.read_bytes))
            if genesis.chain_id != endpoints.chain_id:
                raise AllianceFilesDiffer(f"{genesis.chain_id} and {endpoints.chain_id}")
            admitted = await asyncio.to_thread(_admitted, genesis, endpoints, endpoints_file)
        async with AsyncExitStack() as stack:
            member = home or (member_identity.current.caller().member if member_identity else "")
            opened = cls(
                genesis, endpoints, member_identity, endpoints.home(member), stack, admitted
            )
            await stack.enter_async_context(
                following_authorities(endpoints_file, opened.trust_root, opened.take_authorities)
            )
            yield opened

    def take_authorities(self, proven: Mapping[str, AuthoritiesSet]) -> None:
        """Trust what was proven of the members' authorities; calls from now on go by it."""
        self._registry.replace(self._authorities(proven))

    def authority_pem(self, member: str) -> bytes:
        """Return a member's authorities, as calls go by them; PeerNotTrusted if there are none."""
        return self._registry.authority_pem(member)

    def _authorities(self, proven: Mapping[str, AuthoritiesSet]) -> dict[str, bytes]:
        return members_authorities(self.members.values(), 0, proven)

    @property
    def present(self) -> tuple[str, ...]:
        """The members whose services the endpoints name."""
        return tuple(member for member in self.endpoints.by_member if member in self.members)

    @property
    def chain_id(self) -> str:
        """The chain's name."""
        return self.genesis.chain_id

    def now(self) -> float:
        """Return this machine's Unix time: good for expiries and questions, never for rights."""
        return time.time()

    def epoch(self) -> int:
        """Return the epoch that credentials are of now."""
        return self.genesis.epoch_at(self.now())

    def channel(self, member: str, service: str) -> aio.Channel:
        """Return the channel to a member's service, opened once.

        Raises:
            EndpointUnknown: the alliance has no such service, or no port for holders.
        """
        name = (member, service)
        if name not in self._channels:
            endpoint = self.endpoints.of(member, service)
            address = endpoint.listen if self.identity is not None else endpoint.holder
            if not address:
                raise EndpointUnknown(f"{service} of {member} serves no holders")
            channel = open_channel(
                address,
                identity=self.identity,
                registry=self._registry,
                peer_member=member,
                peer_service=service,
                message_bytes_max=MESSAGE_BYTES_MAX,
            )
            self._stack.push_async_callback(channel.close)
            self._channels[name] = channel
        return self._channels[name]

    @property
    def ledger(self) -> LedgerServiceStub:
        """The ledger that this connection uses."""
        return self.ledger_of(self.home)

    def ledger_of(self, member: str) -> LedgerServiceStub:
        """Return the ledger of a member that has one."""
        return LedgerServiceStub(self.channel(member, "ledger"))

    @property
    def contract(self) -> ContractServiceStub:
        """The contract service beside that ledger."""
        return ContractServiceStub(self.channel(self.home, "contract"))

    def identity_of(self, member: str) -> IdentityServiceStub:
        """Return a member's identity service."""
        return IdentityServiceStub(self.channel(member, "identity"))

    def storage_of(self, member: str) -> StorageServiceStub:
        """Return a member's storage service."""
        return StorageServiceStub(self.channel(member, "storage"))

    def compute_of(self, member: str) -> ComputeServiceStub:
        """Return a member's compute service."""
        return ComputeServiceStub(self.channel(member, "compute"))


def admission_file(endpoints_file: Path, member: str) -> Path:
    """Return where the proof of a member's admission lies."""
    return endpoints_file.parent / FOLDER / f"{member}.json"


def read_admission(endpoints_file: Path, member: str) -> Admission:
    """Return the proof of a member's admission, not yet verified.

    Raises:
        AdmissionRejected: the file is damaged.
        OSError: there is none.
    """
    with admission_file(endpoints_file, member).open("rb") as file:
        return Admission.from_bytes(file.read(DOCUMENT_BYTES_MAX))


def _admitted(genesis: Genesis, endpoints: Endpoints, endpoints_file: Path) -> Mapping[str, Member]:
    """Return the members with endpoints that the genesis does not name, as the chain proves them.

    Raises:
        AdmissionRejected: a proof proves nothing.
        OSError: there is none.
    """
    trust_root, found = genesis.trust_root(), dict[str, Member]()
    for member in endpoints.by_member:
        if member not in genesis.members:
            admission = read_admission(endpoints_file, member)
            found[member] = admission.verify(trust_root, member).member
    return found
