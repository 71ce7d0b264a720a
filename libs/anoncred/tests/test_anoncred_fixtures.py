"""The drafts' own vectors: core (DIF fixtures of draft-09), blind and pseudonym (June 2026)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cipherward_anoncred import blind, domains, nym, scheme
from cipherward_anoncred.curve import (
    WIDE_OCTETS,
    Draw,
    Scalar,
    expand_message,
    hash_to_scalar,
    read_scalar,
)
from cipherward_anoncred.errors import (
    AnoncredError,
    Malformed,
    ProofRejected,
    SignatureRejected,
)
from cipherward_anoncred.layout import create_generators, layout
from cipherward_anoncred.relation import Statement
from cipherward_anoncred.scheme import IssuerKey

_HERE = Path(__file__).resolve()
VECTORS = Path(
    os.environ.get("CIPHERWARD_BBS_VECTORS")
    or _HERE.parents[3].parent / "shared" / "vectors" / "bbs"
)
SUITE = "bls12-381-sha-256"
MISSING = f"no BBS vectors at {VECTORS}: conformance to the IETF drafts is not checked"

Case = dict[str, Any]  # a vector as JSON has it


def cases(part: str, kind: str) -> list[Any]:
    """The vectors of one kind; where there are none, one case that says so."""
    found = sorted((VECTORS / part / SUITE / kind).glob("*.json"))
    return [pytest.param(path, id=path.stem) for path in found] or [
        pytest.param(None, id="vectors-missing")
    ]


def load(path: Path | None) -> Case:
    if path is None or not path.exists():
        if os.environ.get("CIPHERWARD_REQUIRE_VECTORS") == "1":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return json.loads(path.read_text())


def core(name: str) -> Case:
    return load(VECTORS / "core" / SUITE / name)


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


def scalar(text: str) -> Scalar:
    return Scalar.from_be_bytes(octets(text.zfill(64)))  # one vector lost a leading zero


def listed(texts: list[str] | None) -> list[bytes]:
    return [octets(text) for text in texts or []]


def key_of(case: Case) -> IssuerKey:
    pair = case["signerKeyPair"]
    return IssuerKey(octets(pair["secretKey"]), octets(pair["publicKey"]))


def mocked(seed: bytes, dst: bytes) -> Draw:
    """The drafts' mocked source of scalars."""

    def draw(count: int) -> list[Scalar]:
        wide = expand_message(seed, dst, WIDE_OCTETS * count)
        return [
            Scalar.from_be_bytes_mod_order(wide[i * WIDE_OCTETS : (i + 1) * WIDE_OCTETS])
            for i in range(count)
        ]

    return draw


def mocked_by(case: Case, part: str) -> Draw:
    parameters = case["mockRngParameters"]
    return mocked(parameters["SEED"].encode(), parameters[part]["DST"].encode())


def test_every_published_vector_is_here() -> None:
    core("h2s.json")
    counts = {
        f"{part}/{kind}": len(list((VECTORS / part / SUITE / kind).glob("*.json")))
        for part, kind in [
            ("core", "signature"),
            ("core", "proof"),
            ("blind", "commit"),
            ("blind", "signature"),
            ("blind", "proof"),
            ("nym", "nymCommit"),
            ("nym", "nymSignature"),
            ("nym", "nymProof"),
        ]
    }
    assert counts == {
        "core/signature": 10,
        "core/proof": 15,
        "blind/commit": 2,
        "blind/signature": 5,
        "blind/proof": 8,
        "nym/nymCommit": 4,
        "nym/nymSignature": 6,
        "nym/nymProof": 11,
    }


def test_hash_to_scalar_is_the_drafts() -> None:
    case = core("h2s.json")
    assert hash_to_scalar(octets(case["message"]), octets(case["dst"])) == scalar(case["scalar"])


def test_keys_are_the_drafts() -> None:
    case = core("keypair.json")
    secret = scheme.keygen(
        octets(case["keyMaterial"]), octets(case["keyInfo"]), octets(case["keyDst"])
    )
    assert secret == scalar(case["keyPair"]["secretKey"])
    assert scheme.public_key_of(secret) == octets(case["keyPair"]["publicKey"])


