"""What a template says of itself that it never does; the analysis shows it, or how it happens.

    never:
      - {id: after-the-end, order: release_key, when: 'context.now >= resource.terms.expires'}
      - {id: only-clinicians, order: release_key, unless: 'principal.role == "clinician"'}
      - {id: once-revoked, order: release_key, in: [revoked, expired]}

The order NAME is never given by a transition that is taken where `when` holds, or where `unless`
does not, or from one of the states `in`. `transition` narrows it to the transition of that name.
The expressions are Cedar's, in the vocabulary of the policies: principal, resource, context.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cipherward_chain.canonical import Value
from cipherward_chain.fields import Fields

NEVER_MAX = 16  # properties of one template: each is another look at everything it can do
CONDITION_CHARACTERS_MAX = 1_024  # one condition, to be read by people
_ID = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)
_FORMS = ("when", "unless", "in")


class NeverMalformed(ValueError):
    """An item of `never` is not of the form; says what."""


@dataclass(frozen=True, slots=True)
class Never:
    """One property: exactly one of `when`, `unless` and `states` is not empty.

    order: the instruction that is never ordered. transition: the only one meant, or "" for all.
    when, unless: a Cedar expression, or "".
    """

    id: str
    order: str
    transition: str = ""
    when: str = ""
    unless: str = ""
    states: tuple[str, ...] = ()

    @property
    def condition(self) -> str:
        """The Cedar expression under which the order is forbidden; "true" in the named states."""
        return self.when or (f"!({self.unless})" if self.unless else "true")

    def concerns(self, transition: str, source: str) -> bool:
        """Say whether the property is about this transition from the state `source`."""
        if self.transition and self.transition != transition:
            return False
        return not self.states or source in self.states


def parse_never(value: Value) -> Never:
    """Return the property that an item of `never` is.

    Raises:
        NeverMalformed: no id, not exactly one of when, unless and in, or a condition too long.
        NotCanonical: a field is missing, unknown or of another type.
    """
    fields = Fields(value)
    found = Never(
        id=fields.text("id"),
        order=fields.text("order"),
        transition=fields.text("transition") if fields.has("transition") else "",
        when=fields.text("when") if fields.has("when") else "",
        unless=fields.text("unless") if fields.has("unless") else "",
        states=fields.texts("in") if fields.has("in") else (),
    )
    fields.end()
    if not _ID.fullmatch(found.id):
        raise NeverMalformed(f"{found.id[:40]!r} is no id of a property")
    if sum(map(bool, (found.when, found.unless, found.states))) != 1:
        raise NeverMalformed(f"{found.id}: has exactly one of {', '.join(_FORMS)}")
    if max(len(found.when), len(found.unless)) > CONDITION_CHARACTERS_MAX:
        raise NeverMalformed(
            f"{found.id}: a condition has at most {CONDITION_CHARACTERS_MAX} characters"
        )
    return found
