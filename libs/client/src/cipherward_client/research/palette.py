"""Colours and measures that all pictures share."""

from __future__ import annotations

# Told apart with every kind of colour blindness, and in grey.
# Source: Okabe, Ito, "Color Universal Design", 2008; without its yellow, too light on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BAND_ALPHA = 0.18  # a band lets other curves through
WIDTH_INCHES = 8.0


def colour(place: int) -> str:
    """Return the colour of the curve at a place; they repeat after seven."""
    return COLOURS[place % len(COLOURS)]
