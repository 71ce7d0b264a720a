"""What a ledger reads before it starts: genesis, endpoints and keys, checked against each other."""

from __future__ import annotations

from cipherward_chain.endpoints import Endpoints, EndpointUnknown
from cipherward_chain.signatures import SEED_BYTES
from cipherward_chain.solo import NotTheValidator, SoloProposer
from cipherward_ledger.assembly import Chain, Limits
from cipherward_ledger.config import LedgerConfig
from cipherward_ledger.mempool import Bounds
from cipherward_member import alliance_files
from cipherward_member.alliance_files import read_genesis_document, read_key, read_member_signer
from cipherward_member.errors import EndpointsUnusable, GenesisUnusable, KeyUnusable

ENGINE = "solo"  # the only engine of this release
PEERS = ("contract", "identity")  # what the ledger calls


def read_chain(config: LedgerConfig) -> Chain:
    """Return the chain that the settings name.

    Raises:
        GenesisUnusable: the file cannot be read, or names another engine or no such member.
        KeyUnusable: a key is not the validator's or not the member's.
    """
    genesis, document = read_genesis_document(config.genesis_file, config.member)
    if genesis.engine != ENGINE:
        raise GenesisUnusable(f"this release has the engine {ENGINE}, not {genesis.engine}")
    signer = read_member_signer(config, genesis)
    path = config.validator_key_file
    try:
        proposer = SoloProposer(genesis, read_key(path, SEED_BYTES, "validator_key_file"))
    except NotTheValidator as error:
        raise KeyUnusable(f"the key file {path}: {error}") from None
    return Chain(genesis, document, proposer, signer)


def read_endpoints(config: LedgerConfig, chain_id: str) -> Endpoints:
    """Return where the other services listen.

    Raises:
        EndpointsUnusable: the file cannot be read, or is of another chain or another ledger.
    """
    path = config.endpoints_file
    endpoints = alliance_files.read_endpoints(path, chain_id)
    try:
        for service in PEERS:
            endpoints.of(endpoints.ledger_member, service)
    except EndpointUnknown as error:
        raise EndpointsUnusable(f"the endpoints file {path}: {error}") from None
    if endpoints.ledger_member != config.member:
        raise EndpointsUnusable(
            f"the endpoints file {path} says that {endpoints.ledger_member} runs the ledger"
        )
    return endpoints


def limits_of(config: LedgerConfig) -> Limits:
    """Return what the settings say beside the genesis."""
    return Limits(
        Bounds(config.pending_max, config.pending_bytes_max),
        config.gather_milliseconds / 1000,
        config.block_transactions_max,
    )
