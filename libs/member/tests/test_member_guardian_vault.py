"""Seeds and shares at rest: they open in their own place, under their own key, and nowhere else."""

from __future__ import annotations

import pytest

from cipherward_member.guardian_vault import GuardianVault, GuardianVaultCorrupt

MATERIAL = bytes(range(32))
GIVEN = {"chain_id": "test-chain", "member": "hospital-a", "purpose": "record"}
VAULT = GuardianVault.derive(MATERIAL, **GIVEN)


def test_a_value_opens_where_it_was_sealed_and_never_looks_the_same() -> None:
    sealed = VAULT.seal(b"a share", b"share", b"1")
    assert VAULT.open(sealed, b"share", b"1") == b"a share"
    assert GuardianVault.derive(MATERIAL, **GIVEN).open(sealed, b"share", b"1") == b"a share"
    assert VAULT.seal(b"a share", b"share", b"1") != sealed
    assert b"a share" not in sealed


@pytest.mark.parametrize(
    "place", [(), (b"share",), (b"share", b"2"), (b"share1",), (b"seed", b"1")]
)
def test_a_value_opens_in_no_other_place(place: tuple[bytes, ...]) -> None:
    sealed = VAULT.seal(b"a share", b"share", b"1")
    with pytest.raises(GuardianVaultCorrupt):
        VAULT.open(sealed, *place)


@pytest.mark.parametrize(
    "other", [{"chain_id": "b"}, {"member": "hospital-b"}, {"purpose": "opening"}]
)
def test_chain_member_and_purpose_have_a_key_each(other: dict[str, str]) -> None:
    sealed = VAULT.seal(b"a share", b"share")
    with pytest.raises(GuardianVaultCorrupt):
        GuardianVault.derive(MATERIAL, **{**GIVEN, **other}).open(sealed, b"share")
    with pytest.raises(GuardianVaultCorrupt):
        GuardianVault.derive(bytes(32), **GIVEN).open(sealed, b"share")


@pytest.mark.parametrize("damage", [b"", b"x", bytes(12), bytes(40)])
def test_damaged_values_do_not_open(damage: bytes) -> None:
    with pytest.raises(GuardianVaultCorrupt):
        VAULT.open(damage, b"share")


def test_the_key_is_never_shown() -> None:
    assert "_key" not in repr(VAULT)
