"""How far a process is along the chain: one metric for whoever executes, stores or follows it."""

from __future__ import annotations

from prometheus_client import Gauge

HEIGHT = Gauge("cipherward_chain_height", "Newest block whose effects are on this process's disk.")