def test_messages_map_to_the_drafts_scalars() -> None:
    case = core("MapMessageToScalarAsHash.json")
    assert case["cases"]
    for message in case["cases"]:
        assert layout(1).message_scalars([octets(message["message"])]) == [
            scalar(message["scalar"])
        ]


def test_the_mocked_source_is_the_drafts() -> None:
    case = core("mockedRng.json")
    drawn = mocked(octets(case["seed"]), octets(case["dst"]))(case["count"])
    assert drawn == [scalar(text) for text in case["mockedScalars"]]


def test_core_generators_are_the_drafts() -> None:
    case = core("generators.json")
    expected = [case["Q1"], *case["MsgGenerators"]]
    made = create_generators(len(expected), domains.CORE_API)
    assert [point.to_compressed_bytes().hex() for point in made] == expected


@pytest.mark.parametrize(
    ("kind", "api_id"),
    [
        ("generators", domains.NYM_API),
        ("blindGenerators", domains.BLIND_PREFIX + domains.NYM_API),
    ],
)
def test_pseudonym_generators_are_the_drafts(kind: str, api_id: bytes) -> None:
    case = load(VECTORS / "nym" / SUITE / "generators.json")[kind]
    assert case["api_id"].encode() == api_id
    expected = [case["Q1"], *case["MsgGenerators"]]
    made = create_generators(len(expected), api_id)
    assert [point.to_compressed_bytes().hex() for point in made] == expected


@pytest.mark.parametrize("path", cases("core", "signature"))
def test_core_signatures(path: Path | None) -> None:
    case = load(path)
    key, header, messages = key_of(case), octets(case["header"]), listed(case["messages"])
    signature = octets(case["signature"])
    if not case["result"]["valid"]:
        with pytest.raises(SignatureRejected):
            scheme.verify(key.public, signature, header, messages)
        return
    scheme.verify(key.public, signature, header, messages)
    assert scheme.sign(key, header, messages) == signature


def core_statement(
    public_key: bytes, header: bytes, count: int, indexes: list[int], messages: list[bytes]
) -> Statement:
    shape = layout(count)
    domain = shape.domain(public_key, header)
    return Statement.make(shape, domain, indexes, shape.message_scalars(messages))


@pytest.mark.parametrize("path", cases("core", "proof"))
def test_core_proofs(path: Path | None) -> None:
    case = load(path)
    public_key, header = octets(case["signerPublicKey"]), octets(case["header"])
    ph, proof = octets(case["presentationHeader"]), octets(case["proof"])
    indexes: list[int] = case["disclosedIndexes"]
    messages = listed(case["messages"])
    shown = [messages[i] for i in indexes if i < len(messages)]
    try:
        count = scheme.message_count_of(proof, len(indexes))
        statement = core_statement(public_key, header, count, indexes, shown)
        scheme.check_proof(statement, public_key, proof, ph)
    except AnoncredError:
        assert not case["result"]["valid"]
        return
    assert case["result"]["valid"]
    source = core("mockedRng.json")
    draw = mocked(octets(source["seed"]), octets(source["dst"]))
    statement = core_statement(public_key, header, len(messages), indexes, shown)
    scalars = layout(len(messages)).message_scalars(messages)
    made = scheme.prove_scalars(statement, octets(case["signature"]), scalars, ph, draw)
    assert made == proof


@pytest.mark.parametrize("path", cases("blind", "commit"))
def test_blind_commitments(path: Path | None) -> None:
    case = load(path)
    messages = listed(case["committedMessages"])
    commitment, prover_blind = blind.commit(messages, mocked_by(case, "commit"))
    assert commitment == octets(case["commitmentWithProof"])
    assert prover_blind == scalar(case["proverBlind"])
    assert blind.check_commitment(commitment, domains.BLIND_API)[1] == len(messages)


@pytest.mark.parametrize("path", cases("blind", "signature"))
def test_blind_signatures(path: Path | None) -> None:
    case = load(path)
    key, header, messages = key_of(case), octets(case["header"]), listed(case["messages"])
    commitment = octets(case.get("commitmentWithProof") or "")
    signature = blind.sign(key, commitment, header, messages)
    assert signature == octets(case["signature"])
    committed = listed(case.get("committedMessages"))
    prover_blind = scalar(case.get("proverBlind") or "0")
    blind.verify(key.public, signature, header, messages, committed, prover_blind)


