"""Write docs/configuration.md from the services' settings (`python tools/configuration.py`)."""

from __future__ import annotations

from pathlib import Path

from cipherward_client.canaries.config import CanaryConfig
from cipherward_client.trial.config import TrialConfig
from cipherward_compute.config import ComputeConfig
from cipherward_compute.jobs.config import WorkerConfig
from cipherward_contract.config import ContractConfig
from cipherward_identity.config import IdentityConfig
from cipherward_kit.config import ProcessConfig, describe_config
from cipherward_ledger.config import LedgerConfig
from cipherward_storage.config import StorageConfig

TARGET = Path(__file__).resolve().parents[1] / "docs/configuration.md"
CONFIGS: tuple[tuple[str, type[ProcessConfig]], ...] = (
    ("identity", IdentityConfig),
    ("ledger", LedgerConfig),
    ("contract", ContractConfig),
    ("compute", ComputeConfig),
    ("compute worker", WorkerConfig),
    ("storage", StorageConfig),
    ("canary", CanaryConfig),
    ("trial", TrialConfig),
)
HEAD = """# Configuration

Every setting is an environment variable, read once at the start. Secrets are paths of files, never
values. Written by `python tools/configuration.py` from the code; a test holds that it is current.
"""


def document() -> str:
    """Return docs/configuration.md as it must be."""
    parts = [f"\n## {name}\n\n{describe_config(config)}" for name, config in CONFIGS]
    return HEAD + "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
