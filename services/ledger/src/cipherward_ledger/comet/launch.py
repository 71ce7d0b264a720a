"""Become the node: `python -m cipherward_ledger.comet.launch PARENT PROGRAM ARGUMENT…`.

The kernel's order to end with the parent outlives an exec, so this process asks for it and then
replaces itself. Standard library and the kit's module for it only: it runs for an instant.
"""

from __future__ import annotations

import os
import sys

from cipherward_kit.parent import die_with_parent

if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
