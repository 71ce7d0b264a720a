"""The files that a node starts from: configuration, genesis and its two keys.

Everything but the node's own databases is written anew at each start, from the ledger's settings;
what the node last signed (priv_validator_state.json) is the node's alone and never touched again,
since a node that forgets it can sign one height twice.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cipherward_chain.comet import address
from cipherward_chain.signatures import SigningKey
from cipherward_kit.datafolder import sync_folder, write_atomically
from cipherward_ledger.comet.errors import NodeFilesUnusable
from cipherward_ledger.comet.node_config import (
    SYNC_FOLDER,
    NodePeer,
    NodePlan,
    SyncPlan,
    config_toml,
)

KEY_TYPE, SECRET_TYPE = "tendermint/PubKeyEd25519", "tendermint/PrivKeyEd25519"
SIGNED_PRECOMMIT = 3  # CometBFT's step of a height in which nothing is left to sign
FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """The node's Ed25519 seeds, 32 bytes each: of its votes, and of its connections."""

    consensus: bytes = field(repr=False)
    node: bytes = field(repr=False)

    @property
    def address(self) -> bytes:
        """The validator's, 20 bytes."""
        return address(SigningKey(self.consensus).public_key)


@dataclass(frozen=True, slots=True)
class NodeHome:
    """The folder of a node, in CometBFT's own layout."""

    path: Path

    @property
    def config(self) -> Path:
        """Where the files are that the ledger writes."""
        return self.path / "config"

    @property
    def validator_key(self) -> Path:
        """The consensus key, as the node reads it."""
        return self.config / "priv_validator_key.json"

    @property
    def signed(self) -> Path:
        """What the node has signed last."""
        return self.path / "data" / "priv_validator_state.json"

    @property
    def blocks(self) -> Path:
        """The node's blocks."""
        return self.path / "data" / "blockstore.db"

    def prepare(self, document: bytes, keys: NodeKeys, recorded_height: int) -> bool:
        """Write what does not change while the ledger runs. Blocks for some fsyncs.

        Args:
            document: the genesis, byte for byte.
            keys: the node's.
            recorded_height: of the ledger's newest block: a node whose folder is new signs nothing
                up to there, for an earlier folder may have.

        Returns:
            whether the folder is new: it had no record of what was signed.

        Raises:
            NodeFilesUnusable: there are blocks, and no record of what was signed.
        """
        for folder in (self.path, self.config, self.signed.parent):
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        write_atomically(self.config / "genesis.json", document)
        write_atomically(self.config / "node_key.json", _json({"priv_key": _secret(keys.node)}))
        write_atomically(self.validator_key, _validator_key(keys.consensus))
        if self.signed.exists():
            return False
        if self.blocks.exists():
            raise NodeFilesUnusable(
                f"{self.signed} is missing and the node has blocks: it could sign a height twice; "
                f"remove {self.path} so that the member syncs anew from the others"
            )
        step = SIGNED_PRECOMMIT if recorded_height else 0
        signed = {"height": str(recorded_height), "round": 0, "step": step}
        write_atomically(self.signed, _json(signed))
        return True

    @property
    def syncing(self) -> Path:
        """Marks that a state is being synced; the chunks of the snapshot are in it."""
        return self.path / SYNC_FOLDER

    def begin_sync(self, *, keep_blocks: bool) -> None:
        """Mark that a state is being synced; whatever the node had before the first block goes.

        Args:
            keep_blocks: the state is restored already, and blocks after it may be there.
        """
        self.path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        if self.syncing.exists():
            shutil.rmtree(self.syncing)
        self.syncing.mkdir(mode=FOLDER_MODE)
        sync_folder(self.path)
        if not keep_blocks and self.signed.parent.exists():
            for found in self.signed.parent.iterdir():
                if found.is_dir():  # the node's databases and its log of rounds
                    shutil.rmtree(found)

    def synced(self) -> None:
        """Take the mark away."""
        if self.syncing.exists():
            shutil.rmtree(self.syncing)
            sync_folder(self.path)

    def configure(
        self, plan: NodePlan, peers: Sequence[NodePeer], sync: SyncPlan | None = None
    ) -> None:
        """Write config.toml, which a node reads when it starts."""
        write_atomically(self.config / "config.toml", config_toml(plan, peers, sync).encode())

    def destroy_key(self, seed_file: Path) -> list[Path]:
        """Destroy the consensus key, the node's copy and the ledger's own.

        Returns:
            the files that could not be overwritten and removed, as a mounted secret cannot.
        """
        return [path for path in (self.validator_key, seed_file) if not _destroyed(path)]


def _destroyed(path: Path) -> bool:
    """Overwrite and remove a file. Old blocks outlive that on some disks; the chain never takes a
    removed key again in any case.
    """
    try:
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _validator_key(seed: bytes) -> bytes:
    public = SigningKey(seed).public_key
    return _json(
        {
            "address": address(public).hex().upper(),
            "pub_key": {"type": KEY_TYPE, "value": base64.b64encode(public).decode()},
            "priv_key": _secret(seed),
        }
    )


def _secret(seed: bytes) -> dict[str, str]:
    """Go's form of an Ed25519 private key: seed and public key."""
    pair = seed + SigningKey(seed).public_key
    return {"type": SECRET_TYPE, "value": base64.b64encode(pair).decode()}


def _json(document: object) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"
