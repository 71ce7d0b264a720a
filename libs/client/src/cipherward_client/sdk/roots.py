"""Trust roots as files: what a reader got out of band, and believes everything else by."""

from __future__ import annotations

from pathlib import Path

from cipherward_chain.genesis import Genesis
from cipherward_chain.receipts import VerifiedReceipt, verify_receipt
from cipherward_chain.root_file import ROOT_BYTES_MAX, RootFile
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.receipts import read_receipt
from cipherward_kit.datafolder import write_atomically


class RootOfAnotherChain(CheckFailed):
    """A trust root and a genesis are not of one alliance."""

    reason = "ALLIANCE_FILES_DIFFER"


def read_root(path: Path) -> RootFile:
    """Return the trust root in a file.

    Raises:
        ClientError: the file cannot be read, or is none.
    """
    with explaining(), path.open("rb") as file:
        return RootFile.parse(file.read(ROOT_BYTES_MAX + 1))


def root_of_genesis(path: Path) -> RootFile:
    """Return the trust root that is in a genesis document.

    Raises:
        ClientError: the file cannot be read, or is none.
    """
    with explaining():
        return RootFile.of_genesis(Genesis.parse(path.read_bytes()))


def read_root_for(path: Path | None, genesis: Genesis) -> RootFile:
    """Return the trust root in a file, which is of that genesis; without a file, the genesis'.

    Raises:
        ClientError: the file cannot be read, is none, or of another genesis.
    """
    if path is None:
        return RootFile.of_genesis(genesis)
    found = read_root(path)
    with explaining():
        if found.root != genesis.trust_root():
            raise RootOfAnotherChain(f"{path} is of another genesis")
    return found


def write_root(path: Path, root: RootFile) -> None:
    """Write a trust root whole or not at all.

    Raises:
        ClientError: the file cannot be written.
    """
    with explaining():
        write_atomically(path, root.to_bytes(), mode=0o644)  # it is compared, not kept secret


def verify_receipt_by(path: Path, root: RootFile) -> VerifiedReceipt:
    """Return what the receipt in a file proves to somebody who trusts `root`. Takes a few ms.

    Raises:
        ClientError: it proves nothing (RECEIPT_REJECTED; `detail` names the step), or the file
            cannot be read.
    """
    with explaining():
        return verify_receipt(read_receipt(path), root.root, root.checkpoint)
