"""Key files: 32 raw bytes, readable by the owner only."""

from __future__ import annotations

from pathlib import Path

from cipherward_ledger.errors import KeyUnusable

SEED_BYTES = 32
OTHERS = 0o077  # permission bits of group and others


def read_seed(path: Path) -> bytes:
    """Return the seed in the file.

    Raises:
        KeyUnusable: it is missing, of another size, or others may read it.
    """
    try:
        if path.stat().st_mode & OTHERS:
            raise KeyUnusable(f"the key file {path} is open to others; chmod 600 it")
        seed = path.read_bytes()
    except OSError as error:
        raise KeyUnusable(
            f"the key file {path} cannot be read: {error.strerror}; give the right path"
        ) from None
    if len(seed) != SEED_BYTES:
        raise KeyUnusable(f"the key file {path} has not {SEED_BYTES} bytes; restore it")
    return seed
