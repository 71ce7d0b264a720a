"""`cipherward chain` and `cipherward receipt` against real ledgers of four members, over TLS."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as tx
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.comet import Validator, ValidatorSet
from cipherward_chain.evidence_store import read_evidence
from cipherward_chain.light_skipping import TRUSTING_SECONDS
from cipherward_chain.root_file import RootFile
from cipherward_chain.testing import BLOCK_NS, make_genesis, seed_of
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_chain.transactions import build_transaction
from cipherward_chain.trust import TrustPoint
from cipherward_chain.wire import NANOS
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.cli.commands import run
from cipherward_client.sdk.receipts import write_receipt
from cipherward_kit.errors import ServiceError
from cipherward_kit.testing import MEMBERS, TestAlliance, serve_in_process


class BlockUnknown(ServiceError):
    """The ledger has no such block."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "BLOCK_UNKNOWN"


class LightLedger:
    """A ledger that answers the light blocks of whatever chain it is told to show."""

    def __init__(self, chain: QuorumChain) -> None:
        self.chain = chain

    def serve_on(self, server: aio.Server) -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            self._get_light_block,
            request_deserializer=pb.GetLightBlockRequest.FromString,
            response_serializer=pb.GetLightBlockResponse.SerializeToString,
        )
        service = "cipherward.ledger.v1.LedgerService"
        handlers = grpc.method_handlers_generic_handler(service, {"GetLightBlock": handler})
        server.add_generic_rpc_handlers((handlers,))

    async def _get_light_block(
        self, request: pb.GetLightBlockRequest, _context: aio.ServicerContext[Any, Any]
    ) -> pb.GetLightBlockResponse:
        if request.height > self.chain.height:
            raise BlockUnknown(f"no block {request.height}")
        found = self.chain.light_blocks[(request.height or self.chain.height) - 1]
        return pb.GetLightBlockResponse(light_block=found)


@dataclass
class World:
    """Four ledgers that serve holders, in a thread of their own, and the alliance's folder."""

    folder: AllianceFolder
    chain: QuorumChain
    ledgers: dict[str, LightLedger]
    member_seeds: dict[str, bytes]
    addresses: dict[str, str] = field(default_factory=dict[str, str])

    def write_endpoints(self, *away: str) -> None:
        """Write alliance.json; nobody listens at the addresses of those that are `away`."""
        document: dict[str, object] = {
            "chain_id": self.chain.genesis.chain_id,
            "ledger_member": "hospital-a",
            "endpoints": {
                member: {
                    "ledger": {
                        "listen": address,
                        "holder": "127.0.0.1:1" if member in away else address,
                    }
                }
                for member, address in self.addresses.items()
            },
        }
        self.folder.endpoints_file.write_text(json.dumps(document))

    def command(self, *arguments: str) -> list[str]:
        return ["chain", *arguments, "--alliance", str(self.folder.root)]


@asynccontextmanager
async def four_ledgers(world: World, certificates: TestAlliance) -> AsyncGenerator[None]:
    async with AsyncExitStack() as stack:
        for member, ledger in world.ledgers.items():
            served = await stack.enter_async_context(
                serve_in_process(
                    ledger.serve_on,
                    domain="ledger.cipherward",
                    alliance=certificates,
                    service="ledger",
                    member=member,
                )
            )
            world.addresses[member] = f"127.0.0.1:{served.ports.holder}"
        yield


