"""Play histories in a process of their own.

`python -m tests.reference SEED COUNT` plays so many; `python -m tests.reference --shortest BATCH`
finds the shortest of a batch in which the two executors differ.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields

from tests.reference.running import BATCH, run_batches, run_histories


def main() -> None:
    """Print what the histories came to as one line of JSON."""
    if sys.argv[1] == "--shortest":
        tally = run_histories(BATCH, int(sys.argv[2]))
    else:
        first_seed, count = map(int, sys.argv[1:])
        tally = run_batches(first_seed, count)
    print(json.dumps({field.name: getattr(tally, field.name) for field in fields(tally)}))


if __name__ == "__main__":
    main()
