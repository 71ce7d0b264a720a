"""Try a running member out: `python -m cipherward_client.trial`, what `helm test` runs.

Settings: docs/configuration.md. Exit status 0: every step came to what it must; 1: one did not, the
last line says which and why; 2: a setting is wrong.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from pydantic import ValidationError

from cipherward_chain.genesis import Genesis
from cipherward_client.canaries.memory import Memory
from cipherward_client.canaries.stage import Files, open_stage
from cipherward_client.sdk.errors import ClientError, explaining
from cipherward_client.trial.config import TrialConfig
from cipherward_client.trial.steps import Steps, TrialFailed, run_trial
from cipherward_kit.logging import configure_logging
from cipherward_kit.process import BAD_CONFIG_STATUS, config_faults
from cipherward_kit.tls import Identity

FAILED_STATUS = 1


async def hold_trial(config: TrialConfig, steps: Steps) -> None:
    """Make synthetic people and try the member out with them.

    Raises:
        TrialFailed, ClientError: see `run_trial`.
        TimeoutError: it was not done in time.
    """
    with explaining():
        own = Identity.from_files(config.tls_certificate, config.tls_private_key)
        chain_id = Genesis.parse(config.genesis_file.read_bytes()).chain_id
    files = Files(config.endpoints_file, config.genesis_file, config.member_key_file, own)
    with tempfile.TemporaryDirectory() as folder:
        people = Memory.load(Path(folder) / "people.cbor", chain_id)
        async with asyncio.timeout(config.trial_seconds), open_stage(files, people) as stage:
            await run_trial(stage, config.canary_health, steps)


def tell(what: str, seconds: float) -> None:
    """Print a step that has succeeded."""
    print(f"ok  {seconds:5.1f} s  {what}", flush=True)


def main() -> int:
    """Read the settings, hold the trial, and return the exit status."""
    configure_logging("trial")
    try:
        config = TrialConfig.model_validate({})  # every field comes from the environment
    except ValidationError as error:
        for line in config_faults(error):
            print(f"cipherward trial: {line}", file=sys.stderr)
        return BAD_CONFIG_STATUS
    steps = Steps(tell)
    try:
        asyncio.run(hold_trial(config, steps))
    except TimeoutError:
        why = f"not done within {config.trial_seconds:g} s"
    except ClientError as error:
        why = f"{error.reason}: {error.cause} {error.fix}"
    except TrialFailed as error:
        why = str(error)
    else:
        return 0
    print(f"FAILED  {steps.failed or 'opening the connections'}: {why}", file=sys.stderr)
    return FAILED_STATUS


if __name__ == "__main__":
    sys.exit(main())
