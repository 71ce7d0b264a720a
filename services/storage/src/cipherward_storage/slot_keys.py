"""Slot keys: files under which the custodian's key parts lie, renewed and destroyed in time.

The custodian's own key opens what authors sealed to it, for ever; what lies here is under a slot
key instead, so that whoever later gets an old copy of the store finds a key that is no more
(docs/adr/0020). The folder must not be in the same backup as the store. Several storages of one
member share it. Everything here blocks: call it from a thread.

A file is named by its number, from 1, and holds the Unix second of its making (8 bytes) and 32
random bytes. The highest number is the one in use.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cipherward_chain.domains import SLOT_AT_REST
from cipherward_kit.datafolder import sync_folder
from cipherward_member.errors import KeyUnusable

SETTING = "CIPHERWARD_SLOT_KEYS_FOLDER"
TIME_BYTES, SECRET_BYTES = 8, 32  # AES-256-GCM
NAME = re.compile(r"slot-key-([0-9]{10})")
PARTIAL, PARTIAL_SECONDS = ".new-", 60  # making a key takes milliseconds
OTHERS = 0o077  # permission bits of anybody but the owner


class SlotKeyGone(Exception):
    """The slot key of that number is destroyed; what was under it is lost, as it should be."""


@dataclass(frozen=True, slots=True)
class SlotKey:
    """One slot key. made_at: unix seconds by the local clock. secret: 32 bytes."""

    number: int
    made_at: int
    secret: bytes = field(repr=False)

    @property
    def fingerprint(self) -> bytes:
        """What tells keys of one number apart, and nothing else about them; 32 bytes."""
        return hashlib.sha256(SLOT_AT_REST + self.secret).digest()


class SlotKeys:
    """The slot keys in one folder."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        """Describe the folder; `clock` tells unix seconds."""
        self._folder = folder
        self._clock = clock
        self._read: dict[int, SlotKey] = {}

    def open(self) -> None:
        """Make the folder and the first key where there is none.

        Raises:
            KeyUnusable: the folder cannot be used, or others may read it.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._folder.stat().st_mode & OTHERS:
                raise KeyUnusable(
                    f"the folder {self._folder} is open to others; chmod 700 it ({SETTING})"
                )
            self._clear_partials()
            if not self._numbers():
                self.add()
        except OSError as error:
            raise KeyUnusable(
                f"the folder {self._folder} cannot be used ({error.strerror}); check {SETTING}"
            ) from None

    def newest(self) -> SlotKey:
        """Return the key in use.

        Raises:
            SlotKeyGone: there is none: somebody took the folder away.
        """
        numbers = self._numbers()
        self._forget_all_but(numbers)
        if not numbers:
            raise SlotKeyGone("the folder of slot keys is empty")
        return self.get(max(numbers))

    def oldest_number(self) -> int:
        """Return the lowest number that is not destroyed; 0 if there is no key at all."""
        return min(self._numbers(), default=0)

    def get(self, number: int) -> SlotKey:
        """Return a key by its number.

        Raises:
            SlotKeyGone: it is destroyed, or never was.
        """
        path = self._path(number)
        if number not in self._read or not path.exists():  # another storage may have destroyed it
            self._read.pop(number, None)
            try:
                raw = path.read_bytes()
            except FileNotFoundError:
                raise SlotKeyGone(f"there is no slot key {number}") from None
            if len(raw) != TIME_BYTES + SECRET_BYTES:
                raise SlotKeyGone(f"the slot key {number} is damaged")
            made_at = int.from_bytes(raw[:TIME_BYTES], "big")
            self._read[number] = SlotKey(number, made_at, raw[TIME_BYTES:])
        return self._read[number]

    def numbers(self) -> list[int]:
        """Return the numbers of the keys that are not destroyed, ascending."""
        return sorted(self._numbers())

    def intact(self, number: int) -> bool:
        """Say whether the file of a key still has what was read from it first.

        Raises:
            SlotKeyGone: it is destroyed, or never was.
        """
        known = self.get(number)
        self._read.pop(number)
        try:
            return self.get(number) == known
        except SlotKeyGone:
            if self._path(number).exists():  # of another length
                return False
            raise
        finally:
            if self._path(number).exists():
                self._read[number] = known  # what is damaged on the disk still opens slots

    def add(self) -> SlotKey:
        """Make the next key, durably; if another storage makes it first, theirs is the one."""
        number = max(self._numbers(), default=0) + 1
        raw = int(self._clock()).to_bytes(TIME_BYTES, "big") + secrets.token_bytes(SECRET_BYTES)
        partial = self._folder / f"{PARTIAL}{secrets.token_hex(8)}"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(descriptor)
            with contextlib.suppress(FileExistsError):
                os.link(partial, self._path(number))  # whole or not at all, and never over another
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(self._folder)
        return self.get(number)

    def destroy_below(self, number: int) -> int:
        """Destroy every key with a lower number; return how many there were.

        Overwritten before it is deleted, which helps on a disk that writes in place; what the disk
        itself keeps is out of our hands.
        """
        self._clear_partials()
        old = [one for one in self._numbers() if one < number]
        for one in old:
            self._read.pop(one, None)
            with contextlib.suppress(FileNotFoundError):  # another storage was faster
                _overwrite(self._path(one))
                self._path(one).unlink()
        if old:
            sync_folder(self._folder)
        return len(old)

    def _clear_partials(self) -> None:
        """Delete what a stop in the middle of `add` left: it may be another name of a key."""
        for partial in self._folder.glob(f"{PARTIAL}*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - partial.stat().st_mtime > PARTIAL_SECONDS:
                    partial.unlink()

    def _numbers(self) -> list[int]:
        found = (NAME.fullmatch(path.name) for path in self._folder.iterdir())
        return [int(match[1]) for match in found if match is not None]

    def _forget_all_but(self, numbers: list[int]) -> None:
        for number in set(self._read) - set(numbers):
            del self._read[number]

    def _path(self, number: int) -> Path:
        return self._folder / f"slot-key-{number:010}"


def _overwrite(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, bytes(TIME_BYTES + SECRET_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
