"""Causes between members: a node that does not vote, brokers that are away."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import psutil

from tools.alerts.cause import CannotCause, Cause
from tools.alerts.findings import Answer, Finding, Printed
from tools.alerts.world import A, D, World


@asynccontextmanager
async def frozen_node(world: World) -> AsyncGenerator[None]:
    """Freeze the consensus node of one member of four: the others go on."""
    (node,) = psutil.Process(world.running.supervisor.pids[f"{D}/ledger"]).children()
    node.suspend()
    try:
        yield
    finally:
        node.resume()


@asynccontextmanager
async def frozen_broker(world: World) -> AsyncGenerator[None]:
    """Freeze the broker that takes all members' blocks."""
    if world.kafka is None:
        raise CannotCause("no Kafka runs here")
    os.kill(world.kafka.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(world.kafka.pid, signal.SIGCONT)


NETWORK_CAUSES: Final = (
    Cause(
        "the consensus node of one of four hospitals is frozen",
        (
            Finding(
                "CipherwardValidatorMissing",
                {"member": A},
                "cipherward chain witness --alliance DIR",
                Printed({"heads": {D: {"lagging": True}}}),
            ),
        ),
        frozen_node,
        90.0,
        networked=True,
    ),
    Cause(
        "the broker is frozen",
        (
            Finding(
                "CipherwardFeedNotPublished",
                {"member": A},
                "count(cipherward_ledger_feed_connected == 0)",
                Answer(least=4),  # all members, so that it is no member's password
            ),
        ),
        frozen_broker,
        90.0,
        networked=True,
    ),
)
