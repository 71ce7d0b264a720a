"""The custodian alone: its whole store and every key, its own share, and all but enough others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.group_keys import RECORD
from cipherward_client.alliance.shared_keys import WINDOW_BLOCKS
from cipherward_client.records.errors import RecordKeyWrong
from cipherward_client.records.keys import RecordContext, check_record_key, record_key
from cipherward_client.sdk.ceremonies import make_group_key
from cipherward_client.sdk.credentials import register_duty
from cipherward_client.sdk.erasures import erase_record, wait_erased
from cipherward_client.sdk.errors import ClientError, explaining
from cipherward_client.sdk.group_keys import group_key
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.release_orders import SERVICE
from cipherward_storage.slots import KeptSlotUnusable
from cipherward_threshold.group.errors import SlotRejected
from cipherward_threshold.group.tdh2 import verify_slot
from tests.integration.enforcement.loot import SLOT_KEYS, Loot, Secret, Target
from tests.integration.enforcement.openings import CONTENT, consented, stored
from tests.integration.enforcement.town import CUSTODIAN, MEMBERS, Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDER = bytes(32)  # what the thief's own shares are made for: it needs no order
HEAD, POINT = 6, 48  # a share begins with its index and its sharing, and then the point
ERASED_SECONDS = 90.0  # a slot key lives ten seconds here

Shares = dict[int, bytes]


async def loot_of(town: Town, tmp_path: Path, members: str) -> dict[str, Loot]:
    return {
        letter: await Loot.taken(town, f"hospital-{letter}", tmp_path / letter)
        for letter in members
    }


def renamed(share: bytes, secret: Secret) -> bytes:
    """Return a share that says it is the share of another holder."""
    head = secret.index.to_bytes(2, "big") + secret.key.sharing.to_bytes(4, "big")
    return head + share[HEAD:]


def attempts(
    target: Target, own: Secret, one: Secret, absent: Secret
) -> Iterator[tuple[str, Shares]]:
    """Yield the ways of making two shares look like three.

    Args:
        absent: the guardian that does not help; of it only what everybody knows is used.
    """
    mine, others = (secret.share(target.slot, ORDER) for secret in (own, one))
    two = {own.index: mine, one.index: others}
    yield "its own share alone", {own.index: mine}
    yield "its own and all but one of the others that it takes", two
    yield "its own twice", {**two, absent.index: renamed(mine, absent)}
    yield "the other's twice", {**two, absent.index: renamed(others, absent)}
    # Everybody knows the absent guardian's public point; it is no share of this slot.
    public = target.key.points[absent.index - 1]
    yield "a point that everybody knows", {**two, absent.index: guess(mine, absent, public)}
    yield (
        "the slot's own point",
        {
            **two,
            absent.index: guess(mine, absent, target.stored.alliance_slot[:POINT]),
        },
    )


def opens(target: Target, half: bytes, shares: Shares) -> bool:
    """Say whether a half of the key and these shares open the record."""
    try:
        return bool(target.opened(half, shares))
    except RecordKeyWrong:
        return False


def guess(share: bytes, secret: Secret, point: bytes) -> bytes:
    """Return a share of the absent guardian with a guessed point."""
    return renamed(share[:HEAD] + point + share[HEAD + POINT :], secret)


async def test_the_custodian_with_all_it_has_and_one_guardian_opens_nothing(
    town: Town, tmp_path: Path
) -> None:
    opening = await consented(town)
    loot = await loot_of(town, tmp_path, "abc")
    own, one, absent = (loot[letter].secret() for letter in "abc")
    target = Target(town.alliance.chain_id, loot["a"].stored(opening.record_id), own.key)
    half = loot["a"].key_part(opening.record_id)
    tried = {name: opens(target, half, s) for name, s in attempts(target, own, one, absent)}
    assert len(tried) == 6
    assert not any(tried.values()), tried
    # With one more guardian it opens, whichever that is.
    secrets = own, one, absent
    enough = {secret.index: secret.share(target.slot, ORDER) for secret in secrets}
    assert target.opened(half, enough) == CONTENT


async def test_no_half_of_a_key_is_the_key(town: Town, tmp_path: Path) -> None:
    opening = await consented(town)
    loot = await loot_of(town, tmp_path, "a")
    half = loot["a"].key_part(opening.record_id)
    assert opening.fetched is not None
    anchor = opening.fetched.anchor
    context = RecordContext(town.alliance.chain_id, opening.record_id)
    for key in (half, record_key(context, half, half), record_key(context, half, bytes(32))):
        with pytest.raises(RecordKeyWrong):
            check_record_key(opening.record_id, key, anchor.record_key_commitment)
    check_record_key(opening.record_id, opening.fetched.key, anchor.record_key_commitment)


async def test_a_slot_under_another_label_is_no_slot_and_others_shares_do_not_fit(
    town: Town, tmp_path: Path
) -> None:
    """A guardian that is asked for another record, by right, helps with none but that."""
    opening = await consented(town)
    bait = await stored(town)
    loot = await loot_of(town, tmp_path, "abc")
    own, one, absent = (loot[letter].secret() for letter in "abc")
    chain_id = town.alliance.chain_id
    target = Target(chain_id, loot["a"].stored(opening.record_id), own.key)
    other = Target(chain_id, loot["a"].stored(bait), own.key)
    for label in (other.label(), target.label(custodian=MEMBERS[1])):
        with pytest.raises(SlotRejected):
            verify_slot(own.key, label, target.stored.alliance_slot)
    half = loot["a"].key_part(opening.record_id)
    shares = {secret.index: secret.share(target.slot, ORDER) for secret in (own, one)}
    shares[absent.index] = absent.share(other.slot, ORDER)
    with pytest.raises(RecordKeyWrong):
        target.opened(half, shares)


async def test_shares_of_an_order_are_for_its_reader_and_not_for_the_custodian(town: Town) -> None:
    opening = await consented(town)
    thief = Asker.member(town.hospitals[CUSTODIAN])
    colleague = await town.clinician("colleague", CUSTODIAN)
    scope = await register_duty(town.alliance, colleague, CUSTODIAN)
    for asker in (thief, Asker(town.alliance, colleague.signer(scope))):
        for member in MEMBERS:
            read = asker.read(
                f"{SERVICE}/GetGuardianShare", opening.record_id, opening.release.order
            )
            storage = town.alliance.storage_of(member)
            with pytest.raises(ClientError) as told, explaining():
                await storage.GetGuardianShare(pb.GetGuardianShareRequest(read=read), timeout=20)
            assert told.value.reason == "READ_REJECTED"


async def test_shares_of_two_sharings_do_not_add_up(town: Town, tmp_path: Path) -> None:
    """A thief that takes one guardian's share before the members share anew, and another after."""
    opening = await consented(town)
    before = await loot_of(town, tmp_path / "before", "ac")
    entry = await group_key(town.alliance, RECORD)
    hospitals = list(town.hospitals.values())
    await make_group_key(hospitals, RECORD, key_epoch=entry.key_epoch, window=WINDOW_BLOCKS)
    await opening.fetch(town)  # every guardian follows: the shares of now are in use
    after = await loot_of(town, tmp_path / "after", "abc")
    old_own, old_other = (before[letter].secret() for letter in "ac")
    own, one, absent = (after[letter].secret() for letter in "abc")
    assert own.key.sharing == old_own.key.sharing + 1
    target = Target(town.alliance.chain_id, after["a"].stored(opening.record_id), own.key)
    half = after["a"].key_part(opening.record_id)
    new = {secret.index: secret.share(target.slot, ORDER) for secret in (own, one)}
    old = {
        secret.index: renamed(secret.share(target.slot, ORDER), after_secret)
        for secret, after_secret in ((old_own, own), (old_other, absent))
    }
    for shares in ({**old, **new}, {**new, **old}):
        with pytest.raises(RecordKeyWrong):
            target.opened(half, shares)
    new[absent.index] = absent.share(target.slot, ORDER)
    assert target.opened(half, new) == CONTENT


async def test_h8_a_copy_from_before_an_erasure_opens_for_nobody(
    town: Town, tmp_path: Path
) -> None:
    """The store as it was, with every member's share and all keys of the custodian of today."""
    opening = await consented(town)
    loot = await loot_of(town, tmp_path, "abcd")
    ordered = await erase_record(town.alliance, opening.patient, opening.record_id)
    statements = await wait_erased(town.alliance, opening.patient, ordered, seconds=ERASED_SECONDS)
    assert CUSTODIAN in statements
    today = town.folder.member(CUSTODIAN).data("storage") / SLOT_KEYS
    with pytest.raises(KeptSlotUnusable):
        await asyncio.to_thread(loot["a"].key_part, opening.record_id, today)
    own = loot["a"].secret()
    target = Target(town.alliance.chain_id, loot["a"].stored(opening.record_id), own.key)
    everybody = [loot[letter].secret() for letter in "abcd"]
    for some in combinations(everybody, own.key.threshold):
        shares = {secret.index: secret.share(target.slot, ORDER) for secret in some}
        with pytest.raises(RecordKeyWrong):
            target.opened(bytes(32), shares)
