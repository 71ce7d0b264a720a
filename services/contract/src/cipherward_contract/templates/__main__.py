"""`python -m cipherward_contract.templates`: the shipped templates as JSON, for who makes a
genesis.
"""

from __future__ import annotations

import json

from cipherward_contract.templates.shipped import load_shipped


def main() -> None:
    """Print {name: {"version", "document" (hex), "digest" (hex)}}."""
    shown = {
        name: {
            "version": template.version,
            "document": document.hex(),
            "digest": template.digest.hex(),
        }
        for name, (template, document) in load_shipped().items()
    }
    print(json.dumps(shown, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