@pytest.mark.parametrize("path", cases("blind", "proof"))
def test_blind_proofs(path: Path | None) -> None:
    case = load(path)
    signer = case["L"]
    shown: dict[str, str] = case.get("revealedMessages") or {}
    committed: dict[str, str] = case.get("revealedCommittedMessages") or {}
    disclosed = sorted(
        [(int(i), octets(text)) for i, text in shown.items()]
        + [(signer + 1 + int(j), octets(text)) for j, text in committed.items()]
    )
    public_key, proof = octets(case["signerPublicKey"]), octets(case["proof"])
    total = scheme.message_count_of(proof, len(disclosed))
    shape = layout(signer, domains.BLIND_API, total - signer - 1)
    statement = Statement.make(
        shape,
        shape.domain(public_key, octets(case["header"])),
        [i for i, _ in disclosed],
        shape.message_scalars(message for _, message in disclosed),
    )
    ph = octets(case["presentationHeader"])
    scheme.check_proof(statement, public_key, proof, ph)
    with pytest.raises(ProofRejected):
        scheme.check_proof(statement, public_key, proof, ph + b"!")


@pytest.mark.parametrize("path", cases("nym", "nymCommit"))
def test_pseudonym_commitments(path: Path | None) -> None:
    case = load(path)
    commitment, prover_blind = nym.commit(
        listed(case["committedMessages"]),
        [scalar(text) for text in case["proverNyms"]],
        mocked_by(case, "commit"),
    )
    assert commitment == octets(case["commitmentWithProof"])
    assert prover_blind == scalar(case["proverBlind"])


@pytest.mark.parametrize("path", cases("nym", "nymSignature"))
def test_pseudonym_signatures(path: Path | None) -> None:
    case = load(path)
    key, header, messages = key_of(case), octets(case["header"]), listed(case["messages"])
    holder = [scalar(text) for text in case["proverNyms"]]
    entropy = scalar(case["signer_nym_entropy"])
    commitment = octets(case["commitmentWithProof"])
    signature = nym.sign(key, commitment, len(holder), entropy, header, messages)
    assert signature == octets(case["signature"])
    secrets = [*holder[:-1], holder[-1] + entropy]
    assert secrets == [scalar(text) for text in case["nym_secrets"]]
    committed = listed(case["committedMessages"])
    covered = nym.NymMessages(
        tuple(messages), tuple(committed), scalar(case["proverBlind"]), tuple(secrets)
    )
    nym.verify(key.public, signature, header, covered)


@pytest.mark.parametrize("path", cases("nym", "nymProof"))
def test_pseudonym_proofs(path: Path | None) -> None:
    case = load(path)
    public_key, header, ph, context_id = (
        octets(case[name])
        for name in ("signerPublicKey", "header", "presentationHeader", "context_id")
    )
    messages, committed = listed(case["messages"]), listed(case["committedMessages"])
    shown = sorted(int(i) for i in case["revealedMessages"])
    committed_shown = sorted(int(j) for j in case["revealedCommittedMessages"])
    secrets = tuple(scalar(text) for text in case["nym_secrets"])
    covered = nym.NymMessages(
        tuple(messages), tuple(committed), scalar(case["proverBlind"]), secrets
    )
    signer = len(messages)
    assert signer == case["L"]
    disclosed = [(i, messages[i]) for i in shown]
    disclosed += [(signer + 1 + j, committed[j]) for j in committed_shown]
    proof, pseudonym = nym.prove(
        public_key,
        octets(case["signature"]),
        header,
        ph,
        context_id,
        covered,
        [i for i, _ in disclosed],
        mocked_by(case, "proof"),
    )
    assert pseudonym == octets(case["pseudonym"])
    assert proof == octets(case["proof"])

    def check(context: bytes) -> None:
        nym.check_proof(
            public_key,
            proof,
            header,
            ph,
            context,
            pseudonym,
            secrets=len(secrets),
            signer=signer,
            disclosed=disclosed,
        )

    check(context_id)
    with pytest.raises(ProofRejected):
        check(context_id + b"!")


def test_a_vector_scalar_that_is_not_canonical_is_not_read() -> None:
    case = core("h2s.json")
    assert read_scalar(octets(case["scalar"])) == scalar(case["scalar"])
    with pytest.raises(Malformed):
        read_scalar(octets(case["scalar"])[1:])
