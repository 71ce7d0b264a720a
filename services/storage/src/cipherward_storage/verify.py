"""Hold a storage's whole store against the chain: `python -m cipherward_storage.verify`.

It takes the settings of the service, whose place it takes: with the embedded store that must not
run. It changes nothing but what a start of the service would, prints what it has found as one JSON
object, and ends with status 0 if all agrees.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from functools import partial

from grpc import aio

from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_chain.endpoints import Endpoints
from cipherward_chain.light_source import GrpcLightSource, LightBlockUnavailable
from cipherward_chain.rejections import BlockRejected
from cipherward_kit.channels import open_channel
from cipherward_kit.datafolder import DataFolder
from cipherward_kit.own_identity import follow_identity
from cipherward_kit.process import run_service
from cipherward_kit.readiness import Readiness
from cipherward_kit.tls import Presented, TrustRegistry
from cipherward_member.alliance_files import read_endpoints
from cipherward_member.beginning import begin
from cipherward_member.ledger_channel import open_ledger
from cipherward_member.registry import REGISTRY_FILE, MemberRegistry
from cipherward_storage.assembly import Limits
from cipherward_storage.chain_state import ChainState
from cipherward_storage.config import StorageConfig
from cipherward_storage.errors import StoreAway, StoreDiffers
from cipherward_storage.place import StoreOwner
from cipherward_storage.setup import read_custodian
from cipherward_storage.slot_keys import SlotKeys
from cipherward_storage.slots import CustodianSlots
from cipherward_storage.stores import open_stores
from cipherward_storage.verification import Verification

ANSWER_SECONDS = 10.0  # of contract, which may be executing a block


def open_contract(
    config: StorageConfig, own: Presented, endpoints: Endpoints, trust: TrustRegistry
) -> aio.Channel:
    """Return a channel to the contract of the ledger that is followed; the caller closes it."""
    home = endpoints.home(config.member)
    return open_channel(
        endpoints.of(home, "contract").listen,
        identity=own,
        registry=trust,
        peer_member=home,
        peer_service="contract",
    )


async def verify_storage(config: StorageConfig) -> None:
    """Read all of the store that the settings name.

    Raises:
        StoreDiffers: something does not agree; the sentence counts what.
        CannotStart: as at a start of the service.
    """
    try:
        await _verify(config)
    except (StoreAway, LightBlockUnavailable, aio.AioRpcError) as error:
        raise StoreDiffers(
            f"nothing can be said: store, ledger or contract does not answer ({error})"
        ) from None
    except BlockRejected as error:
        raise StoreDiffers(f"what the ledger shows cannot be believed: {error}") from None


async def _verify(config: StorageConfig) -> None:
    custodian = read_custodian(config)
    genesis = custodian.genesis
    endpoints = read_endpoints(config.endpoints_file, genesis.chain_id)
    members = MemberRegistry(genesis, config.data_dir / REGISTRY_FILE)
    limits = Limits.of(config)
    owner = StoreOwner(genesis.chain_id, custodian.member, genesis.digest)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(DataFolder(config.data_dir, genesis.chain_id, genesis.digest))
        own = await stack.enter_async_context(follow_identity(config, members.trust, Readiness()))
        ledger = await stack.enter_async_context(open_ledger(config, own, endpoints, members.trust))
        contract = await stack.enter_async_context(
            open_contract(config, own, endpoints, members.trust)
        )
        stores = await stack.enter_async_context(
            open_stores(folder.path, owner, limits.room, limits.mongo, lambda: int(time.time()))
        )
        stored = await stores.chain.checkpoint()
        if not stored:
            raise StoreDiffers(
                "the store has seen no block: it is empty, or not the one that was put back"
            )
        place = (await begin(genesis, stored, ledger)).checkpoint
        assert place is not None  # it goes on from what is stored
        state = ChainState(
            partial(ContractServiceStub(contract).ReadState, timeout=ANSWER_SECONDS),
            GrpcLightSource(ledger, genesis.chain_id),
            place,
            genesis.parameters.fresh_seconds,
        )
        newest = await state.open()
        slot_keys = SlotKeys(limits.slots.folder, time.time)
        slots = CustodianSlots(genesis.chain_id, custodian.member, custodian.key, slot_keys)
        found = await Verification(custodian.member, place.height, stores, slots, state.read).run()
        document = {"height": place.height, "chain_height": newest, **asdict(found)}
        await asyncio.to_thread(partial(print, json.dumps(document), flush=True))
        found.require_sound()


if __name__ == "__main__":
    run_service("storage", StorageConfig, verify_storage)
