"""The transcript of a ceremony that runs: the one at hand, or rebuilt from the state."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from cipherward_contract.blocks import Block
from cipherward_contract.ceremonies.entries import Running, log_entry, log_key
from cipherward_contract.ceremonies.plans import plan_of
from cipherward_threshold.group.ceremony.transcript import Transcript


@contextmanager
def reading(block: Block, running: Running) -> Generator[Transcript]:
    """Lend the transcript of a ceremony to who does not change it."""
    transcript = take(block, running)
    yield transcript
    block.transcripts.keep(running, transcript)


def take(block: Block, running: Running) -> Transcript:
    """Return the transcript of a ceremony, to be changed and kept again."""
    found = block.transcripts.take(running)
    if found is not None:
        return found
    ceremony = running.order.ceremony
    pairs = block.state.scan(log_key(ceremony, 0), log_key(ceremony, running.count), running.count)
    log = [log_entry(value) for _, value in pairs]
    transcript = Transcript.restore(plan_of(block, running.order), running.order.start, log)
    transcript.advance(block.height)
    return transcript
