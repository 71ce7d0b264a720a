"""What a ledger reads before it starts: genesis, endpoints and keys, checked against each other."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from grpc import aio

from cipherward_chain.comet import address
from cipherward_chain.endpoints import Endpoints, EndpointUnknown
from cipherward_chain.genesis import Genesis
from cipherward_chain.root_file import RootFile
from cipherward_chain.signatures import SEED_BYTES, SigningKey
from cipherward_chain.solo import NotTheValidator, SoloProposer
from cipherward_kit.channels import open_channel
from cipherward_kit.config import env_name
from cipherward_kit.tls import Presented, TrustRegistry
from cipherward_ledger.assembly import Chain, Limits
from cipherward_ledger.comet.engine import NodeSettings
from cipherward_ledger.comet.errors import NodeUnusable
from cipherward_ledger.comet.node_config import NodePlan
from cipherward_ledger.comet.node_files import NodeKeys
from cipherward_ledger.config import LedgerConfig
from cipherward_ledger.mempool import Bounds
from cipherward_member import alliance_files
from cipherward_member.alliance_files import read_genesis_document, read_key, read_member_signer
from cipherward_member.beginning import read_trust_root
from cipherward_member.errors import EndpointsUnusable, KeyUnusable
from cipherward_member.ledger_channel import BLOCK_MESSAGE_BYTES_MAX

PEERS = ("contract", "identity")  # what the ledger calls
NODE_FOLDER = "node"  # in the ledger's data folder


# Opens channels to the other members' ledgers, by member.
Connect: TypeAlias = Callable[[], Mapping[str, aio.Channel]]


def read_chain(config: LedgerConfig, identity: Presented, registry: TrustRegistry) -> Chain:
    """Return the chain that the settings name.

    Args:
        config: names the files.
        identity: what this ledger shows the other members'.
        registry: the members' authorities.

    Raises:
        GenesisUnusable: the file cannot be read, or names no such member.
        KeyUnusable: a key is not the validator's, the node's or the member's.
        NodeUnusable: the consensus node cannot be started with these settings.
        TrustUnusable: the trust root cannot be read, or is of another genesis.
    """
    genesis, document = read_genesis_document(config.genesis_file, config.member)
    signer = read_member_signer(config, genesis)
    path = config.validator_key_file
    seed = read_key(path, SEED_BYTES, "validator_key_file")
    if genesis.engine == "cometbft":
        connect = _connect(config, genesis, identity, registry)
        return Chain(genesis, document, _node_settings(config, genesis, seed, connect), signer)
    try:
        proposer = SoloProposer(genesis, seed)
    except NotTheValidator as error:
        raise KeyUnusable(f"the key file {path}: {error}") from None
    return Chain(genesis, document, proposer, signer)


def _node_settings(
    config: LedgerConfig, genesis: Genesis, seed: bytes, connect: Connect
) -> NodeSettings:
    if config.node_key_file is None or config.p2p_listen is None:
        missing = "node_key_file" if config.node_key_file is None else "p2p_listen"
        raise NodeUnusable(f"this chain's engine is cometbft: set {env_name(missing)}")
    keys = NodeKeys(seed, read_key(config.node_key_file, SEED_BYTES, "node_key_file"))
    _check_keys(config, genesis, keys)
    parameters = genesis.parameters
    plan = NodePlan(
        moniker=config.member,
        p2p_listen=config.p2p_listen,
        profile=config.consensus_profile,
        heartbeat_seconds=parameters.heartbeat_seconds,
        transaction_bytes_max=parameters.transaction_bytes_max,
        pending=config.pending_max,
        pending_bytes=config.pending_bytes_max,
    )
    return NodeSettings(
        member=config.member,
        binary=_program(config.cometbft_binary),
        folder=config.data_dir / NODE_FOLDER,
        key_file=config.validator_key_file,
        keys=keys,
        plan=plan,
        addresses=_addresses(config, genesis.chain_id),
        connect=connect,
        trusted=_trusted(config, genesis),
        transactions_max=config.block_transactions_max,
    )


def _check_keys(config: LedgerConfig, genesis: Genesis, keys: NodeKeys) -> None:
    """A node whose keys are not the registry's would wait for ever."""
    member = genesis.members[config.member]
    if SigningKey(keys.consensus).public_key != member.consensus_public_key:
        raise KeyUnusable(
            f"the key file {config.validator_key_file} is not the consensus key of {member.id}"
        )
    if address(SigningKey(keys.node).public_key) != member.node_id:
        raise KeyUnusable(f"the key file {config.node_key_file} is not the node key of {member.id}")


def _program(path: Path) -> Path:
    found = shutil.which(path)
    if found is None:
        raise NodeUnusable(
            f"the consensus node {path} is not there or cannot be run; install CometBFT 0.40 or "
            f"set {env_name('cometbft_binary')}"
        )
    return Path(found).resolve()


def _addresses(config: LedgerConfig, chain_id: str) -> Callable[[], Mapping[str, str]]:
    """Return what reads where the members' nodes are; alliance.json may change meanwhile."""

    def read() -> Mapping[str, str]:
        endpoints = alliance_files.read_endpoints(config.endpoints_file, chain_id)
        return {
            member: services["ledger"].p2p
            for member, services in endpoints.by_member.items()
            if "ledger" in services
        }

    return read


def _trusted(config: LedgerConfig, genesis: Genesis) -> RootFile:
    if config.trust_root_file is None:
        return RootFile.of_genesis(genesis)
    return read_trust_root(config.trust_root_file, genesis)


def _connect(
    config: LedgerConfig, genesis: Genesis, identity: Presented, registry: TrustRegistry
) -> Connect:
    """Return what opens channels to the other members' ledgers, as far as they are known."""

    def connect() -> Mapping[str, aio.Channel]:
        endpoints = alliance_files.read_endpoints(config.endpoints_file, genesis.chain_id)
        return {
            member: open_channel(
                services["ledger"].listen,
                identity=identity,
                registry=registry,
                peer_member=member,
                peer_service="ledger",
                message_bytes_max=BLOCK_MESSAGE_BYTES_MAX,
            )
            for member, services in endpoints.by_member.items()
            if member != config.member and member in genesis.members and "ledger" in services
        }

    return connect


def read_endpoints(config: LedgerConfig, genesis: Genesis) -> Endpoints:
    """Return where the other services listen.

    Raises:
        EndpointsUnusable: the file cannot be read, or is of another chain or another ledger.
    """
    path = config.endpoints_file
    endpoints = alliance_files.read_endpoints(path, genesis.chain_id)
    alone = genesis.engine == "solo"  # one ledger runs it, whoever else is said to have one
    home = endpoints.ledger_member if alone else endpoints.home(config.member)
    if home != config.member:
        raise EndpointsUnusable(f"the endpoints file {path} says that {home} runs the ledger")
    try:
        for service in PEERS:
            endpoints.of(config.member, service)
    except EndpointUnknown as error:
        raise EndpointsUnusable(f"the endpoints file {path}: {error}") from None
    return endpoints


def limits_of(config: LedgerConfig) -> Limits:
    """Return what the settings say beside the genesis."""
    return Limits(
        Bounds(config.pending_max, config.pending_bytes_max),
        config.gather_milliseconds / 1000,
        config.block_transactions_max,
        config.retain_blocks,
    )
