"""Ciphertext on disk: one file a body, and a table of tags of its parts beside it in the store.

A body's file has a random name and never another: whether it is an upload or a record is said by
the row that names it, so that the end of an upload is one switch in one transaction. A file that
no row names is what a crash left over; it is deleted at the start.

A part's tag is GMAC (AES-256-GCM over no plaintext, the part as associated data, its number as
nonce) under a key that is drawn for this one table. It notices what happens to a file that the
table's owner did not write, as a digest would, at a tenth of SHA-256's cost; the SHA-256 of the
whole is compared once, when it is uploaded.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext, Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from cipherward_kit.datafolder import sync_folder
from cipherward_storage.errors import RecordCorrupt
from cipherward_storage.records import PART_BYTES

# 256 folders: a million bodies make folders of four thousand, quick on any file system.
FOLDERS = tuple(f"{number:02x}" for number in range(256))
KEY_BYTES, TAG_BYTES, NONCE_BYTES = 32, 16, 12  # AES-256-GCM, NIST SP 800-38D


def _nonce(number: int) -> bytes:
    return number.to_bytes(NONCE_BYTES, "big")


class BodyDigest:
    """The SHA-256 of a body and the table of its parts' tags, taken while the bytes pass by."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self._key = secrets.token_bytes(KEY_BYTES)
        self._table = bytearray(self._key)
        self._number = 0
        self._part = self._begin_part()
        self._part_bytes = 0

    def update(self, octets: bytes) -> None:
        """Take the next bytes."""
        self._whole.update(octets)
        rest = memoryview(octets)
        while len(rest):
            taken = rest[: PART_BYTES - self._part_bytes]
            self._part.authenticate_additional_data(taken)
            self._part_bytes += len(taken)
            rest = rest[len(taken) :]
            if self._part_bytes == PART_BYTES:
                self._end_part()

    def finish(self) -> tuple[bytes, bytes]:
        """Return the SHA-256 of the whole, and the table: key, then 16 bytes a part."""
        if self._part_bytes:
            self._end_part()
        return self._whole.digest(), bytes(self._table)

    def _begin_part(self) -> AEADEncryptionContext:
        return Cipher(AES(self._key), GCM(_nonce(self._number))).encryptor()

    def _end_part(self) -> None:
        self._part.finalize()
        self._table += self._part.tag
        self._number += 1
        self._part, self._part_bytes = self._begin_part(), 0


@dataclass(frozen=True, slots=True)
class OpenBody:
    """A body open for writing: its descriptor stands at `size`, `digest` has taken that much."""

    name: str
    descriptor: int
    digest: BodyDigest
    size: int


class Bodies:
    """The folder of bodies. Every method blocks: call it from a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self) -> None:
        """Make the folders."""
        for name in FOLDERS:
            (self._root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(self._root)

    def free_bytes(self) -> int:
        """Return how much of the disk is left to this user."""
        disk = os.statvfs(self._root)
        return disk.f_bavail * disk.f_frsize

    def create(self) -> OpenBody:
        """Make an empty body, open for writing; `flush` makes it survive a power cut."""
        name = secrets.token_hex(16)
        path = self._path(name)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        return OpenBody(name, descriptor, BodyDigest(), 0)

    def flush(self, descriptor: int, name: str) -> None:
        """Make a body's bytes and its name survive a power cut.

        Both at once, because a name is as cheap to sync again as it is to remember that it was.
        """
        os.fdatasync(descriptor)
        sync_folder(self._path(name).parent)

    def reopen(self, name: str, size: int) -> OpenBody:
        """Open a body for writing at `size`, cutting what a crash left after it, and hash it.

        Raises:
            FileNotFoundError: there is no such file, or it is shorter than `size`.
        """
        descriptor = os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC)
        try:
            digest = BodyDigest()
            for offset in range(0, size, PART_BYTES):
                wanted = min(PART_BYTES, size - offset)
                part = os.pread(descriptor, wanted, offset)
                if len(part) != wanted:
                    raise FileNotFoundError("the file is shorter than its row says")
                digest.update(part)
            os.ftruncate(descriptor, size)
            os.lseek(descriptor, size, os.SEEK_SET)
        except BaseException:
            os.close(descriptor)
            raise
        return OpenBody(name, descriptor, digest, size)

    def open_to_read(self, name: str) -> int:
        """Return a descriptor for `read_part`; the file may be deleted while it is open.

        Raises:
            RecordCorrupt: the file is gone.
        """
        try:
            return os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise RecordCorrupt("the ciphertext of the record is missing") from None

    def delete(self, names: Iterable[str]) -> None:
        """Delete bodies that no row names any more."""
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def delete_all_but(self, names: set[str]) -> list[str]:
        """Delete what a crash left over; return those of `names` that have no file."""
        found = {path.name for folder in FOLDERS for path in (self._root / folder).iterdir()}
        self.delete(found - names)
        return sorted(names - found)

    def _path(self, name: str) -> Path:
        return self._root / name[:2] / name


def read_part(descriptor: int, table: bytes, length: int, number: int) -> bytes:
    """Read part `number` of a body and check its tag.

    Args:
        descriptor: from `open_to_read`.
        table: key, then 16 bytes a part.
        length: of the whole body, bytes.
        number: of the part, from 0.

    Raises:
        RecordCorrupt: the bytes are not those that were uploaded, or cannot be read.
    """
    start = number * PART_BYTES
    try:
        part = os.pread(descriptor, min(PART_BYTES, length - start), start)
    except OSError:
        raise RecordCorrupt(f"part {number} cannot be read", part=number) from None
    check_part(part, table, length, number)
    return part


def check_part(part: bytes, table: bytes, length: int, number: int) -> None:
    """Return if `part` is part `number` of a body of `length` bytes with this table of tags.

    Raises:
        RecordCorrupt: it is not what was uploaded.
    """
    place = KEY_BYTES + number * TAG_BYTES
    tag = table[place : place + TAG_BYTES]
    try:
        if len(part) != min(PART_BYTES, length - number * PART_BYTES) or len(tag) != TAG_BYTES:
            raise InvalidTag
        AESGCM(table[:KEY_BYTES]).decrypt(_nonce(number), tag, part)
    except InvalidTag:
        raise RecordCorrupt(f"part {number} is not what was uploaded", part=number) from None
