"""Chapter: every patient gets a blind credential, and one person stays one person."""

from __future__ import annotations

import asyncio
import secrets

from cipherward_anoncred.credential import Credential
from cipherward_anoncred.presentation import present
from cipherward_anoncred.verification import Claim, verify
from cipherward_chain.acts import register_pseudonym as registration
from cipherward_client.demo.cast import Case, Cast, each
from cipherward_client.demo.report import size
from cipherward_client.demo.searching import search
from cipherward_client.sdk.credentials import admit_holder, obtain_credential, register_pseudonym
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.ledger import Submitter
from cipherward_client.sdk.signing import PresentationSigner
from cipherward_client.wallet.scopes import PATIENT, study_scope

ENROLLED_AT_ONCE = 16  # enough to keep two cores busy; each is three calls and 10 ms of arithmetic


async def enrol(cast: Cast) -> None:
    """Tell the chapter."""
    teller, report, total = cast.teller, cast.report, len(cast.cases)
    teller.chapter("Patients get a credential that their hospital cannot recognise")
    teller.explain(
        "A credential is a hospital's signature on a secret that only the patient's wallet knows. "
        "The hospital signs it blindly: when the patient shows it later, it cannot tell who it is."
    )
    with report.timed("enrol"), teller.counting("credentials", total) as told:
        await each(cast.cases, lambda case: _enrol(cast, case), at_once=ENROLLED_AT_ONCE, told=told)
    seconds = report.timings["enrol"]
    held = [case.wallet.credential(PATIENT, case.hospital) for case in cast.cases]
    people = len({bytes(credential.secret) for credential in held})
    teller.say(
        f"{total} patients at {len(cast.hospitals)} hospitals have one, in {seconds:.1f} s "
        f"({1000 * seconds / total:.0f} ms each)."
    )
    report.check(
        "every patient has a blind credential", len(held) == people == total, f"{people} of {total}"
    )
    await _check_blindness(cast, held)
    await _one_person(cast)


async def _enrol(cast: Cast, case: Case) -> None:
    code = await admit_holder(cast.hospitals[case.hospital])
    await obtain_credential(cast.alliance, case.wallet, case.hospital, code)


async def _check_blindness(cast: Cast, held: list[Credential]) -> None:
    """Look for the patients' secrets in everything that the hospitals' identity services stored."""
    folders = [cast.folder / member / "data" / "identity" for member in cast.hospitals]
    searched, found = await asyncio.to_thread(search, folders, [c.secret for c in held])
    cast.report.check(
        "no hospital has stored a patient's secret",
        searched > 0 and not found,
        f"{found} found in {size(searched)} of identity data",
    )


async def _one_person(cast: Cast) -> None:
    """Let the first patient be treated at a second hospital too, and try to count twice."""
    teller, case = cast.teller, cast.cases[0]
    second = next(member for member in cast.hospitals if member != case.hospital)
    code = await admit_holder(cast.hospitals[second])
    await obtain_credential(cast.alliance, case.wallet, second, code)
    teller.say(
        f"One patient of {case.hospital} is treated at {second} too: a second credential, proven "
        "to be on the same secret without showing it."
    )
    scope = study_scope(secrets.token_bytes(16))
    names = {
        await asyncio.to_thread(_shown_pseudonym, case.wallet.credential(PATIENT, issuer), scope)
        for issuer in (case.hospital, second)
    }
    stranger = cast.cases[1]
    other = await asyncio.to_thread(
        _shown_pseudonym, stranger.wallet.credential(PATIENT, stranger.hospital), scope
    )
    first = await register_pseudonym(cast.alliance, case.wallet, scope)
    if first is not None:
        cast.acts.append(first)
    refused = await _register_again(cast, case, second, scope)
    teller.say(
        "In a study the patient has one pseudonym, whichever credential is shown; to be counted "
        f"twice is refused ({refused})."
    )
    cast.report.check(
        "credentials of two hospitals, one study pseudonym",
        len(names) == 1 and other not in names and refused == "PSEUDONYM_REGISTERED",
        f"{len(names)} pseudonym; a second registration: {refused}",
    )


def _shown_pseudonym(credential: Credential, scope: str) -> bytes:
    """Return the pseudonym in a presentation of the credential, verified as anybody would."""
    context = secrets.token_bytes(32)
    shown = present(credential, disclosed=[], scope=scope.encode(), context=context)
    claim = Claim.under_schema(
        credential.public_key, credential.header, (), scope.encode(), context
    )
    return verify(claim, shown)


async def _register_again(cast: Cast, case: Case, issuer: str, scope: str) -> str:
    """Return why the chain refuses another key for the same person in the same study."""
    act = registration(cast.alliance.chain_id, scope, secrets.token_bytes(32))
    signer = PresentationSigner(case.wallet.credential(PATIENT, issuer), scope)
    try:
        await Submitter(cast.alliance).submit([act], signer)
    except ClientError as refusal:
        return refusal.reason
    return "accepted"