@pytest.fixture
def world(tmp_path: Path) -> Generator[World]:
    """The commands run an event loop of their own, so the ledgers have another thread's."""
    certificates = TestAlliance(tmp_path / "tls")
    pem = {m: ca.certificate_pem.decode() for m, ca in certificates.authorities.items()}
    began_ns = time.time_ns() - 3_600 * NANOS
    genesis, keys = make_genesis(engine="cometbft", ca_certificates=pem, time_ns=began_ns)
    chain = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
    chain.grow(6)
    folder = AllianceFolder(tmp_path / "alliance")
    folder.root.mkdir()
    folder.genesis_file.write_bytes(keys.document)
    made = World(folder, chain, {m: LightLedger(chain) for m in MEMBERS}, dict(keys.member_seeds))
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with four_ledgers(made, certificates):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        made.write_endpoints()
        yield made
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def refusal(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    return json.loads(capsys.readouterr().out)["error"]


def split(world: World) -> QuorumChain:
    """Let all four validators sign a second chain, which hospital-d shows; return it."""
    twin = world.chain.fork()
    world.chain.grow(2)
    twin.decide(after_ns=2 * BLOCK_NS)
    twin.grow(1)
    world.ledgers["hospital-d"].chain = twin
    return twin


@pytest.mark.slow
def test_four_members_that_show_one_chain(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(world.command("witness", "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["one_chain"] is True
    assert document["agreed_height"] == 6
    assert {head["signed"] for head in document["heads"].values()} == {4}
    assert run(world.command("witness")) == 0
    assert "4 members show one chain" in capsys.readouterr().out


@pytest.mark.slow
def test_a_split_view_names_the_sides_and_leaves_evidence(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split(world)
    kept = tmp_path / "kept"
    assert run(world.command("witness", "--evidence", str(kept), "--json")) == 1
    told = refusal(capsys)
    assert told["reason"] == "SPLIT_VIEW"
    assert "block 8" in told["detail"]
    assert "hospital-a, hospital-b, hospital-c" in told["detail"]
    assert "hospital-d" in told["detail"]
    (path,) = kept.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    validators = world.chain.genesis.validators
    assert read_evidence(path).verify(validators).double_signed == validators.validators

    assert run(world.command("evidence", str(path), "--json")) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["height"] == 8
    assert sorted(shown["double_signed"]) == sorted(MEMBERS)
    assert run(world.command("evidence", str(path))) == 0
    assert "double vote   hospital-a" in capsys.readouterr().out


@pytest.mark.slow
def test_a_member_that_does_not_answer_is_said(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write_endpoints("hospital-b")
    assert run(world.command("witness")) == 0
    shown = capsys.readouterr().out
    assert "3 members show one chain" in shown
    assert "hospital-b  not heard" in shown


@pytest.mark.slow
def test_nobody_to_compare_with_is_no_success(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write_endpoints("hospital-b", "hospital-c", "hospital-d")
    assert run(world.command("witness", "--json")) == 1
    told = refusal(capsys)
    assert told["reason"] == "NOTHING_TO_COMPARE"
    assert "hospital-c" in told["detail"]


@pytest.mark.slow
def test_what_the_members_agree_on_becomes_a_trust_root(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "root.json"
    assert run(world.command("witness", "--save-root", str(saved))) == 0
    root = RootFile.parse(saved.read_bytes())
    assert root.checkpoint is not None
    assert root.checkpoint.header_hash == world.chain.block_hash(6)
    assert run(world.command("witness", "--save-root", str(saved), "--json")) == 1
    capsys.readouterr()
    world.chain.grow(3)
    assert run(world.command("witness", "--root", str(saved), "--json")) == 0
    assert json.loads(capsys.readouterr().out)["agreed_height"] == 9


@pytest.mark.slow
def test_a_genesis_that_is_too_old_is_refused_and_a_longer_period_is_said_by_the_reader(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    genesis, keys = make_genesis(
        engine="cometbft",
        ca_certificates={m: g.ca_certificate for m, g in world.chain.genesis.members.items()},
        time_ns=time.time_ns() - (TRUSTING_SECONDS + 60) * NANOS,
    )
    world.folder.genesis_file.write_bytes(keys.document)
    old = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
    old.grow(3)
    for ledger in world.ledgers.values():
        ledger.chain = old
    assert run(world.command("witness", "--json")) == 1
    told = refusal(capsys)
    assert told["reason"] == "HEAD_REFUSED"
    assert "TRUST_EXPIRED" in told["detail"]
    assert run(world.command("witness", "--trusting-days", "200", "--json")) == 0
    capsys.readouterr()


# --- receipts, offline


@pytest.fixture
def receipt(tmp_path: Path) -> tuple[Path, Path, QuorumChain]:
    """A receipt after the set has changed, the genesis, and the chain."""
    genesis, keys = make_genesis(engine="cometbft")
    fifth = seed_of("hospital-e/consensus")
    chain = QuorumChain(genesis, seeds_by_key({**keys.validator_seeds, "hospital-e": fifth}))
    (key,) = chain.seeds.keys() - {v.public_key for v in genesis.validators.validators}
    validators = [*genesis.validators.validators, Validator(key, 10)]
    chain.decide(change=ValidatorSet.of(validators))
    chain.grow(3)
    act = tx.Act(vote=tx.Vote(instance_id=bytes(16), transition="approve"))
    made = build_transaction(
        [act],
        chain_id=genesis.chain_id,
        expires_at=genesis.time_ns // NANOS + 60,
        signer=MemberSigner("hospital-a", keys.member_seeds["hospital-a"]),
    )
    chain.decide([made])
    chain.grow(3)
    path, document = tmp_path / "some.receipt", tmp_path / "genesis.json"
    write_receipt(path, chain.receipt(5, 0))
    document.write_bytes(keys.document)
    return path, document, chain


def test_a_receipt_verifies_by_a_root_file(
    receipt: tuple[Path, Path, QuorumChain], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, genesis, chain = receipt
    root = tmp_path / "root.json"
    assert run(["receipt", "root", str(root), "--genesis", str(genesis)]) == 0
    assert chain.genesis.digest.hex() in capsys.readouterr().out
    assert run(["receipt", "verify", str(path), "--root", str(root), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verified"] is True
    assert (document["signed"], document["validators"], document["anchored"]) == (5, 5, False)
    assert run(["receipt", "verify", str(path), "--root", str(root)]) == 0
    shown = capsys.readouterr().out
    assert "5 of 5 validators signed; rests on the validators of the genesis" in shown
    assert "solo" not in shown


@pytest.mark.parametrize(
    ("height", "words"),
    [(4, "led through the checkpoint at block 4"), (8, "before the checkpoint")],
)
async def test_a_receipt_says_whether_it_came_through_the_checkpoint(
    receipt: tuple[Path, Path, QuorumChain],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    height: int,
    words: str,
) -> None:
    path, _, chain = receipt
    plain = RootFile.of_genesis(chain.genesis)
    point = TrustPoint.of(await chain.light_block(height))
    root = tmp_path / "root.json"
    root.write_bytes(RootFile(plain.root, plain.time_ns, point).to_bytes())
    assert run(["receipt", "verify", str(path), "--root", str(root)]) == 0
    assert words in capsys.readouterr().out


def test_a_root_is_never_overwritten_and_one_trust_is_given(
    receipt: tuple[Path, Path, QuorumChain], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, genesis, _ = receipt
    root = tmp_path / "root.json"
    root.write_text("something")
    assert run(["receipt", "root", str(root), "--genesis", str(genesis), "--json"]) == 1
    assert refusal(capsys)["reason"] == "FILE_EXISTS"
    both = ["receipt", "verify", str(path), "--root", str(root), "--genesis", str(genesis)]
    assert run(both) == 2
    assert "one of --root and --genesis" in capsys.readouterr().err
    assert run(["receipt", "verify", str(path), "--root", str(root), "--json"]) == 1
    assert refusal(capsys)["reason"] in ("ROOT_MALFORMED", "CHAIN_ERROR")


def test_a_receipt_that_another_root_does_not_lead_to_is_refused(
    receipt: tuple[Path, Path, QuorumChain], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _, _ = receipt
    other = tmp_path / "other.json"
    genesis, _ = make_genesis(members=7, engine="cometbft")
    other.write_bytes(RootFile.of_genesis(genesis).to_bytes())
    assert run(["receipt", "verify", str(path), "--root", str(other), "--json"]) == 1
    assert refusal(capsys)["reason"] == "RECEIPT_REJECTED"


def test_a_file_that_is_no_evidence_is_refused(
    receipt: tuple[Path, Path, QuorumChain], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _, _ = receipt
    (tmp_path / "alliance.json").write_text("{}")
    arguments = ["chain", "evidence", str(path), "--alliance", str(tmp_path), "--json"]
    assert run(arguments) == 1
    assert refusal(capsys)["reason"] in ("EVIDENCE_MALFORMED", "CHAIN_ERROR")
