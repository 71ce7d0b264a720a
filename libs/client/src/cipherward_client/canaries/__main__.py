"""Run the canaries: `python -m cipherward_client.canaries`."""

from __future__ import annotations

from cipherward_client.canaries.config import CanaryConfig
from cipherward_client.canaries.process import serve_canaries
from cipherward_kit.process import run_service

if __name__ == "__main__":
    run_service("canary", CanaryConfig, serve_canaries)
