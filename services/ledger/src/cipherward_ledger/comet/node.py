"""The consensus node: a child of the ledger that lives as long as the ledger does.

It is started when the application listens, watched, started again when it ends, and ended with
SIGTERM, after three seconds with SIGKILL: it can hang in its shutdown, and its exit status says
nothing (it is 0 also when it ended because of an error). A ledger that is killed takes its node
with it (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable
from pathlib import Path

import structlog

from cipherward_ledger.clock import first_of
from cipherward_ledger.comet.errors import NodeRefused, key_shared
from cipherward_ledger.comet.metrics import NODE_STARTS
from cipherward_ledger.comet.node_config import RPC_SOCKET
from cipherward_ledger.comet.node_files import NodeHome
from cipherward_ledger.comet.node_log import NodeLog
from cipherward_ledger.comet.node_rpc import NodeAway, NodeRefuses, NodeRpc, NodeStatus

LOG_NAME = "node.log"
LINE_BYTES_MAX = 256 * 1024  # a consensus failure has its stack in one line
STOP_SECONDS = 3.0  # an orderly stop takes a tenth; about one in sixty never ends by itself
# Between an end and the next start: at once after a kill, seldom when it never comes up.
PAUSE_SECONDS = (0.1, 5.0)
# An end this soon after the start, with a sentence, counts as not having come up: a port or the
# databases' lock may be held for an instant by the node of a ledger that was killed.
SOON_SECONDS = 30.0
ENDS_MAX = 5
LAST_WORDS_SECONDS = 0.5  # for the stack that follows the sentence, so that the log has it
# A node that has answered and then says nothing for so long hangs; a busy one is late by seconds.
SILENT_SECONDS = 60.0
# How often the node is asked where it stands: before it answers, and after.
ASK_SECONDS = (0.05, 1.0)

STATE_DIFFERS = (
    "its blocks and contract's state do not fit together: restore both from one backup, or empty "
    "node, ledger and contract so that the member syncs anew"
)
MEND_AND_START = "mend what it names, then start the ledger again: it goes on from its store"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Node:
    """Runs the node in its folder. `run` it once; it never returns but by an error."""

    def __init__(
        self,
        binary: Path,
        home: NodeHome,
        rpc: NodeRpc,
        told: Callable[[NodeStatus | None], None],
    ) -> None:
        """`told` is called with each status, and with None when there is no answer, or no node."""
        self._binary = binary
        self._home = home
        self._rpc = rpc
        self._told = told
        self._log = NodeLog(home.path / LOG_NAME)
        self._restart = asyncio.Event()
        # Whether the living process has answered: a busy node may be silent for a while after.
        self.answered = False

    def restart(self) -> None:
        """Have the node end and start again, with whatever its files say then."""
        self._restart.set()

    async def run(self) -> None:
        """Keep the node running.

        Raises:
            ConsensusKeyShared: it has seen a vote of its own key that it has not made.
            NodeRefused: it does not come up, or its consensus is dead.
        """
        ends, pause = 0, PAUSE_SECONDS[0]
        try:
            while True:
                began = time.monotonic()
                await self._live()
                soon = time.monotonic() - began < SOON_SECONDS
                if self._log.shared:
                    raise key_shared()
                if self._log.hopeless:
                    advice = STATE_DIFFERS if self._log.differs else MEND_AND_START
                    raise NodeRefused(
                        f"the consensus node cannot go on: {self._log.sentence}; {advice}"
                    )
                if self._restart.is_set():
                    self._restart.clear()
                    continue
                ends = ends + 1 if soon and self._log.sentence else 0
                if ends == ENDS_MAX:
                    raise NodeRefused(f"the consensus node does not start: {self._log.sentence}")
                pause = min(2 * pause, PAUSE_SECONDS[1]) if soon else PAUSE_SECONDS[0]
                log.warning("node_ended", sentence=self._log.sentence, again_in=pause)
                await asyncio.sleep(pause)
        finally:
            self._log.close()

    async def _live(self) -> None:
        """Run one process until it ends, must end, or shall be restarted."""
        (self._home.path / RPC_SOCKET).unlink(missing_ok=True)  # of one that was killed
        self._log.begin()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cipherward_ledger.comet.launch",
            str(os.getpid()),
            str(self._binary),
            "start",
            "--home",
            ".",
            cwd=self._home.path,
            env=_environment(),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            limit=LINE_BYTES_MAX,
            start_new_session=True,  # Ctrl-C is for the ledger, which stops it in order
        )
        NODE_STARTS.inc()
        log.info("node_started", pid=process.pid)
        try:
            await first_of(self._listen(process), self._ask(), _is_set(self._restart))
        finally:
            self.answered = False
            self._told(None)
            await _end(process)

    async def _listen(self, process: Process) -> None:
        """Take the node's output; return when it has ended, or soon after it cannot go on."""
        assert process.stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None) as rest:
                while True:
                    try:
                        line = await process.stdout.readline()
                    except ValueError:  # longer than the limit; the rest is read as another line
                        continue
                    if not line:
                        return
                    self._log.write(line)
                    if self._log.hopeless and rest.when() is None:
                        rest.reschedule(asyncio.get_running_loop().time() + LAST_WORDS_SECONDS)

    async def _ask(self) -> None:
        """Say where the node stands; return when it has answered once and is silent for long."""
        wait, heard = ASK_SECONDS[0], time.monotonic()
        while True:
            try:
                status = await self._rpc.status()
            except (NodeAway, NodeRefuses):
                self._told(None)
                if self.answered and time.monotonic() - heard > SILENT_SECONDS:
                    log.warning("node_silent", seconds=SILENT_SECONDS)
                    return
            else:
                heard = time.monotonic()
                self.answered = True
                self._told(status)
                wait = ASK_SECONDS[1]
            await asyncio.sleep(wait)


async def _is_set(event: asyncio.Event) -> None:
    await event.wait()


def _environment() -> dict[str, str]:
    """Return our environment without what would change the node's settings (CMT…), or is ours."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("CMT", "TM", "CIPHERWARD_"))}


async def _end(process: Process) -> None:
    """Stop the process and whatever it started; on return it is gone."""
    try:
        _signal(process, signal.SIGTERM)
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        log.warning("node_hangs", pid=process.pid)
    finally:
        _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):  # it ends at this moment
            os.killpg(process.pid, number)
