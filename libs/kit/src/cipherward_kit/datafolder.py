"""The folder where a service keeps its state: one writer, one chain, whole files."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from types import TracebackType

from cipherward_kit.errors import CannotStart
from cipherward_kit.measures import show_disk

LOCK_NAME = "lock"
CHAIN_NAME = "chain-id"
PARTIAL_SUFFIX = ".partial"  # of files that a kill may leave behind half written


class DataFolderLocked(CannotStart):
    """Another process uses the folder."""

    exit_status = 4


class DataFolderOfAnotherChain(CannotStart):
    """The folder holds the state of another chain, which may have this one's id."""

    exit_status = 5


class DataFolderUnusable(CannotStart):
    """The folder cannot be made or written."""

    exit_status = 6


def sync_folder(folder: Path) -> None:
    """Make renames and new files in `folder` survive a power cut."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write the file whole or not at all, also across a power cut; blocks for two fsyncs.

    The content goes to a temporary file beside it, is synced, takes the name, and the folder is
    synced. A reader sees the old file or the new one.
    """
    number, name = tempfile.mkstemp(PARTIAL_SUFFIX, f".{path.name}.", path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            os.fchmod(number, mode)
            file.write(content)
            file.flush()
            os.fsync(number)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


class DataFolder:
    """The folder at `path`, held for this process while the context is open.

    Made with mode 0700 if it is missing. The lock is the kernel's: it ends with the process, so
    a killed process leaves nothing to clean up.
    """

    def __init__(self, path: Path, chain_id: str, genesis: bytes) -> None:
        """Describe it; `genesis` is the digest of the chain's: two chains may have one id."""
        self.path = path
        self._chain_id = chain_id
        self._genesis = genesis
        self._lock: int | None = None

    def __enter__(self) -> DataFolder:
        """Lock the folder and check, or on first use mark, its chain.

        Raises:
            DataFolderLocked: another process holds it.
            DataFolderOfAnotherChain: it was marked by another chain.
            DataFolderUnusable: it cannot be made or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from None
        try:
            self._take(lock)
            for partial in self.path.glob(f".*{PARTIAL_SUFFIX}"):
                partial.unlink()
            self._check_chain()
        except OSError as error:
            os.close(lock)
            raise self._unusable(error) from None
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        show_disk(self.path)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_file(self, name: str, content: bytes, mode: int = 0o600) -> Path:
        """Write `name` in the folder, whole or not at all (see `write_atomically`); return it."""
        path = self.path / name
        write_atomically(path, content, mode)
        return path

    def _unusable(self, error: OSError) -> DataFolderUnusable:
        return DataFolderUnusable(
            f"the data folder {self.path} cannot be used: {error.strerror}; make it writable for "
            "this user, with room on its disk, or choose another --data / CIPHERWARD_DATA_DIR"
        )

    def _take(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderLocked(
                f"the data folder {self.path} is used by another process; "
                "stop that process or choose another folder"
            ) from None

    def _check_chain(self) -> None:
        marker = self.path / CHAIN_NAME
        ours = [self._chain_id, self._genesis.hex()]
        try:
            marked = marker.read_text().split()
        except FileNotFoundError:
            marked = []
        if marked in ([], ours[:1]):  # new, restored, or marked before there were two lines
            write_atomically(marker, "".join(f"{line}\n" for line in ours).encode())
        elif marked[0] != self._chain_id:
            raise DataFolderOfAnotherChain(
                f"the data folder {self.path} belongs to the chain {marked[0]}, "
                f"this service to {self._chain_id}; choose another folder"
            )
        elif marked != ours:
            raise DataFolderOfAnotherChain(
                f"the data folder {self.path} belongs to another chain that is called "
                f"{self._chain_id}, too: it was begun with the genesis {marked[1]}, this "
                f"service's has the digest {ours[1]}; choose another folder"
            )
