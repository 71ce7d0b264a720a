"""Who spoils a resharing is named, or it fails: then the old holders decrypt as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_chain.canonical import decode_map, encode
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.ceremony.messages import Redealt
from cipherward_compute.ceremony.resharer import ResharingRefused
from cipherward_compute.errors import NotYetMade, StepFailed, StudyEnded, StudyUnknown
from cipherward_compute.handed_columns import HandedColumns
from cipherward_compute.instructions import ReshareStep
from cipherward_compute.keyring import MessageKind
from cipherward_compute.steps import Done
from cipherward_threshold.dealing.disputes import deal_digest
from cipherward_threshold.dealing.messages import DealCheck, ReshareDeal
from cipherward_threshold.messages import DecryptionShare
from cipherward_threshold.parameters import profile

if TYPE_CHECKING:
    from conftest import Beginning, Run

pytestmark = pytest.mark.slow  # a resharing takes seconds

A, B, C, D, E = (f"hospital-{letter}" for letter in "abcde")
FIRST, NEW = (A, B, C), (B, C, D)
PROFILE, SOURCE = "product-1", b"k" * 16
STEPS: tuple[ReshareStep, ...] = ("ready", "deal", "answer", "confirm", "test", "open")


async def stands(run: Run) -> None:
    """The attempt ends, and the old sharing is as it was: no member keeps anything else."""
    await run.end()
    for pair in ((A, B), (B, C), (A, C)):
        assert await run.opened_by(*pair) == [41, 42]
    assert all(run.left(name) == [] for name in (A, B, C, D))
    assert await run.alliance.at[D].keyring.find(SOURCE) is None


async def deal_otherwise(run: Run, dealer: str, *receivers: str) -> None:
    """Let a dealer commit to deals whose values are off by one in a place."""
    keyring, row, study = run.alliance.at[dealer].keyring, profile(PROFILE), run.plan.study
    shown = Redealt.parse(dealer, await run.own(dealer, "reshare_mask"), run.plan.new)
    digests = dict(shown.deal_digests)
    for receiver in receivers:
        octets = (await keyring.deals(study, "reshare_deal"))[dealer, receiver]
        parsed = ReshareDeal.parse(row, octets)
        value = parsed.value.copy()
        value[0, 1, 5] ^= 1
        wrong = replace(parsed, value=value).to_bytes(row)
        sealed = keyring.seal_deal(study, dealer, receiver, wrong, "reshare_deal")
        run.rewrite(dealer, "reshare_deal", sealed.octets, receiver)
        digests[receiver] = deal_digest(wrong)
    told = replace(shown, deal_digests=digests).to_bytes()
    run.commitments[dealer] = run.rewrite(dealer, "reshare_mask", told)


def named(found: dict[str, StepFailed | PeerWrong]) -> dict[str, str]:
    """Return whom each member names, or the word for why it fails."""
    return {
        name: why.member if isinstance(why, PeerWrong) else why.reason
        for name, why in found.items()
    }


async def test_a_deal_on_no_polynomial_names_its_dealer_everywhere(before: Beginning) -> None:
    run = await before("joins", "answer")
    await deal_otherwise(run, C, D)
    await run.take("answer")
    assert named(await run.refusals("confirm")) == dict.fromkeys((A, B, C, D), C)
    await stands(run)


async def test_deals_of_another_secret_are_refused_and_the_old_sharing_stands(
    before: Beginning,
) -> None:
    run = await before("both", "deal")
    await run.with_stolen_share(B, A, "deal")
    await run.take("answer")
    refused = await run.refusals("confirm")
    assert {type(why) for why in refused.values()} == {ResharingRefused}
    assert set(refused) == set(NEW)
    await stands(run)


@pytest.mark.parametrize("kind", ["reshare_mask", "reshare_deal"])
async def test_what_was_not_committed_to_names_its_dealer(
    before: Beginning, kind: MessageKind
) -> None:
    run = await before("both", "answer")

    def other(member: str, found: MessageKind, octets: bytes) -> bytes:
        if (member, found) != (A, kind):
            return octets
        return octets[:-1] + bytes((octets[-1] ^ 1,))

    run.alliance.at[D].peers.tamper = other
    assert named(await run.refusals("answer")) == {D: A}
    await stands(run)


async def test_a_deal_of_another_receiver_or_resharing_names_its_dealer(
    before: Beginning,
) -> None:
    run = await before("joins", "answer")
    keyring, study = run.alliance.at[C].keyring, run.plan.study
    deals = await keyring.deals(study, "reshare_deal")
    row = profile(PROFILE)
    of_another = replace(ReshareDeal.parse(row, deals[C, D]), dealer=bytes(32)).to_bytes(row)
    for octets, why in ((deals[C, B], "another's"), (of_another, "another resharing")):
        again = await before("joins", "answer")
        keyring = again.alliance.at[C].keyring
        shown = Redealt.parse(C, await again.own(C, "reshare_mask"), (A, B, C, D))
        digests = {**shown.deal_digests, D: deal_digest(octets)}
        told = replace(shown, deal_digests=digests).to_bytes()
        again.commitments[C] = again.rewrite(C, "reshare_mask", told)
        sealed = keyring.seal_deal(study, C, D, octets, "reshare_deal")
        again.rewrite(C, "reshare_deal", sealed.octets, D)
        refused = await again.refusals("answer")
        assert named(refused) == {D: C}
        assert why in str(refused[D])


async def test_a_new_holder_whose_answer_is_none_is_named(before: Beginning) -> None:
    run = await before("both", "confirm")
    run.checks[C] = run.rewrite(C, "reshare_check", await run.own(D, "reshare_check"))
    assert set(named(await run.refusals("confirm")).values()) == {C}
    await stands(run)


async def test_a_new_holder_that_accuses_falsely_makes_the_resharing_fail(
    before: Beginning,
) -> None:
    run = await before("joins", "confirm")
    row = profile(PROFILE)
    check = DealCheck.parse(row, await run.own(D, "reshare_check"))
    values = check.values.copy()
    values[0, 0, 9] ^= 1
    lie = replace(check, values=values).to_bytes(row)
    run.checks[D] = run.rewrite(D, "reshare_check", lie)
    refused = await run.refusals("confirm")
    assert set(named(refused)) == {A, B, C, D}
    assert "or a new holder says so falsely" in str(refused[A])
    await stands(run)


async def test_a_wrong_share_of_the_trial_keeps_the_old_sharing(before: Beginning) -> None:
    run = await before("both", "open")
    row = profile(PROFILE)
    share = DecryptionShare.parse(row, await run.own(C, "reshare_share"))
    value = share.value.copy()
    value[0, 2, 3] ^= np.uint64(1 << 40)
    lie = replace(share, value=value).to_bytes(row)
    run.shares[C] = run.rewrite(C, "reshare_share", lie)
    refused = await run.refusals("open")
    assert {type(why) for why in refused.values()} == {ResharingRefused}
    await stands(run)


async def test_anothers_share_of_the_trial_names_its_thief(before: Beginning) -> None:
    run = await before("both", "open")
    for octets in (await run.own(D, "reshare_share"), b"none"):
        run.shares[C] = run.rewrite(C, "reshare_share", octets)
        assert set(named(await run.refusals("open")).values()) == {C}


def slots_of_other_length(octets: bytes) -> bytes:
    return encode({**decode_map(octets), "slots": b"short"})


def lists_of_numbers(octets: bytes) -> bytes:
    return encode({**decode_map(octets), "lists": {A: 1}})


def with_more(octets: bytes) -> bytes:
    return encode({**decode_map(octets), "more": 1})


def other_list(octets: bytes) -> bytes:
    handed = HandedColumns.parse(octets)
    listed = decode_map(handed.lists[B])
    wrong = encode({**listed, "proofs": [bytes(32)]})
    return replace(handed, lists={**handed.lists, B: wrong}).to_bytes()


def fewer_slots(octets: bytes) -> bytes:
    handed = HandedColumns.parse(octets)
    return replace(handed, pseudonyms=handed.pseudonyms[1:]).to_bytes()


def slots_in_disorder(octets: bytes) -> bytes:
    handed = HandedColumns.parse(octets)
    return replace(handed, pseudonyms=handed.pseudonyms[::-1]).to_bytes()


def fewer_lists(octets: bytes) -> bytes:
    handed = HandedColumns.parse(octets)
    return replace(handed, lists={A: handed.lists[A]}).to_bytes()


def other_text(octets: bytes) -> bytes:
    handed = HandedColumns.parse(octets)
    return replace(handed, text=handed.text.replace(b"120", b"121")).to_bytes()


def broken(octets: bytes) -> bytes:
    return octets[:-1]


HANDED: tuple[tuple[MessageKind, Callable[[bytes], bytes]], ...] = (
    ("public_key", broken),
    ("evaluation_key", broken),
    ("columns", broken),
    ("columns", other_text),
    ("columns", fewer_slots),
    ("columns", slots_in_disorder),
    ("columns", fewer_lists),
    ("columns", other_list),
    ("columns", slots_of_other_length),
    ("columns", lists_of_numbers),
    ("columns", with_more),
)


async def test_a_joining_holder_that_is_handed_something_else_names_the_dealer(
    before: Beginning,
) -> None:
    run = await before("both", "answer")
    await run.block(run.order("answer"))
    (order,) = await run.alliance.at[D].chain.waiting()
    for kind, changed in HANDED:

        def tamper(
            member: str,
            found: MessageKind,
            octets: bytes,
            wrong: tuple[MessageKind, Callable[[bytes], bytes]] = (kind, changed),
        ) -> bytes:
            return wrong[1](octets) if (member, found) == (A, wrong[0]) else octets

        run.alliance.at[D].peers.tamper = tamper
        refused = await run.answer_at(D, order)
        assert isinstance(refused, PeerWrong), changed
        assert refused.member == A
    run.alliance.at[D].peers.tamper = None
    assert isinstance(await run.answer_at(D, order), Done)


async def test_a_challenge_is_answered_once_and_one_trial_is_shared_in(before: Beginning) -> None:
    run = await before("both", "answer")
    await run.give_order("answer")  # the answers are on their disks
    honest = run.commitments[A]
    await deal_otherwise(run, A, D)
    assert run.commitments[A] != honest
    assert named(await run.refusals("answer"))[C] == "CHALLENGE_ANSWERED"

    run = await before("both", "test")
    await run.take("test")
    run.seed = b"t" * 32
    assert set(named(await run.refusals("test")).values()) == {"CHALLENGE_ANSWERED"}


async def test_nobody_deals_twice_in_a_resharing(before: Beginning) -> None:
    run = await before("both", "deal")
    await run.take("deal")
    assert named(await run.refusals("deal")) == {A: "CHALLENGE_ANSWERED", B: "CHALLENGE_ANSWERED"}


async def test_a_holder_is_ready_only_with_the_key_that_the_order_names(
    before: Beginning,
) -> None:
    run = await before("both", "ready")
    found = await run.give_order("ready", key_digest=b"d" * 32)
    assert {one.reason for one in found.values() if isinstance(one, StepFailed)} == {"KEY_DIFFERS"}
    found = await run.give_order("ready", evaluation_digest=b"d" * 32)
    assert {one.reason for one in found.values() if isinstance(one, StepFailed)} == {"KEY_DIFFERS"}
    await run.take("ready")


async def test_deals_are_shown_to_their_receiver_when_all_have_committed(
    before: Beginning,
) -> None:
    run = await before("both", "answer")
    dealer, study = run.alliance.at[A].exchange, run.plan.study
    for kind in ("reshare_deal", "columns"):
        with pytest.raises(NotYetMade):
            await dealer.ceremony_message(study, kind, D)
    await run.block(run.order("answer"))
    to_b = await dealer.ceremony_message(study, "reshare_deal", B)
    to_d = await dealer.ceremony_message(study, "reshare_deal", D)
    row = profile(PROFILE)
    assert [ReshareDeal.parse(row, one).point for one in (to_b, to_d)] == [2, 4]
    with pytest.raises(NotYetMade):  # nothing was dealt to a holder that leaves
        await dealer.ceremony_message(study, "reshare_deal", A)
    with pytest.raises(StudyUnknown):
        await dealer.ceremony_message(study, "public_key", E)
    await run.everywhere()
    await run.end()
    with pytest.raises(StudyEnded):
        await dealer.ceremony_message(study, "reshare_deal", D)


# Every step of who stays and of who joins; two of them always, the others when there is time.
DEATHS = [("deal", B), *((step, name) for step in STEPS[2:] for name in (B, D))]
ALWAYS = (("answer", D), ("test", B))


@pytest.mark.parametrize(
    ("step", "name"),
    [pytest.param(*at, marks=() if at in ALWAYS else pytest.mark.soak) for at in DEATHS],
)
async def test_a_holder_that_dies_in_any_step_goes_on_after_it(
    before: Beginning, step: ReshareStep, name: str
) -> None:
    run = await before("both", step)
    holder = run.alliance.at[name]
    holder.peers.dies_at = holder.peers.asked + 2
    await run.block(run.order(step))
    lost: object = None
    try:
        waiting = await holder.chain.waiting()
        lost = await run.answer_at(name, waiting[0])  # made, and its effect is lost
    except RuntimeError:
        pass  # it died waiting for a peer
    await run.alliance.restart(name)
    found = await run.everywhere()
    done = {n: one for n, one in found.items() if isinstance(one, Done) and one.reported}
    run.keep(step, {n: one.digest for n, one in done.items()})
    if isinstance(lost, Done) and step != "deal":  # dealing is fresh until it is reported
        assert done[name].digest == lost.digest
    for later in STEPS[STEPS.index(step) + 1 :]:
        await run.alliance.restart(name)
        await run.step(later)
    await run.alliance.restart(name)
    await run.hand_over()
    assert await run.opened_by(B, D) == [41, 42]
