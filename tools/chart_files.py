"""Copy into the chart what it installs and cannot read where it is: dashboards and alerts.

Helm reads no file outside of a chart's folder. `make chart` copies, `make check-chart` and a test
refuse a copy that is not current.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DASHBOARDS: Final = ROOT / "deploy/dashboards"
ALERTS: Final = ROOT / "deploy/alerts/cipherward.yaml"
FILES: Final = ROOT / "deploy/helm/cipherward/files"


def wanted(files: Path = FILES) -> dict[Path, str]:
    """Return the copies' content by where they belong."""
    copies = {
        files / "dashboards" / source.name: source.read_text(encoding="utf-8")
        for source in sorted(DASHBOARDS.glob("*.json"))
    }
    return copies | {files / "alerts.yaml": ALERTS.read_text(encoding="utf-8")}


def stale(files: Path = FILES) -> list[Path]:
    """Return the copies that are missing, differ, or have nothing that they are of."""
    copies = wanted(files)
    there = set((files / "dashboards").glob("*"))
    differ = {
        path
        for path, text in copies.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    return sorted(differ | (there - set(copies)))


def copy(files: Path = FILES) -> None:
    """Make every copy current."""
    copies = wanted(files)
    for path in stale(files):
        if path in copies:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(copies[path], encoding="utf-8")
        else:
            path.unlink()
