"""Print what an embedded release needs, as manifests: an alliance of one member, for development.

    python -m tools.one_member FOLDER | kubectl -n NAMESPACE apply -f -

The first run makes keys, certificates and the genesis in FOLDER, as `cipherward alliance init`
does, unless that has made them there; it prints what `cipherward alliance manifests` prints, and a
later run the same. The certificates are of a development authority and last 90 days.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from cipherward_client.alliance import manifests as members
from cipherward_client.alliance.create import begin_chain, establish, shipped_templates
from cipherward_client.alliance.founding import ChainPlan
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.manifests import Manifest, Release
from cipherward_client.alliance.parts import SOLO

MEMBER = ("hospital-a", "Hospital A")  # the member and the chain of the chart's own values
CHAIN = "alliance"


def manifests(root: Path, release: str) -> list[Manifest]:
    """Return the Secrets and the ConfigMap; make the alliance first if the folder has none.

    Args:
        root: the alliance's folder.
        release: full name of the release: its certificates' Secrets begin with it.
    """
    folder = AllianceFolder(root)
    if not folder.genesis_file.exists():
        own = establish(folder, *MEMBER, consensus=True, node=False)
        begin_chain(folder, ChainPlan(CHAIN, SOLO, shipped_templates()), [own])
    return members.manifests(folder, MEMBER[0], Release(release))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="An alliance of one member, as manifests.")
    parser.add_argument("folder", type=Path, help="where keys and genesis are kept")
    parser.add_argument("--release", default="cipherward", help="full name of the release")
    options = parser.parse_args()
    yaml.safe_dump_all(manifests(options.folder, options.release), sys.stdout, sort_keys=False)


if __name__ == "__main__":
    main()
