"""The windows of a ceremony, in their order; a message's kind is the phase that it belongs to."""

from __future__ import annotations

from typing import Final

ENROL: Final = "enrol"
DEAL: Final = "deal"
COMPLAIN: Final = "complain"
ANSWER: Final = "answer"
EXTRACT: Final = "extract"
REBUILD: Final = "rebuild"
READY: Final = "ready"
OVER: Final = "over"  # no phase: the ceremony has its outcome

OF_NEW_KEY: Final = (ENROL, DEAL, COMPLAIN, ANSWER, EXTRACT, REBUILD, READY)
OF_RESHARING: Final = (ENROL, DEAL, COMPLAIN, ANSWER, READY)  # its polynomials are not hidden
DEALERS_SPEAK: Final = (DEAL, ANSWER, EXTRACT)  # in the other windows those that get a share do
