"""Invitations: short, without a secret, and refused by name when anything about them is wrong."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from cipherward_client.alliance.invitation import (
    Invitation,
    InvitationDamaged,
    InvitationExpired,
    InvitationMalformed,
)
from cipherward_client.alliance.spoken import ALPHABET, NotSpoken, heard, spoken

MADE = Invitation(
    chain_id="nord",
    member="hospital-a",
    address="ledger.hospital-a.example.org:7001",
    until=1_800_000_000,
    genesis=hashlib.sha256(b"genesis").digest()[:20],
    authority=hashlib.sha256(b"authority").digest()[:20],
)


def test_an_invitation_is_read_as_it_was_written() -> None:
    assert Invitation.parse(MADE.to_text()) == MADE


def test_an_invitation_is_short_enough_to_be_read_out() -> None:
    assert len(MADE.to_text()) < 400
    assert len(MADE.to_text().splitlines()) == 8


def test_case_spaces_and_hyphens_of_fingerprints_do_not_count() -> None:
    lines = MADE.to_text().splitlines()
    lines[5] = "GENESIS " + spoken(MADE.genesis).lower().replace(" ", "-")
    assert Invitation.parse("\n\n  ".join(lines)) == MADE


LETTERS = {
    "a greeting": "Dear colleague, as discussed:\n\n{}\nYours\nA. B.\n",
    "an answer": "> {}",
    "tabs": "{}",
    "another system": "{}",
}


@pytest.mark.parametrize("kind", LETTERS)
def test_what_a_letter_adds_does_not_count(kind: str) -> None:
    text = MADE.to_text()
    if kind == "an answer":
        text = text.replace("\n", "\n> ")
    if kind == "tabs":
        text = text.replace("  ", "\t")
    if kind == "another system":
        text = text.replace("\n", "\r\n")
    assert Invitation.parse(LETTERS[kind].format(text)) == MADE


@pytest.mark.parametrize("name", ["until", "genesis", "authority", "check"])
def test_the_line_that_cannot_be_read_is_named(name: str) -> None:
    lines = [f"{line}?" if line.startswith(name) else line for line in MADE.to_text().splitlines()]
    with pytest.raises(InvitationMalformed, match=f"the line '{name}'"):
        Invitation.parse("\n".join(lines))


@pytest.mark.parametrize("place", range(1, 7))
def test_every_line_is_covered_by_the_checksum(place: int) -> None:
    lines = MADE.to_text().splitlines()
    last = lines[place][-2 if place == 4 else -1]  # the time ends with its zone
    other = "1" if last == "0" else "0" if last.isdigit() or place > 4 else "b"
    at = -2 if place == 4 else -1
    lines[place] = lines[place][:at] + other + (lines[place][at + 1 :] if at != -1 else "")
    with pytest.raises(InvitationDamaged):
        Invitation.parse("\n".join(lines))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "something else",
        MADE.to_text().replace("invitation 1", "invitation 2"),
        MADE.to_text() + "chain nord\n",
        MADE.to_text() + "secret 1234\n",
        "\n".join(MADE.to_text().splitlines()[:-1]),
        MADE.to_text().replace("nord", "NORD"),
        MADE.to_text().replace("member    hospital-a", "member    ../a"),
        MADE.to_text().replace(":7001", ""),
        MADE.to_text().replace(":7001", ":70011"),
        MADE.to_text().replace("until     2027", "until     soon"),
        MADE.to_text().replace(spoken(MADE.genesis), spoken(MADE.genesis)[:-5]),
        MADE.to_text().replace(spoken(MADE.genesis), "????" + spoken(MADE.genesis)[4:]),
        "x" * 5000,
    ],
)
def test_what_is_no_invitation_is_refused(text: str) -> None:
    with pytest.raises(InvitationMalformed):
        Invitation.parse(text)


def test_an_invitation_ends_with_its_minute() -> None:
    MADE.require_current(MADE.until)
    with pytest.raises(InvitationExpired, match="2027-01-15T08:00Z"):
        MADE.require_current(MADE.until + 1)


def test_two_invitations_have_two_checksums() -> None:
    other = dataclasses.replace(MADE, address="ledger.hospital-b.example.org:7001")
    assert other.to_text().splitlines()[-1] != MADE.to_text().splitlines()[-1]


def test_what_is_misheard_for_a_digit_is_taken_as_the_digit() -> None:
    assert heard("OIL0-1abc", 5) == heard("0110 1ABC", 5)


@pytest.mark.parametrize("text", ["", "0000000", "000000000", "0000000U", "0000 000é"])
def test_other_lengths_and_characters_are_not_heard(text: str) -> None:
    with pytest.raises(NotSpoken):
        heard(text, 5)


def test_every_character_of_the_alphabet_stands_for_its_place() -> None:
    places = "".join(f"{place:05b}" for place in range(32))
    octets = heard(ALPHABET, 20)
    assert octets == int(places, 2).to_bytes(20, "big")
    assert spoken(octets).replace(" ", "") == ALPHABET
