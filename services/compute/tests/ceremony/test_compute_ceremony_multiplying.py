"""Keys under which ciphertexts are multiplied: their evaluation key is made and tested."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from cipherward_chain.batches import packed, unpacked
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.ceremony.dealing import AnsweredBefore
from cipherward_compute.ceremony.multiplying import EvaluationKeyRefused
from cipherward_compute.errors import StepFailed
from cipherward_compute.instructions import CeremonyStep
from cipherward_compute.keyring import KeyMissing
from cipherward_threshold.evaluation.messages import RelinFirst, RelinSecond
from cipherward_threshold.evaluation.relinearisation import relin_key_digest
from cipherward_threshold.parameters import profile

if TYPE_CHECKING:
    from conftest import Run

pytestmark = pytest.mark.slow

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
PROFILE = "product-1"
STEPS: tuple[CeremonyStep, ...] = (
    "commit",
    "reveal",
    "confirm",
    "relin_first",
    "relin_second",
    "relin_combine",
    "test_commit",
    "test_open",
)


@pytest.fixture
def key(run: Run) -> Run:
    """A ceremony for a data key."""
    return replace(run, profile=PROFILE)


async def test_the_members_make_one_evaluation_key_and_test_it(key: Run) -> None:
    await key.before("test_commit")
    combined = dict(key.reveals)  # what each reported after it had combined
    assert len(set(combined.values())) == 1
    await key.before("test_open")
    opened = await key.take("test_open")
    assert len(set(opened.values())) == 1
    for member in MEMBERS:
        keyring = key.alliance.keyrings[member]
        found = await keyring.evaluation_key(key.study)
        assert relin_key_digest(found) == combined[member]
        assert (await keyring.ceremony(key.study)).secret_salt == b""
        for kind in ("check", "relin_first", "relin_second"):
            assert await keyring.messages(key.study, kind) == {}


@pytest.mark.soak
@pytest.mark.parametrize("step", STEPS[3:])
async def test_a_member_that_dies_in_any_step_goes_on_after_it(
    key: Run, step: CeremonyStep
) -> None:
    await key.before(step)
    peers = key.alliance.peers["hospital-b"]
    peers.dies_at = peers.asked + 2
    try:
        lost = await key.alliance.steps["hospital-b"].carry_out(key.order(step))
    except RuntimeError:
        lost = None  # it died waiting for a peer
    await key.alliance.restart("hospital-b")
    digests = await key.take(step)
    if lost is not None and step != "test_commit":  # encryption is fresh until it is reported
        assert digests["hospital-b"] == lost.digest
    for later in STEPS[STEPS.index(step) + 1 :]:
        await key.alliance.restart("hospital-b")
        digests = await key.take(later)
    assert len(set(digests.values())) == 1


async def test_wrong_messages_for_the_evaluation_key_name_their_sender_or_kill_the_key(
    key: Run,
) -> None:
    row = profile(PROFILE)
    await key.before("relin_second")
    honest, reveals = await key.own("hospital-d", "relin_first"), dict(key.reveals)
    key.reveals["hospital-d"] = key.rewrite("hospital-d", "relin_first", b"garbage")
    with pytest.raises(PeerWrong) as caught:
        await key.alliance.steps["hospital-a"].carry_out(key.order("relin_second"))
    assert caught.value.member == "hospital-d"
    # Another member's message under one's own name is one of a dealer that appears twice.
    stolen = await key.own("hospital-c", "relin_first")
    key.reveals["hospital-d"] = key.rewrite("hospital-d", "relin_first", stolen)
    with pytest.raises(EvaluationKeyRefused):
        await key.alliance.steps["hospital-a"].carry_out(key.order("relin_second"))
    key.rewrite("hospital-d", "relin_first", honest)
    key.reveals = reveals
    await key.take("relin_second")

    # A second message made for other first ones, and one that adds a large error.
    second = RelinSecond.parse(row, await key.own("hospital-d", "relin_second"))
    other = replace(second, firsts_digest=bytes(32)).to_bytes(row)
    reveals = dict(key.reveals)
    key.reveals["hospital-d"] = key.rewrite("hospital-d", "relin_second", other)
    with pytest.raises(EvaluationKeyRefused):
        await key.alliance.steps["hospital-a"].carry_out(key.order("relin_combine"))
    value = second.value.copy()
    value[0, 0, 3] ^= 1  # one place of one prime: an error of the size of the modulus
    wrong = replace(second, value=value).to_bytes(row)
    key.reveals = {**reveals, "hospital-d": key.rewrite("hospital-d", "relin_second", wrong)}
    await key.take("relin_combine", "test_commit")
    refused = await key.refusals("test_open")
    assert set(refused) == set(MEMBERS)
    assert all(isinstance(why, EvaluationKeyRefused) for why in refused.values())


async def test_first_messages_are_answered_once(key: Run) -> None:
    row = profile(PROFILE)
    await key.before("relin_second")
    await key.alliance.steps["hospital-a"].carry_out(key.order("relin_second"))  # and dies
    await key.alliance.restart("hospital-a")
    first = RelinFirst.parse(row, await key.own("hospital-d", "relin_first"))
    value = first.value.copy()
    value[0, 0, 0] ^= 1
    other = replace(first, value=value).to_bytes(row)
    reveals = dict(key.reveals)
    key.reveals["hospital-d"] = key.rewrite("hospital-d", "relin_first", other)
    with pytest.raises(AnsweredBefore):
        await key.alliance.steps["hospital-a"].carry_out(key.order("relin_second"))
    key.rewrite("hospital-d", "relin_first", first.to_bytes(row))
    key.reveals = reveals
    await key.at("hospital-a", "relin_second")
    with pytest.raises(KeyMissing):  # the secret went with the answer
        await key.at("hospital-a", "relin_second")


async def test_wrong_dummies_and_wrong_shares_name_their_sender(key: Run) -> None:
    await key.before("test_open")
    reveals = dict(key.reveals)
    ciphertexts, proofs = unpacked(await key.own("hospital-d", "test"))
    for wrong in (
        b"garbage",
        packed(ciphertexts[:7], proofs),
        packed((ciphertexts[1], ciphertexts[0], *ciphertexts[2:]), proofs),
        await key.own("hospital-c", "test"),
    ):
        key.reveals = {**reveals, "hospital-d": key.rewrite("hospital-d", "test", wrong)}
        with pytest.raises(PeerWrong) as caught:
            await key.alliance.steps["hospital-a"].carry_out(key.order("test_open"))
        assert caught.value.member == "hospital-d"
    key.rewrite("hospital-d", "test", packed(ciphertexts, proofs))
    key.reveals = reveals

    def anothers(member: str, kind: str, octets: bytes) -> bytes:
        return b"\x01" + bytes(4) if (member, kind) == ("hospital-b", "test_share") else octets

    key.alliance.peers["hospital-d"].tamper = anothers
    refused = await key.refusals("test_open")
    assert set(refused) == {"hospital-d"}
    assert cast("PeerWrong", refused["hospital-d"]).member == "hospital-b"


async def test_a_set_below_the_threshold_opens_nothing(key: Run) -> None:
    await key.before("test_open")
    order = replace(key.order("test_open"), online=MEMBERS[:2])
    with pytest.raises(StepFailed, match="smaller than the threshold"):
        await key.alliance.steps["hospital-a"].carry_out(order)
