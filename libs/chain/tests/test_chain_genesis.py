"""The genesis document: what it says, and every way in which it can be wrong."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from cipherward_chain.canonical import encode
from cipherward_chain.genesis import (
    Genesis,
    GenesisMalformed,
    Issuer,
    Parameters,
    TemplateDocument,
)
from cipherward_chain.rfc3339 import TimeMalformed, format_time, parse_time
from cipherward_chain.testing import GENESIS_TIME_NS, make_genesis

Document = dict[str, Any]
ISSUER = Issuer("hospital-a", bytes(range(96)), ("patient", "staff"))
TEMPLATE = TemplateDocument("consent", 1, encode({"states": ["draft"]}))


@pytest.fixture(scope="module")
def raw() -> bytes:
    return make_genesis(issuers=[ISSUER], templates=[TEMPLATE])[1].document


@pytest.fixture
def document(raw: bytes) -> Document:
    return json.loads(raw)


def test_a_genesis_says_what_the_alliance_is(raw: bytes) -> None:
    genesis = Genesis.parse(raw)
    assert genesis.chain_id == "test-chain"
    assert genesis.time_ns == GENESIS_TIME_NS
    assert list(genesis.members) == [f"hospital-{c}" for c in "abcd"]
    assert genesis.members["hospital-c"].index == 2
    assert genesis.members["hospital-c"].name == "Hospital C"
    assert genesis.issuers == (ISSUER,)
    assert genesis.templates == (TEMPLATE,)
    assert genesis.parameters == Parameters(minimum_suite=1)
    assert genesis.parameters.fresh_seconds == 30
    assert genesis.digest == hashlib.sha256(raw).digest()


def test_the_trust_root_is_chain_digest_validators_and_engine(raw: bytes) -> None:
    genesis = Genesis.parse(raw)
    root = genesis.trust_root()
    assert (root.chain_id, root.genesis_digest) == ("test-chain", genesis.digest)
    assert (root.validators, root.engine) == (genesis.validators, "solo")


def test_epochs_count_from_one_at_the_genesis_time(raw: bytes) -> None:
    genesis = Genesis.parse(raw)
    start, epoch = GENESIS_TIME_NS // 10**9, Parameters().epoch_seconds
    moments = (start - 1, start, start + epoch - 1, start + epoch, start + 5 * epoch)
    assert [genesis.epoch_at(moment) for moment in moments] == [1, 1, 1, 2, 6]


def test_an_alliance_of_one_is_an_alliance() -> None:
    assert list(make_genesis(members=1)[0].members) == ["hospital-a"]


def _state(document: Document) -> Document:
    return document["app_state"]


def _member(document: Document) -> Document:
    return _state(document)["members"][1]


def _parameters(document: Document) -> Document:
    return _state(document)["parameters"]


SMALL_ORDER = (bytes((1,)) + bytes(31)).hex()


FAULTS: list[Callable[[Document], object]] = [
    lambda d: d.pop("chain_id"),
    lambda d: d.update(chain_id=1),
    lambda d: d.update(chain_id="x" * 51),
    lambda d: d.update(chain_id="Test"),
    lambda d: d.update(extra=1),
    lambda d: d.update(genesis_time="2026-09-21"),
    lambda d: d.update(genesis_time="2026-02-30T00:00:00Z"),
    lambda d: d.update(initial_height="0"),
    lambda d: d.update(initial_height="01"),
    lambda d: d.update(initial_height=1),
    lambda d: d.update(app_hash="00"),
    lambda d: d.update(app_state=[]),
    lambda d: d.update(validators=[]),
    lambda d: d["validators"].append(d["validators"][0]),
    lambda d: d["validators"][0].update(power="0"),
    lambda d: d["validators"][0].update(power="ten"),
    lambda d: d["validators"][0].update(address="00" * 20),
    lambda d: d["validators"][0]["pub_key"].update(type="tendermint/PubKeySecp256k1"),
    lambda d: d["validators"][0]["pub_key"].update(value="!"),
    lambda d: d["validators"][0]["pub_key"].update(
        value=base64.b64encode(bytes.fromhex(SMALL_ORDER)).decode()
    ),
    lambda d: d["consensus_params"]["block"].update(max_bytes="1"),
    lambda d: d["consensus_params"]["block"].update(max_gas="5"),
    lambda d: d["consensus_params"]["version"].update(app="2"),
    lambda d: d["consensus_params"]["validator"].update(pub_key_types=["secp256k1"]),
    lambda d: _state(d).update(engine="raft"),
    lambda d: _parameters(d).update(data_set_releases_max=1),
    lambda d: _parameters(d).update(data_set_rho_max=-1),
    lambda d: _parameters(d).pop("data_set_rho_max"),
    lambda d: _state(d).update(machine_version=0),
    lambda d: _state(d).update(machine_version=True),
    lambda d: _state(d).update(extra=1),
    lambda d: _state(d).update(members=[]),
    lambda d: _state(d)["members"].reverse(),
    lambda d: _state(d)["members"].append(_state(d)["members"][0]),
    lambda d: _member(d).update(id="hospital-a"),
    lambda d: _member(d).update(id="Hospital B"),
    lambda d: _member(d).update(index=2),
    lambda d: _member(d).update(public_key=SMALL_ORDER),
    lambda d: _member(d).update(public_key="zz"),
    lambda d: _member(d).update(public_key=_member(d)["public_key"].upper()),
    lambda d: _member(d).update(public_key=_state(d)["members"][0]["public_key"]),
    lambda d: _member(d).update(custodian_public_key="00"),
    lambda d: _member(d).update(custodian_public_key="00" * 1_216),
    lambda d: _member(d).update(custodian_public_key="ff" * 1_216),
    lambda d: _member(d).update(ca_certificate="none"),
    lambda d: _member(d).update(email="x@y"),
    lambda d: _member(d).update(consensus_public_key=_member(d)["public_key"]),
    lambda d: _member(d).update(node_id="00" * 20),
    lambda d: _state(d)["members"][0].update(node_id="00" * 20),
    lambda d: _state(d)["members"][0].update(consensus_public_key=""),
    lambda d: _state(d)["issuers"][0].update(member="hospital-z"),
    lambda d: _state(d)["issuers"][0].update(schemas=["visitor"]),
    lambda d: _state(d)["issuers"][0].update(schemas=[1]),
    lambda d: _state(d)["issuers"][0].update(public_key="00" * 95),
    lambda d: _state(d)["issuers"].append(_state(d)["issuers"][0]),
    lambda d: _state(d)["templates"][0].update(document="bfff"),
    lambda d: _state(d)["templates"][0].update(name="Consent"),
    lambda d: _state(d)["templates"][0].update(version=0),
    lambda d: _state(d)["templates"].append(_state(d)["templates"][0]),
    lambda d: _parameters(d).pop("epoch_seconds"),
    lambda d: _parameters(d).update(heartbeat_seconds=0),
    lambda d: _parameters(d).update(heartbeat_seconds=1.5),
    lambda d: _parameters(d).update(stale_heartbeats=1),
    lambda d: _parameters(d).update(block_bytes_max=3_000_000),
    lambda d: _parameters(d).update(transaction_bytes_max=100_000),
    lambda d: _parameters(d).update(acts_max=65),
]


@pytest.mark.parametrize("change", FAULTS)
def test_a_genesis_with_anything_wrong_is_refused(
    document: Document, change: Callable[[Document], object]
) -> None:
    change(document)
    with pytest.raises(GenesisMalformed):
        Genesis.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"null",
        b'{"chain_id": "a", "chain_id": "b"}',
        b'{"chain_id": NaN}',
        b"[" * 100_000,
    ],
)
def test_what_is_not_a_json_object_is_refused(octets: bytes) -> None:
    with pytest.raises(GenesisMalformed):
        Genesis.parse(octets)


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b'{"chain_id": "a", "chain_id": "a"}', "twice"),
        (b'{"chain_id": NaN}', "NaN is not JSON"),
        (b'{"chain_id": Infinity}', "Infinity is not JSON"),
    ],
)
def test_what_json_parsers_let_pass_is_named_and_refused(octets: bytes, why: str) -> None:
    with pytest.raises(GenesisMalformed, match=why):
        Genesis.parse(octets)


def test_an_array_of_texts_holds_texts_only(document: Document) -> None:
    document["consensus_params"]["validator"]["pub_key_types"] = ["ed25519", 1]
    with pytest.raises(GenesisMalformed, match="more than texts"):
        Genesis.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-22T20:20:27.221550815Z", 1_795_378_827_221_550_815),
        ("2026-11-22T20:20:27.5Z", 1_795_378_827_500_000_000),
    ],
)
def test_times_are_read_to_the_nanosecond(text: str, nanoseconds: int) -> None:
    assert parse_time(text) == nanoseconds
    assert parse_time(format_time(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-22", "2026-11-22T20:20:27", "2026-11-22T20:20:27+01:00", "2026-13-01T00:00:00Z"],
)
def test_what_is_not_a_time_in_utc_is_refused(text: str) -> None:
    with pytest.raises(TimeMalformed):
        parse_time(text)
