"""Give a development alliance what examples/diabetes.ipynb asks about.

    cipherward dev --data DIR            # in another terminal
    python examples/prepare_diabetes.py DIR

Each hospital contributes a part of 442 patients with diabetes (Efron, Hastie, Johnstone,
Tibshirani, "Least Angle Regression", 2004), and a researcher gets a credential:
DIR/researcher.wallet, with its passphrase beside it, as only an example may.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from pathlib import Path

import numpy as np

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.demo.tables import load_table
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contributions import contribute_rows
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import open_hospital
from cipherward_client.wallet.file import save_wallet
from cipherward_client.wallet.scopes import STAFF
from cipherward_client.wallet.wallet import Wallet

DATA_SET = "cohort-1"  # the alliance's names for data sets name no disease
NAMES = ("age", "sex", "bmi", "bp", "s5", "progression")
FAST = 140.0  # the median of progression: half of the patients are above it


async def prepare(folder: AllianceFolder) -> None:
    """Contribute the rows of all hospitals, and write the researcher's wallet."""
    columns = load_table("diabetes")
    fast = (columns["progression"] > FAST).astype(float)
    rows = np.column_stack([*(columns[name] for name in NAMES), fast])
    async with Alliance.open(folder.endpoints_file, folder.genesis_file) as alliance:
        members = alliance.present
        for place, member in enumerate(members):
            async with open_hospital(folder, member) as hospital:
                own = rows[place :: len(members)]
                kept = await contribute_rows(hospital, DATA_SET, (*NAMES, "fast"), own)
                print(f"{member} has {kept} patients")
        wallet = Wallet.create(alliance.chain_id)
        async with open_hospital(folder, members[0]) as hospital:
            code = await admit_holder(hospital, STAFF, role="researcher")
            await obtain_credential(alliance, wallet, members[0], code)
    passphrase = secrets.token_urlsafe(24)
    file = folder.root / "researcher.passphrase"
    file.touch(mode=0o600)
    file.write_text(f"{passphrase}\n", encoding="utf-8")
    save_wallet(folder.root / "researcher.wallet", wallet, passphrase)
    print(f"{folder.root / 'researcher.wallet'} is a researcher's")


if __name__ == "__main__":
    asyncio.run(prepare(AllianceFolder(Path(sys.argv[1]))))
