"""Play histories from a seed in a process of their own: `python -m tests.reference SEED COUNT`."""

from __future__ import annotations

import json
import sys
from dataclasses import fields

from tests.reference.running import run_batches


def main() -> None:
    """Print what the histories came to as one line of JSON."""
    first_seed, count = map(int, sys.argv[1:])
    tally = run_batches(first_seed, count)
    print(json.dumps({field.name: getattr(tally, field.name) for field in fields(tally)}))


if __name__ == "__main__":
    main()
