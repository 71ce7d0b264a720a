"""The jobs that need no secret, a closed list: canonical octets in, canonical octets out.

Every one is a function of its arguments alone, which travel between members anyway: ciphertexts,
public keys, proofs. Whatever has a seed, a key share or a patient's row is not in this list and
stays in the member's own process. Worker processes import this module: it knows no gRPC, no Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from cipherward_chain.canonical import NotCanonical, Value, decode, encode
from cipherward_chain.fields import Fields
from cipherward_compute.arithmetic.evaluations import Evaluation, ProductTerm, products_of
from cipherward_compute.arithmetic.inputs import (
    BatchesDiffer,
    ContributionRefused,
    Encryption,
    Expected,
    refreshed,
    sums_of,
    verify_batch,
)
from cipherward_threshold.errors import ThresholdError


class Kind(StrEnum):
    """What a worker can be asked for."""

    VERIFY_BATCH = "verify_batch"
    ADD_BATCHES = "add_batches"
    REFRESH_SUMS = "refresh_sums"
    MULTIPLY_COLUMNS = "multiply_columns"


class JobMalformed(ValueError):
    """Octets are no arguments of that kind of job: another version of the software made them."""


def run_job(kind: str, arguments: bytes) -> bytes:
    """Return the result of a job: what it gives, or why what was given is refused.

    The same octets for the same arguments, whoever runs it and however often.

    Raises:
        JobMalformed: there is no such kind, or these are no arguments of it.
    """
    try:
        function = _FUNCTIONS[Kind(kind)]
        fields = Fields(decode(arguments))
    except (ValueError, NotCanonical) as error:
        raise JobMalformed(f"{kind}: {error}") from None
    try:
        return encode({"given": function(fields)})
    except NotCanonical as error:
        raise JobMalformed(f"{kind}: {error}") from None
    except ContributionRefused as refused:
        return encode({"member": refused.member, "why": refused.why})
    except (BatchesDiffer, ThresholdError) as refused:
        return encode({"threshold": str(refused)})


def _verify_batch(fields: Fields) -> Value:
    encryption = Encryption(
        fields.text("profile"), fields.octets("public_key"), fields.octets("context")
    )
    expected = Expected(
        fields.text("member"), encryption, fields.integer("ciphertexts"), fields.flag("zeros")
    )
    batch = fields.octets("batch")
    fields.end()
    verify_batch(expected, batch)
    return True


def _add_batches(fields: Fields) -> Value:
    profile, batches = fields.text("profile"), _octets_of(fields.items("batches"))
    fields.end()
    return sums_of(profile, batches)


def _refresh_sums(fields: Fields) -> Value:
    profile, total = fields.text("profile"), fields.octets("total")
    zeros = _octets_of(fields.items("zeros"))
    fields.end()
    return refreshed(profile, total, zeros)


def _multiply_columns(fields: Fields) -> Value:
    profile, key = fields.text("profile"), fields.octets("evaluation_key")
    columns = [_octets_of(_array(column)) for column in fields.items("columns")]
    terms = [_term(term) for term in fields.items("terms")]
    fields.end()
    return products_of(Evaluation(profile, key, columns), terms)


def _term(item: Value) -> ProductTerm:
    fields = Fields(item)
    term = ProductTerm(fields.integer("first"), fields.integer("second"), fields.integer("times"))
    fields.end()
    return term


def _array(item: Value) -> list[Value]:
    if not isinstance(item, list):
        raise NotCanonical("not an array")
    return item


def _octets_of(items: list[Value]) -> list[bytes]:
    found = [item for item in items if isinstance(item, bytes)]
    if len(found) != len(items):
        raise NotCanonical("an array holds more than bytes")
    return found


_FUNCTIONS: Final[Mapping[Kind, Callable[[Fields], Value]]] = MappingProxyType(
    {
        Kind.VERIFY_BATCH: _verify_batch,
        Kind.ADD_BATCHES: _add_batches,
        Kind.REFRESH_SUMS: _refresh_sums,
        Kind.MULTIPLY_COLUMNS: _multiply_columns,
    }
)
