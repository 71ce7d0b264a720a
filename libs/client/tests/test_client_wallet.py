"""A wallet's keys are its own, and its backup opens with its passphrase or not at all."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from cipherward_anoncred.credential import Credential
from cipherward_anoncred.issuance import HolderSecret, grant_first, request_first
from cipherward_anoncred.schema import attribute, header_of
from cipherward_anoncred.scheme import generate_issuer_key
from cipherward_chain.canonical import decode, encode
from cipherward_chain.opt_outs import care_scope
from cipherward_client.wallet import file as wallet_file
from cipherward_client.wallet.entries import (
    GivenGrant,
    KeptStudy,
    OwnedRecord,
    PendingCredential,
)
from cipherward_client.wallet.errors import (
    CredentialMissing,
    EntryUnknown,
    WalletFileMalformed,
    WalletFileMissing,
    WalletFileTooWeak,
    WalletOfAnotherChain,
    WalletPassphraseEmpty,
    WalletPassphraseWrong,
)
from cipherward_client.wallet.file import load_wallet, save_wallet
from cipherward_client.wallet.scopes import duty_scope, issue_of, record_scope, study_scope
from cipherward_client.wallet.wallet import Wallet

GENESIS = b"g" * 32
RECORD, GRANT, STUDY = bytes(range(16)), bytes(16), b"s" * 16
PASSPHRASE = "correct horse battery staple"


def credential(issuer: str, epoch: int, schema: str = "patient") -> Credential:
    key = generate_issuer_key(issuer.encode() * 8)
    header = header_of(schema, issuer, epoch)
    names = {"patient": ("role",), "staff": ("member", "role")}[schema]
    attributes = [attribute(name, "text", schema) for name in names]
    about = {"issuer": issuer, "session": bytes(32)}
    request, pending = request_first(HolderSecret.generate(), header=header, **about)  # type: ignore[arg-type]
    grant = grant_first(key, request, header=header, attributes=attributes, **about)  # type: ignore[arg-type]
    return pending.accept(grant.octets, key.public, attributes)


def full_wallet() -> Wallet:
    wallet = Wallet.create("test-chain")
    wallet.add_credential(credential("hospital-a", 1))
    wallet.add_credential(credential("hospital-b", 2, "staff"))
    pending = PendingCredential(
        code="CODE",
        member="hospital-c",
        session=b"session",
        request=b"request",
        state=b"state",
        public_key=b"key",
        attributes=(b"one", b"two"),
    )
    wallet.pending["CODE"] = pending
    wallet.registered[record_scope(RECORD)] = 3
    wallet.records[RECORD] = OwnedRecord(RECORD, "hospital-a", "hospital-b", "my knee")
    wallet.grants[GRANT] = GivenGrant(GRANT, RECORD, "hospital-c")
    wallet.studies[STUDY] = KeptStudy(STUDY, duty_scope("hospital-b", 2), b"request")
    return wallet


def saved(tmp_path: Path, wallet: Wallet) -> Path:
    path = tmp_path / "wallet"
    save_wallet(path, wallet, PASSPHRASE)
    return path


@pytest.mark.slow
def test_a_saved_wallet_comes_back_whole_and_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    wallet = full_wallet()
    path = saved(tmp_path, wallet)
    assert load_wallet(path, PASSPHRASE) == wallet
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.slow
def test_the_file_shows_nothing_of_the_wallet_and_is_another_one_each_time(tmp_path: Path) -> None:
    wallet = full_wallet()
    first = saved(tmp_path, wallet).read_bytes()
    second = saved(tmp_path, wallet).read_bytes()
    assert first != second
    assert first[wallet_file.HEADER_BYTES - 28 :] != second[wallet_file.HEADER_BYTES - 28 :]
    for shown in (wallet.seed, b"my knee", RECORD, b"CODE"):
        assert shown not in first


@pytest.mark.slow
def test_a_wrong_passphrase_is_named_and_an_empty_one_never_taken(tmp_path: Path) -> None:
    path = saved(tmp_path, Wallet.create("test-chain"))
    with pytest.raises(WalletPassphraseWrong):
        load_wallet(path, PASSPHRASE + " ")
    with pytest.raises(WalletPassphraseEmpty):
        load_wallet(path, "")
    with pytest.raises(WalletPassphraseEmpty):
        save_wallet(path, Wallet.create("test-chain"), "")
    assert load_wallet(path, PASSPHRASE).chain_id == "test-chain"


@pytest.mark.slow
def test_any_damage_is_named_before_any_work_is_done(tmp_path: Path) -> None:
    path = saved(tmp_path, full_wallet())
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(WalletFileMalformed):
            load_wallet(path, PASSPHRASE)
    for end in (0, 10, wallet_file.HEADER_BYTES, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(WalletFileMalformed):
            load_wallet(path, PASSPHRASE)


def resealed(whole: bytes, place: int, new: bytes) -> bytes:
    """Return the file as a forger writes it: changed, with a digest that fits."""
    changed = whole[:place] + new + whole[place + len(new) : -32]
    return changed + hashlib.sha256(changed).digest()


@pytest.mark.slow
def test_a_forged_header_neither_weakens_the_wallet_nor_exhausts_the_machine(
    tmp_path: Path,
) -> None:
    path = saved(tmp_path, Wallet.create("test-chain"))
    whole = path.read_bytes()
    at = len(wallet_file.MAGIC)
    for place, number in ((at, 1), (at, 100), (at + 4, 8), (at + 4, 2**31), (at + 8, 0)):
        path.write_bytes(resealed(whole, place, number.to_bytes(4, "big")))
        with pytest.raises(WalletFileTooWeak):
            load_wallet(path, PASSPHRASE)
    path.write_bytes(resealed(whole, at, (4).to_bytes(4, "big")))  # allowed, and not what was bound
    with pytest.raises(WalletPassphraseWrong):
        load_wallet(path, PASSPHRASE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WalletFileMissing):
        load_wallet(tmp_path / "none", PASSPHRASE)


def test_content_of_another_form_is_refused() -> None:
    whole = Wallet.create("test-chain").to_bytes()
    for raw in (b"", whole[:-1], whole + b"\0", b"\xa0"):
        with pytest.raises(WalletFileMalformed):
            Wallet.from_bytes(raw)


def test_every_scope_chain_and_seed_has_a_key_of_its_own() -> None:
    wallet, other = Wallet.create("one"), Wallet.create("one")
    elsewhere = Wallet("two", wallet.seed)
    scope, study = record_scope(RECORD), study_scope(STUDY)
    keys = {
        wallet.public_key(scope),
        wallet.public_key(study),
        other.public_key(scope),
        elsewhere.public_key(scope),
        wallet.pseudonym_seed(scope),
        wallet.requester_seed(RECORD),
    }
    assert len(keys) == 6
    assert Wallet("one", wallet.seed).public_key(scope) == wallet.public_key(scope)


def test_no_secret_shows_in_a_wallets_text() -> None:
    wallet = full_wallet()
    assert repr(wallet) == "Wallet(chain_id='test-chain')"


def test_a_scope_is_served_by_the_newest_credential_of_its_kind_and_issuer() -> None:
    wallet = full_wallet()
    newer = credential("hospital-c", 5)
    wallet.add_credential(newer)
    assert wallet.credential_for(record_scope(RECORD)) is newer
    duty = wallet.credential_for(duty_scope("hospital-b", 2))
    assert duty is wallet.credential("staff", "hospital-b")
    with pytest.raises(CredentialMissing):
        wallet.credential_for(duty_scope("hospital-a", 2))
    with pytest.raises(CredentialMissing):
        Wallet.create("test-chain").credential_for(study_scope(STUDY))


def test_what_is_no_scope_is_refused() -> None:
    with pytest.raises(ValueError, match="a scope is"):
        issue_of("salon:hospital-a")


def test_any_patients_credential_serves_towards_a_member() -> None:
    wallet = full_wallet()
    patient = wallet.credential_for(study_scope(STUDY))
    assert wallet.credential_for(care_scope("hospital-z")) is patient


def test_a_wallet_remembers_whose_genesis_it_is_of() -> None:
    """Two chains may have one id: a credential of one would take the place of the other's."""
    wallet = full_wallet()
    wallet.require_chain(wallet.chain_id, GENESIS)
    kept = Wallet.from_bytes(wallet.to_bytes())
    kept.require_chain(wallet.chain_id, GENESIS)
    with pytest.raises(WalletOfAnotherChain, match="another chain that is called"):
        kept.require_chain(wallet.chain_id, b"h" * 32)
    assert kept == wallet


def test_a_backup_of_an_earlier_release_knows_no_genesis_until_it_is_used() -> None:
    content = decode(full_wallet().to_bytes())
    assert isinstance(content, dict)
    earlier = Wallet.from_bytes(encode({**content, "format": 1}))
    assert earlier.genesis == b""
    earlier.require_chain(earlier.chain_id, GENESIS)
    assert Wallet.from_bytes(earlier.to_bytes()).genesis == GENESIS


def test_a_wallet_of_another_chain_and_unknown_entries_are_named() -> None:
    wallet = full_wallet()
    with pytest.raises(WalletOfAnotherChain):
        wallet.require_chain("other", GENESIS)
    for find in (wallet.record, wallet.grant, wallet.study):
        with pytest.raises(EntryUnknown):
            find(b"x" * 16)
