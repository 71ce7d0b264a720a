"""The file of a backup: a tar of the stores' files, then their manifest, then its signature.

The manifest comes last because it names digests of what was copied on the way; so a file that was
cut off anywhere has none, and is refused. Everything here blocks on the disk.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Final

from cipherward_client.backup.errors import (
    ArchiveDamaged,
    ArchiveExists,
    ArchiveExposed,
    ArchiveMalformed,
    ArchiveTruncated,
    StoreChanging,
)
from cipherward_client.backup.manifest import Entry, Manifest
from cipherward_kit.datafolder import sync_folder

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
# 150 bytes a file: a storage of three million records; more is no manifest of ours.
MANIFEST_BYTES_MAX: Final = 512 * 1024 * 1024
SIGNATURE_BYTES_MAX: Final = 64
COPY_BYTES: Final = 1024 * 1024  # a read: large bodies pass at the disk's speed
FILE_MODE, FOLDER_MODE = 0o600, 0o700
OTHERS: Final = 0o077  # permission bits of anybody but the owner

Digest = Callable[[bytes], object]


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes], update: Digest) -> None:
        self._file = file
        self._update = update

    def read(self, size: int = -1, /) -> bytes:
        octets = self._file.read(size)
        self._update(octets)
        return octets


class ArchiveWriter:
    """Writes an archive that appears under its name whole, when `finish` has returned.

    Raises, from entering:
        ArchiveExists: the file is there, and is not to be replaced.
    """

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        if path.exists() and not replace:
            raise ArchiveExists(str(path))
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._entries: list[Entry] = []

    def __enter__(self) -> ArchiveWriter:
        self._partial.unlink(missing_ok=True)
        number = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        self._file = os.fdopen(number, "wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w|", format=tarfile.PAX_FORMAT)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What was added so far."""
        return tuple(self._entries)

    def add(self, source: Path, name: str) -> None:
        """Add a file as it is now; what is appended to it meanwhile is not taken.

        Raises:
            StoreChanging: it became shorter meanwhile.
            OSError: it is gone, or cannot be read.
        """
        with source.open("rb") as file:
            size, digest = os.fstat(file.fileno()).st_size, hashlib.sha256()
            try:
                self._tar.addfile(_described(name, size), _Hashed(file, digest.update))
            except OSError as error:
                if error.errno is None:  # tarfile's own: fewer bytes than were announced
                    raise StoreChanging(name) from None
                raise
        self._entries.append(Entry(name, size, digest.digest()))

    def finish(self, manifest: bytes, signature: bytes) -> None:
        """End the archive and give it its name, on the disk."""
        for name, octets in ((MANIFEST, manifest), (SIGNATURE, signature)):
            self._tar.addfile(_described(name, len(octets)), io.BytesIO(octets))
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        os.replace(self._partial, self._path)
        sync_folder(self._path.parent)


def _described(name: str, size: int) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size, found.mode = size, FILE_MODE
    return found


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came out of an archive: its manifest, and the bytes that the signature is over."""

    manifest: Manifest
    raw: bytes = field(repr=False)
    signature: bytes


def unpack(archive: Path, folder: Path) -> Unpacked:
    """Unpack an archive into an empty folder, and hold every file against the manifest.

    Raises:
        ArchiveExposed: others may read or write the archive.
        ArchiveTruncated: it ends too early.
        ArchiveMalformed: it is none, or holds something that no backup has.
        ArchiveDamaged: a file is not the one that the manifest names.
    """
    with archive.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & OTHERS:
            raise ArchiveExposed(str(archive))
        try:
            with tarfile.open(fileobj=file, mode="r|") as tar:
                return _read(tar, folder)
        except tarfile.ReadError as error:
            if "truncated" in str(error) or "unexpected end" in str(error):
                raise ArchiveTruncated(str(archive)) from None
            raise ArchiveMalformed(str(error)) from None
        except tarfile.TarError as error:
            raise ArchiveMalformed(str(error)) from None


def _read(tar: tarfile.TarFile, folder: Path) -> Unpacked:
    found: list[Entry] = []
    last: dict[str, bytes] = {}
    for described in tar:
        if described.name in (MANIFEST, SIGNATURE):
            last[described.name] = _small(tar, described)
        elif last:
            raise ArchiveMalformed("files come after the manifest")
        else:
            found.append(_entry(tar, described, folder / _inside(described)))
    if set(last) != {MANIFEST, SIGNATURE}:
        raise ArchiveTruncated("it has no manifest")
    manifest = Manifest.parse(last[MANIFEST])
    _compare(found, manifest.entries)
    return Unpacked(manifest, last[MANIFEST], last[SIGNATURE])


def _compare(found: Collection[Entry], named: Collection[Entry]) -> None:
    for one, other in zip(found, named, strict=False):
        if one != other:
            raise ArchiveDamaged(other.path)
    if len(found) != len(named):
        raise ArchiveDamaged(f"{len(found)} files, and {len(named)} in the manifest")


def _inside(described: tarfile.TarInfo) -> PurePosixPath:
    """Return the path of an entry, which leads nowhere but into the folder."""
    path = PurePosixPath(described.name)
    parts = path.parts
    if not described.isreg() or len(parts) < 2 or path.is_absolute() or ".." in parts:
        raise ArchiveMalformed("an entry is no file of a store")
    return path


def _small(tar: tarfile.TarFile, described: tarfile.TarInfo) -> bytes:
    bound = MANIFEST_BYTES_MAX if described.name == MANIFEST else SIGNATURE_BYTES_MAX
    content = tar.extractfile(described)
    if content is None or described.size > bound:
        raise ArchiveMalformed(f"{described.name} is too long, or no file")
    octets = content.read()
    if len(octets) != described.size:
        raise ArchiveTruncated(described.name)
    return octets


def _entry(tar: tarfile.TarFile, described: tarfile.TarInfo, target: Path) -> Entry:
    content = tar.extractfile(described)
    assert content is not None  # a regular file has content
    digest, size = hashlib.sha256(), 0
    with _new_file(target) as sink:
        while octets := content.read(COPY_BYTES):
            digest.update(octets)
            size += sink.write(octets)
        sink.flush()
        os.fsync(sink.fileno())
    if size != described.size:
        raise ArchiveTruncated(described.name)
    return Entry(described.name, size, digest.digest())


def _new_file(path: Path) -> IO[bytes]:
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb")
