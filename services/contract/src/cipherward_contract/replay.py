"""`python -m cipherward_contract.replay < JSON lines`: one contract's history, done again.

The first line is {"genesis", "instance"} (hexadecimal); each other one a block that is not empty:
{"height", "time_ns", "transactions", "results"}, from the chain's first on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from cipherward_contract.simulation.replaying import RecordedBlock, replay


def main() -> None:
    """Read the lines from stdin, and print {"steps", "differing"}."""
    head = json.loads(sys.stdin.readline())
    genesis, instance = bytes.fromhex(head["genesis"]), bytes.fromhex(head["instance"])
    found = replay(genesis, _blocks(sys.stdin), instance)
    print(json.dumps(asdict(found)))


def _blocks(lines: Iterable[str]) -> Iterator[RecordedBlock]:
    for line in lines:
        block = json.loads(line)
        yield RecordedBlock(
            block["height"],
            block["time_ns"],
            [bytes.fromhex(raw) for raw in block["transactions"]],
            [bytes.fromhex(raw) for raw in block["results"]],
        )


if __name__ == "__main__":
    main()
