"""The wallet's backup: one file, sealed under a passphrase.

File: magic, Argon2id's parameters, salt, nonce, AES-256-GCM over the content, and SHA-256 over all
before it. The digest tells damage from a wrong passphrase; only the tag tells forgery. The
parameters are authenticated, and refused outside their bounds before any work is done with them,
so that a forged header can neither weaken a file that is saved again nor exhaust the machine.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from cipherward_chain.domains import WALLET_BACKUP
from cipherward_client.wallet.errors import (
    WalletFileMalformed,
    WalletFileMissing,
    WalletFileTooWeak,
    WalletPassphraseEmpty,
    WalletPassphraseWrong,
)
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.datafolder import write_atomically

MAGIC = b"CWWALLT\x01"
SALT_BYTES, NONCE_BYTES, KEY_BYTES, DIGEST_BYTES = 16, 12, 32, 32
HEADER_BYTES = len(MAGIC) + 3 * 4 + SALT_BYTES + NONCE_BYTES
FILE_BYTES_MAX = 64 * 1024 * 1024  # a hundred thousand records; more is no wallet


@dataclass(frozen=True, slots=True)
class Work:
    """Argon2id's parameters: passes, KiB of memory, lanes."""

    passes: int
    memory_kib: int
    lanes: int


# RFC 9106, section 4, second recommended option: 64 MiB, also on a small machine; about 0.1 s.
WORK = Work(passes=3, memory_kib=64 * 1024, lanes=4)
# A file with less was not written by us; one with more would take the machine down.
WORK_MIN = Work(passes=3, memory_kib=64 * 1024, lanes=1)
WORK_MAX = Work(passes=16, memory_kib=1024 * 1024, lanes=16)


def save_wallet(path: Path, wallet: Wallet, passphrase: str) -> None:
    """Write the wallet whole or not at all, mode 0600; salt and nonce are fresh each time.

    Blocks for Argon2id and two syncs: call it from a thread.

    Raises:
        WalletPassphraseEmpty: no passphrase.
    """
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    numbers = (WORK.passes, WORK.memory_kib, WORK.lanes)
    header = MAGIC + b"".join(n.to_bytes(4, "big") for n in numbers) + salt + nonce
    cipher = AESGCM(_key(passphrase, salt, WORK))
    sealed = header + cipher.encrypt(nonce, wallet.to_bytes(), WALLET_BACKUP + header)
    write_atomically(path, sealed + hashlib.sha256(sealed).digest())


def load_wallet(path: Path, passphrase: str) -> Wallet:
    """Read a wallet. Blocks for Argon2id: call it from a thread.

    Raises:
        WalletFileMissing: the file cannot be read.
        WalletFileMalformed: it is no wallet, or damaged.
        WalletFileTooWeak: its parameters are out of bounds.
        WalletPassphraseWrong: the passphrase does not open it.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise WalletFileMalformed(f"{path} is too long for a wallet")
        raw = path.read_bytes()
    except OSError as error:
        raise WalletFileMissing(f"cannot read {path}: {error.strerror}") from None
    sealed, digest = raw[:-DIGEST_BYTES], raw[-DIGEST_BYTES:]
    if not raw.startswith(MAGIC) or len(sealed) <= HEADER_BYTES:
        raise WalletFileMalformed(f"{path} is not a wallet")
    if hashlib.sha256(sealed).digest() != digest:
        raise WalletFileMalformed(f"{path} was damaged")
    header, body = sealed[:HEADER_BYTES], sealed[HEADER_BYTES:]
    salt, nonce = header[-NONCE_BYTES - SALT_BYTES : -NONCE_BYTES], header[-NONCE_BYTES:]
    key = _key(passphrase, salt, _work(header))
    try:
        content = AESGCM(key).decrypt(nonce, body, WALLET_BACKUP + header)
    except InvalidTag:
        raise WalletPassphraseWrong("the passphrase does not open the wallet") from None
    return Wallet.from_bytes(content)


def _work(header: bytes) -> Work:
    at = len(MAGIC)
    passes, memory_kib, lanes = (
        int.from_bytes(header[place : place + 4], "big") for place in range(at, at + 12, 4)
    )
    for given, least, most in (
        (passes, WORK_MIN.passes, WORK_MAX.passes),
        (memory_kib, WORK_MIN.memory_kib, WORK_MAX.memory_kib),
        (lanes, WORK_MIN.lanes, WORK_MAX.lanes),
    ):
        if not least <= given <= most:
            raise WalletFileTooWeak("the work on the passphrase is out of bounds")
    return Work(passes, memory_kib, lanes)


def _key(passphrase: str, salt: bytes, work: Work) -> bytes:
    if not passphrase:
        raise WalletPassphraseEmpty("a wallet needs a passphrase")
    return Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=work.passes,
        lanes=work.lanes,
        memory_cost=work.memory_kib,
    ).derive(passphrase.encode())
