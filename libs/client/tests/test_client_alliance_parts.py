"""What an alliance on one machine is put together from, and what each process is told."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from cipherward_chain.comet import address
from cipherward_chain.endpoints import Endpoints
from cipherward_chain.signatures import SigningKey
from cipherward_client.alliance import layout
from cipherward_client.alliance.create import AlliancePlan, create_alliance, hospitals
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import (
    COMETBFT,
    KAFKA,
    MONGO,
    SOLO,
    Parts,
    PartsDiffer,
    PartsMalformed,
    Remembered,
    remember,
)
from cipherward_client.alliance.plans import Deployment, endpoints_document, services_of
from cipherward_client.alliance.ports import (
    PORTS_PER_SERVICE,
    PortBaseTooHigh,
    assign_endpoints,
    ports_needed,
)
from cipherward_client.alliance.requirements import (
    CometbftMissing,
    KafkaUnreachable,
    MongoUnreachable,
    find_cometbft,
    require,
)
from cipherward_client.alliance.running import read_store_address, write_store_address

URI = "mongodb://cipherward:secret@127.0.0.1:27317/?replicaSet=rs0"
PRODUCTION = Parts(COMETBFT, KAFKA, MONGO, "127.0.0.1:19092", URI, "/opt/cometbft")
MEMBERS = ["hospital-a", "hospital-b"]
P2P_PORTS = 4


def folder_of(tmp_path: Path) -> AllianceFolder:
    folder = AllianceFolder(tmp_path / "alliance")
    folder.root.mkdir()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "count"), [(SOLO, 1), (COMETBFT, 1), (COMETBFT, 7)])
def test_every_member_of_a_networked_chain_validates(
    tmp_path: Path, engine: str, count: int
) -> None:
    folder = folder_of(tmp_path)
    genesis = create_alliance(folder, AlliancePlan("dev-test", hospitals(count), engine=engine))
    assert (genesis.engine, len(genesis.members)) == (engine, count)
    assert len(genesis.validators.validators) == count
    for member in genesis.members.values():
        keys = folder.member(member.id).key("")
        seed = (keys / layout.CONSENSUS_KEY).read_bytes()
        assert SigningKey(seed).public_key == member.consensus_public_key
        assert all(
            stat.S_IMODE(file.stat().st_mode) == 0o600 for file in keys.iterdir() if file.is_file()
        )
        assert folder.member(member.id).certificate("ledger")[0].exists()
        node = keys / layout.NODE_KEY
        if engine == SOLO:
            assert not node.exists()
        else:
            assert address(SigningKey(node.read_bytes()).public_key) == member.node_id


def test_each_member_of_a_networked_chain_runs_five_services() -> None:
    networked = services_of(MEMBERS, COMETBFT)
    assert len(networked) == len(set(networked)) == 10
    alone = services_of(MEMBERS, SOLO)
    assert [name for name in alone if name[1] in layout.CHAIN_SERVICES] == [
        ("hospital-a", "contract"),
        ("hospital-a", "ledger"),
    ]
    assert len(alone) == 8


def test_ports_are_counted_up_with_those_of_the_nodes_last() -> None:
    services = services_of([f"hospital-{letter}" for letter in "abcd"], COMETBFT)
    found = assign_endpoints(services, COMETBFT, 20_000)
    needed = PORTS_PER_SERVICE * len(services) + P2P_PORTS
    assert needed == ports_needed(services, COMETBFT)
    ports = [
        int(text.rpartition(":")[2])
        for e in found.values()
        for text in (e.listen, e.holder, e.health, e.metrics, e.p2p)
        if text
    ]
    assert sorted(ports) == list(range(20_000, 20_000 + needed))
    nodes = [int(e.p2p.rpartition(":")[2]) for e in found.values() if e.p2p]
    assert nodes == list(range(20_000 + needed - P2P_PORTS, 20_000 + needed))
    with pytest.raises(PortBaseTooHigh):
        assign_endpoints(services, COMETBFT, 65_500)


def test_the_endpoints_file_says_where_nodes_meet(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    found = assign_endpoints(services_of(MEMBERS, COMETBFT), COMETBFT, 20_000)
    endpoints = Endpoints.parse(endpoints_document("dev-test", found, folder))
    assert {endpoints.home(member) for member in MEMBERS} == set(MEMBERS)
    assert endpoints.of("hospital-b", "ledger").p2p == found["hospital-b", "ledger"].p2p != ""
    alone = assign_endpoints(services_of(MEMBERS, SOLO), SOLO, 20_000)
    endpoints = Endpoints.parse(endpoints_document("dev-test", alone, folder))
    assert (endpoints.ledger_member, endpoints.home("hospital-b")) == ("hospital-a", "hospital-a")
    assert endpoints.of("hospital-a", "ledger").p2p == ""


def told(folder: AllianceFolder, parts: Parts, service: str) -> dict[str, str]:
    """Return what hospital-b's service is told, without the prefix."""
    found = assign_endpoints(services_of(MEMBERS, COMETBFT), COMETBFT, 20_000)
    name = ("hospital-b", service)
    plan = Deployment(folder, "dev-test", parts).process_plan(name, found[name])
    return {key.removeprefix("CIPHERWARD_"): value for key, value in plan.environment.items()}


