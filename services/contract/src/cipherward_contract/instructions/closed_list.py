"""The closed list of instructions; one module a kind, or a family of them."""

from __future__ import annotations

from collections.abc import Mapping

from cipherward_contract.instructions.begin_opening import BEGIN_OPENING
from cipherward_contract.instructions.budgets import SPEND_BUDGET
from cipherward_contract.instructions.data_keys import BIND_KEY, CUT_KEY_USES, FREE_KEY
from cipherward_contract.instructions.disclosing import DISCLOSE
from cipherward_contract.instructions.erasing import ERASE_RECORD
from cipherward_contract.instructions.kinds import InstructionKind
from cipherward_contract.instructions.members import (
    ADMIT_MEMBER,
    RAISE_EPOCH,
    REMOVE_MEMBER,
    SEAT_VALIDATOR,
    SET_AUTHORITIES,
)
from cipherward_contract.instructions.notices import NOTIFY, REQUIRE_REVIEW
from cipherward_contract.instructions.open_identity import OPEN_IDENTITY
from cipherward_contract.instructions.permits import BIND_PERMIT
from cipherward_contract.instructions.pseudonyms import BAN_PSEUDONYM, SUSPEND
from cipherward_contract.instructions.releasing import CUT_TRANSFERS, RELEASE_KEY, REVOKE_KEY
from cipherward_contract.instructions.resharing import (
    BIND_SHARING,
    END_KEY,
    HAND_OVER_KEY,
    RESHARE_KEY,
)
from cipherward_contract.instructions.shared_keys import SHARE_KEY, USE_SHARING
from cipherward_contract.instructions.studies import (
    CUT_STUDIES,
    FIX_COLUMNS,
    RELEASE_COUNTS,
    RELEASE_RESULT,
    RETIRE_KEY,
    RUN_KEY_CEREMONY,
    START_STUDY,
)
from cipherward_contract.instructions.suspended_members import REINSTATE_MEMBER, SUSPEND_MEMBER
from cipherward_contract.instructions.templates import REGISTER_TEMPLATE
from cipherward_contract.instructions.upgrades import SET_MACHINE_VERSION

INSTRUCTIONS: Mapping[str, InstructionKind] = {
    kind.name: kind
    for kind in (
        ADMIT_MEMBER,
        BAN_PSEUDONYM,
        BEGIN_OPENING,
        BIND_KEY,
        BIND_PERMIT,
        BIND_SHARING,
        CUT_KEY_USES,
        CUT_STUDIES,
        CUT_TRANSFERS,
        DISCLOSE,
        END_KEY,
        ERASE_RECORD,
        FIX_COLUMNS,
        FREE_KEY,
        HAND_OVER_KEY,
        NOTIFY,
        OPEN_IDENTITY,
        RAISE_EPOCH,
        REGISTER_TEMPLATE,
        REINSTATE_MEMBER,
        RELEASE_COUNTS,
        RELEASE_KEY,
        RELEASE_RESULT,
        REMOVE_MEMBER,
        REQUIRE_REVIEW,
        RESHARE_KEY,
        RETIRE_KEY,
        REVOKE_KEY,
        RUN_KEY_CEREMONY,
        SEAT_VALIDATOR,
        SET_AUTHORITIES,
        SET_MACHINE_VERSION,
        SHARE_KEY,
        SPEND_BUDGET,
        START_STUDY,
        SUSPEND,
        SUSPEND_MEMBER,
        USE_SHARING,
    )
}
