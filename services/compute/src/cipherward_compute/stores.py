"""Everything that a compute service keeps, over one database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cipherward_compute.ceremony.handing import Handing
from cipherward_compute.ciphertexts import Ciphertexts
from cipherward_compute.cohorts import Cohorts
from cipherward_compute.column_keys import ColumnKeys
from cipherward_compute.columns import Manifests
from cipherward_compute.columns_flags import OwnFlags
from cipherward_compute.columns_steps import ColumnSources
from cipherward_compute.columns_store import ColumnStore
from cipherward_compute.config import ComputeConfig
from cipherward_compute.contributions import Inputs
from cipherward_compute.datasets import DataSets
from cipherward_compute.enrolments import Enrolments
from cipherward_compute.evaluation import StoredColumns
from cipherward_compute.exchange import Shown
from cipherward_compute.inference.models import Models
from cipherward_compute.inference.steps import ScoreSources
from cipherward_compute.inference.uses import Uses
from cipherward_compute.iterates import Iterates
from cipherward_compute.keyring import Keyring
from cipherward_compute.opt_outs import OptOuts
from cipherward_compute.shares import ShareLog
from cipherward_compute.specs import Specs
from cipherward_compute.store import ChainStore
from cipherward_compute.studies import News, Studies
from cipherward_compute.vault import Vault
from cipherward_compute.verdicts import Verdicts
from cipherward_kit.database import Database
from cipherward_member.peers import PeerChannels


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that is kept, over one database."""

    chain: ChainStore
    studies: Studies
    opt_outs: OptOuts
    data_sets: DataSets
    cohorts: Cohorts
    specs: Specs
    iterates: Iterates
    keyring: Keyring
    ciphertexts: Ciphertexts
    verdicts: Verdicts
    shares: ShareLog
    column_keys: ColumnKeys
    enrolments: Enrolments
    manifests: Manifests
    flags: OwnFlags
    models: Models
    uses: Uses

    @classmethod
    def over(
        cls,
        database: Database,
        vault: Vault,
        config: ComputeConfig,
        clock: Callable[[], float],
        restored: int = 0,
    ) -> Stores:
        """Return the stores of a database; `restored`: see `ShareLog`."""
        opt_outs = OptOuts(database, vault)
        data_sets = DataSets(database, vault, opt_outs)
        return cls(
            ChainStore(database),
            Studies(database, News()),
            opt_outs,
            data_sets,
            Cohorts(database, vault, clock),
            Specs(database, data_sets, config.specs_waiting_max, clock),
            Iterates(database, config.specs_waiting_max, clock),
            Keyring(database, vault),
            Ciphertexts(database, vault),
            Verdicts(database),
            ShareLog(database, vault, restored),
            ColumnKeys(database),
            Enrolments(database, vault, opt_outs),
            Manifests(database),
            OwnFlags(database, vault),
            Models(database, config.specs_waiting_max, clock),
            Uses(database, vault),
        )

    def inputs(self) -> Inputs:
        """Return what contributions are made of."""
        return Inputs(
            self.specs,
            self.iterates,
            self.data_sets,
            self.cohorts,
            self.keyring,
            self.ciphertexts,
            self.verdicts,
        )

    def columns(self, member: str, storages: PeerChannels) -> ColumnSources:
        """Return what columns are made of, and where they are; storages: all members'."""
        return ColumnSources(
            self.column_keys,
            self.enrolments,
            self.data_sets,
            self.keyring,
            self.manifests,
            ColumnStore(member, storages),
            self.flags,
        )

    def scores(self, columns: StoredColumns) -> ScoreSources:
        """Return what scores are made of."""
        return ScoreSources(self.studies, self.inputs(), columns, self.models, self.uses)

    def shown(self) -> Shown:
        """Return what others may see."""
        return Shown(
            self.keyring,
            Handing(self.keyring, self.column_keys, self.manifests),
            self.ciphertexts,
            self.verdicts,
            self.shares,
            self.manifests,
            self.uses,
        )
