"""What every party has got out of band: the alliance's genesis, and where its services are."""

from __future__ import annotations

from pathlib import Path

from cipherward_chain.endpoints import Endpoints
from cipherward_chain.genesis import Genesis
from cipherward_kit.errors import CannotStart


class GenesisUnusable(CannotStart):
    """The genesis file cannot be read, is not one, or does not have this member."""

    exit_status = 22


class EndpointsUnusable(CannotStart):
    """The endpoints file cannot be read, is not one, or is of another chain."""

    exit_status = 24


def read_genesis(path: Path, member: str) -> Genesis:
    """Return the alliance's genesis, or raise `GenesisUnusable`."""
    try:
        genesis = Genesis.parse(path.read_bytes())
    except OSError as error:
        raise GenesisUnusable(
            f"the genesis file cannot be read ({error.strerror}); check CIPHERWARD_GENESIS_FILE"
        ) from None
    except ValueError as error:
        raise GenesisUnusable(
            f"the genesis file is refused: {error}; get the alliance's genesis.json again"
        ) from None
    if member not in genesis.members:
        raise GenesisUnusable(f"{member} is no member of the alliance; check CIPHERWARD_MEMBER")
    return genesis


def read_endpoints(path: Path, chain_id: str) -> Endpoints:
    """Return the alliance's endpoints, or raise `EndpointsUnusable`."""
    try:
        endpoints = Endpoints.parse(path.read_bytes())
    except OSError as error:
        raise EndpointsUnusable(
            f"the endpoints file cannot be read ({error.strerror}); check CIPHERWARD_ENDPOINTS_FILE"
        ) from None
    except ValueError as error:
        raise EndpointsUnusable(f"the endpoints file is refused: {error}") from None
    if endpoints.chain_id != chain_id:
        raise EndpointsUnusable(
            f"the endpoints file is of the chain {endpoints.chain_id}, the genesis of {chain_id}"
        )
    return endpoints
