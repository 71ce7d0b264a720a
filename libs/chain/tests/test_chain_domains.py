"""Domain separation: no tag begins another, and each has its own octets."""

from __future__ import annotations

import hashlib
import itertools

from cipherward_chain import domains


def test_no_tag_is_a_prefix_of_another() -> None:
    for one, other in itertools.permutations(domains.TAGS, 2):
        assert not other.startswith(one)


def test_every_tag_ends_in_its_only_zero_byte_and_names_the_product() -> None:
    for tag in domains.TAGS:
        assert tag.index(b"\0") == len(tag) - 1
        assert tag.startswith(b"cipherward/")


def test_every_tag_of_the_module_is_registered() -> None:
    defined = [value for value in vars(domains).values() if isinstance(value, bytes)]
    assert sorted(defined) == sorted(domains.TAGS)


def test_octets_are_as_documented() -> None:
    assert domains.transaction_context(b"x") == b"cipherward/tx/v1\0x"
    assert domains.read_context(b"x") == b"cipherward/read/v1\0x"
    possession = b"cipherward/possession/v1\0\0\0\0\1c\0\0\0\2ab" + bytes(32)
    assert domains.possession_octets("c", "ab", bytes(32)) == possession
    assert domains.owner_octets("c", b"anchor") == b"cipherward/owner/v1\0\0\0\0\1canchor"


def test_an_authorizer_is_named_as_documented() -> None:
    tag = b"cipherward/authorizer/v1\0"
    member = hashlib.sha256(tag + b"\1" + b"\0\0\0\1h" + bytes(32)).digest()
    assert domains.member_authorizer("h", bytes(32)) == member
    assert domains.pseudonym_authorizer(b"k") == hashlib.sha256(tag + b"\2k").digest()
    assert domains.presentation_authorizer(b"k") == hashlib.sha256(tag + b"\3k").digest()


def test_what_stands_side_by_side_cannot_be_shifted() -> None:
    one = domains.possession_octets("ab", "c", bytes(32))
    assert one != domains.possession_octets("a", "bc", bytes(32))
    assert domains.member_authorizer("ab", b"c") != domains.member_authorizer("a", b"bc")


def test_commitments_are_as_documented() -> None:
    part = hashlib.sha256(b"cipherward/custodian-part/v1\0" + bytes(16) + b"k").digest()
    assert domains.custodian_part_commitment(bytes(16), b"k") == part
    key = hashlib.sha256(b"cipherward/record-key/v1\0" + bytes(16) + b"k").digest()
    assert domains.record_key_commitment(bytes(16), b"k") == key
    assert domains.ceremony_seed("c", 1, b"i") != domains.ceremony_seed("c", 2, b"i")


def test_a_contract_that_was_begun_has_an_id_of_its_own() -> None:
    octets = bytes(16) + (7).to_bytes(8, "big") + (1).to_bytes(4, "big")
    made = hashlib.sha256(b"cipherward/begun-contract/v1\0" + octets).digest()[:16]
    assert domains.begun_contract(bytes(16), 7, 1) == made
    ids = {
        domains.begun_contract(bytes(16), height, place) for height in (7, 8) for place in (0, 1)
    }
    assert len(ids) == 4


def test_a_warrant_is_for_one_chain_and_one_recipient() -> None:
    octets = b"\0\0\0\1c" + b"\0\0\0\1r" + bytes(16)
    made = hashlib.sha256(b"cipherward/warrant/v1\0" + octets).digest()
    assert domains.warrant_context("c", bytes(16), "r") == made
    assert domains.warrant_context("cr", bytes(16), "") != domains.warrant_context(
        "c", bytes(16), "r"
    )
