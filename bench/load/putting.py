"""Making a load and putting it on a target, as the command line and the table's rows do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bench.load.acts import Author, signed_transactions
from bench.load.kvstore import KvStore, key_values
from bench.load.ledgers import Ledgers
from bench.load.loader import BATCH, Closed, Open
from bench.load.measuring import Measured, measure


async def make_load(
    target: Ledgers | KvStore, transactions: int, acts: int
) -> dict[str, Sequence[bytes]]:
    """Return so many signed transactions, the members' parts equal."""
    each = max(1, transactions // len(target.members))
    if isinstance(target, KvStore):
        return {member: key_values(each) for member in target.members}
    authors = {
        member: Author(hospital.alliance.chain_id, member, hospital.signer)
        for member, hospital in target.stage.hospitals.items()
    }
    return {
        member: await asyncio.to_thread(signed_transactions, author, each, acts)
        for member, author in authors.items()
    }


async def open_load(
    target: Ledgers | KvStore, acts: int, rate: float, seconds: float, *, poisson: bool = True
) -> Measured:
    """Put so many acts a second on a target; `acts` is how many a transaction has."""
    load = await make_load(target, max(1, int(rate * seconds / acts)), acts)
    return await measure(target, load, acts, Open(rate / acts, poisson=poisson))


async def closed_load(target: Ledgers | KvStore, acts: int, count: int, in_flight: int) -> Measured:
    """Put `count` acts on a target, at most `in_flight` of them at once."""
    load = await make_load(target, count // acts, acts)
    how = Closed(max(1, in_flight // acts), max(1, BATCH // acts))
    return await measure(target, load, acts, how)
