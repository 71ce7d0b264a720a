"""Write deploy/dashboards: `python -m tools.dashboards` (`make dashboards`)."""

from __future__ import annotations

import sys
from typing import Final

from tools.chart_files import DASHBOARDS
from tools.dashboards import (
    chain,
    consent_audit,
    grpc_services,
    records_keys,
    service_level,
    studies,
)
from tools.dashboards.grafana import document

BOARDS: Final = (
    service_level.BOARD,
    grpc_services.BOARD,
    chain.BOARD,
    studies.BOARD,
    consent_audit.BOARD,
    records_keys.BOARD,
)


def documents() -> dict[str, str]:
    """Return every dashboard's content by its file's name."""
    return {f"{board.name}.json": document(board) for board in BOARDS}


def main() -> int:
    """Write what is wanted, remove what is not; return the exit status."""
    wanted = documents()
    DASHBOARDS.mkdir(parents=True, exist_ok=True)
    for path in DASHBOARDS.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (DASHBOARDS / name).write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