def test_each_service_is_told_of_its_own_parts_only(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    home = folder.member("hospital-b")
    ledger, storage = told(folder, PRODUCTION, "ledger"), told(folder, PRODUCTION, "storage")
    assert ledger["COMETBFT_BINARY"] == "/opt/cometbft"
    assert ledger["NODE_KEY_FILE"] == str(home.key(layout.NODE_KEY))
    assert ledger["P2P_LISTEN"].startswith("127.0.0.1:")
    assert (ledger["FEED"], ledger["KAFKA_BOOTSTRAP"]) == ("kafka", "127.0.0.1:19092")
    assert storage["MONGO_URI_FILE"] == str(home.key(layout.MONGO_URI))
    assert storage["MONGO_DATABASE"] == "cipherward_dev-test_hospital-b"
    assert storage["FEED"] == "kafka"
    contract = told(folder, PRODUCTION, "contract")
    assert int(contract["SNAPSHOT_BLOCKS"]) > 0
    assert not {"FEED", "STORE", "ENDPOINTS_FILE"} & set(contract)
    assert "STORE" not in told(folder, PRODUCTION, "compute")


def test_no_setting_holds_the_password_of_the_database(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for service in (*layout.CHAIN_SERVICES, *layout.MEMBER_SERVICES):
        assert not any("secret" in value for value in told(folder, PRODUCTION, service).values())
    assert "secret" not in repr(PRODUCTION)
    remember(folder, PRODUCTION, MEMBERS)
    assert "secret" not in folder.parts_file.read_text()


def test_embedded_parts_need_no_setting(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for service in (*layout.CHAIN_SERVICES, *layout.MEMBER_SERVICES):
        settings = told(folder, Parts(), service)
        assert not {"FEED", "STORE", "NODE_KEY_FILE", "SNAPSHOT_BLOCKS"} & set(settings)


def test_the_storage_reads_where_the_database_is_from_a_private_file(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for member in MEMBERS:
        folder.member(member).key("").mkdir(parents=True)
    assert read_store_address(folder, MEMBERS) == ""
    write_store_address(folder, PRODUCTION, MEMBERS)
    file = folder.member("hospital-b").key(layout.MONGO_URI)
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (URI, 0o600)
    assert read_store_address(folder, MEMBERS) == URI


def test_a_folder_goes_on_with_its_own_parts_only(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    assert Remembered.read(folder) is None
    remember(folder, PRODUCTION, MEMBERS)
    known = Remembered.read(folder)
    assert known is not None
    assert known == Remembered(COMETBFT, KAFKA, MONGO, PRODUCTION.kafka, tuple(MEMBERS))
    known.require(PRODUCTION)
    with pytest.raises(PartsDiffer, match=r"cometbft, kafka, mongo, not on solo"):
        known.require(Parts())


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        '{"engine": "solo"}',
        '{"engine": "raft", "feed": "grpc", "store": "mongo", "kafka": "", "members": ["a"]}',
        '{"engine": "solo", "feed": "grpc", "store": "mongo", "kafka": "", "members": []}',
    ],
)
def test_a_damaged_memory_of_the_parts_is_said_to_be_one(tmp_path: Path, document: str) -> None:
    folder = folder_of(tmp_path)
    folder.parts_file.write_text(document)
    with pytest.raises(PartsMalformed):
        Remembered.read(folder)


def test_what_is_missing_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        there = f"127.0.0.1:{listening.getsockname()[1]}"
        require(Parts(feed=KAFKA, kafka=f"127.0.0.1:1,{there}"))
        require(Parts(store=MONGO, mongo=f"mongodb://user:p%40ss@{there}/?tls=false"))
    with pytest.raises(KafkaUnreachable, match=r"127\.0\.0\.1:1"):
        require(Parts(feed=KAFKA, kafka="127.0.0.1:1"))
    with pytest.raises(MongoUnreachable) as told_of:
        require(Parts(store=MONGO, mongo="mongodb://user:hidden@127.0.0.1:1"))
    assert "hidden" not in str(told_of.value)
    with pytest.raises(MongoUnreachable):
        require(Parts(store=MONGO, mongo="postgres://127.0.0.1"))
    require(Parts(store=MONGO, mongo="mongodb+srv://cluster.example"))
    with pytest.raises(CometbftMissing):
        find_cometbft(tmp_path / "cometbft")
    (tmp_path / "cometbft").write_text("no program")
    with pytest.raises(CometbftMissing):
        find_cometbft(tmp_path / "cometbft")
    (tmp_path / "cometbft").chmod(0o700)
    assert find_cometbft(tmp_path / "cometbft") == str(tmp_path / "cometbft")
