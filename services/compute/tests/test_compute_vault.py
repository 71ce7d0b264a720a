"""The secrets of a member: each opens in its place only, and follows from all that it should."""

from __future__ import annotations

import pytest

from cipherward_compute.vault import CeremonyRoot, Vault, VaultCorrupt


def test_a_sealed_value_opens_in_its_place_and_unchanged_only() -> None:
    vault = Vault(b"k" * 32)
    sealed = vault.seal(b"value", b"table", b"row")
    assert vault.open(sealed, b"table", b"row") == b"value"
    for octets, place in (
        (sealed, (b"table", b"other")),
        (sealed, (b"tablerow",)),
        (sealed[:-1], (b"table", b"row")),
        (b"", (b"table", b"row")),
    ):
        with pytest.raises(VaultCorrupt):
            vault.open(octets, *place)
    for place_of_bit in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place_of_bit] ^= 1
        with pytest.raises(VaultCorrupt):
            vault.open(bytes(changed), b"table", b"row")


def test_a_seed_follows_from_root_study_ceremony_and_salt() -> None:
    root = CeremonyRoot(b"r" * 32)
    seeds = {
        root.secret_seed(b"s", b"c", b"salt"),
        root.secret_seed(b"t", b"c", b"salt"),
        root.secret_seed(b"s", b"d", b"salt"),
        root.secret_seed(b"s", b"c", b"other"),
        root.noise_seed(b"s", b"salt"),
        CeremonyRoot(b"q" * 32).secret_seed(b"s", b"c", b"salt"),
    }
    assert len(seeds) == 6
    assert root.secret_seed(b"s", b"c", b"salt") in seeds


def test_keys_are_in_no_text_of_the_objects_that_hold_them() -> None:
    key = b"k" * 32
    for holder in (Vault(key), CeremonyRoot(key)):
        assert "kkkk" not in repr(holder)
