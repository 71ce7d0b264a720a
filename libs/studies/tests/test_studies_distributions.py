"""Tails of distributions, against scipy."""

from __future__ import annotations

import math
from typing import Any

import pytest
import scipy.special
import scipy.stats

from cipherward_studies import distributions as ours

theirs: Any = scipy.stats
special: Any = scipy.special
EXACT = 1e-11
DEGREES = [1, 2, 3, 7.5, 30, 431, 5_000, 1_000_000, 10_000_000]


@pytest.mark.parametrize("z", [-8.0, -1.96, -0.1, 0.0, 0.3, 1.0, 2.5758, 6.0, 20.0, 37.0])
def test_the_normal_tail(z: float) -> None:
    assert ours.normal_sf(z) == pytest.approx(theirs.norm.sf(z), rel=EXACT)
    assert ours.normal_cdf(z) == pytest.approx(theirs.norm.cdf(z), rel=EXACT)


@pytest.mark.parametrize("p", [1e-10, 0.025, 0.3, 0.5, 0.975, 1 - 1e-9])
def test_the_normal_quantile(p: float) -> None:
    assert ours.normal_quantile(p) == pytest.approx(theirs.norm.ppf(p), rel=EXACT, abs=1e-15)


@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("ratio", [0.01, 0.5, 0.9, 1.0, 1.1, 1.5, 4.0, 20.0])
def test_the_chi_square_tail(degrees: float, ratio: float) -> None:
    expected = theirs.chi2.sf(degrees * ratio, degrees)
    assert ours.chi_square_sf(degrees * ratio, degrees) == pytest.approx(
        expected, rel=EXACT, abs=1e-300
    )


@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("t", [-40.0, -2.0, 0.0, 0.001, 0.7, 1.96, 5.0, 12.0, 30.0])
def test_the_t_tail(degrees: float, t: float) -> None:
    assert ours.t_sf(t, degrees) == pytest.approx(theirs.t.sf(t, degrees), rel=EXACT, abs=1e-300)
    expected = 2 * theirs.t.sf(abs(t), degrees)
    assert ours.t_two_sided(t, degrees) == pytest.approx(expected, rel=EXACT, abs=1e-300)


@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("p", [0.001, 0.025, 0.4, 0.5, 0.9, 0.975, 0.9995])
def test_the_t_quantile(degrees: float, p: float) -> None:
    expected = theirs.t.ppf(p, degrees)
    assert ours.t_quantile(p, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("below", DEGREES)
@pytest.mark.parametrize("above", [1, 2, 6, 63, 1_000])
@pytest.mark.parametrize("f", [0.01, 0.8, 1.0, 1.2, 3.0, 40.0])
def test_the_f_tail(above: float, below: float, f: float) -> None:
    # scipy.stats.f.sf loses digits at large degrees of freedom; the incomplete beta function does
    # not, if it is given the argument that is not next to 1.
    total = below + above * f
    if below > above * f:
        expected = special.betaincc(above / 2, below / 2, above * f / total)
    else:
        expected = special.betainc(below / 2, above / 2, below / total)
    assert ours.f_sf(f, above, below) == pytest.approx(expected, rel=EXACT, abs=1e-290)


def test_tails_at_their_ends() -> None:
    assert ours.chi_square_sf(0.0, 3) == ours.f_sf(0.0, 2, 9) == ours.gamma_q(2.0, 0.0) == 1.0
    assert ours.gamma_p(2.0, 0.0) == ours.beta_i(2.0, 3.0, 0.0, 1.0) == 0.0
    assert ours.beta_i(2.0, 3.0, 1.0, 0.0) == 1.0
    assert ours.t_two_sided(0.0, 5) == pytest.approx(1.0)


@pytest.mark.parametrize(("a", "x"), [(0.5, 0.1), (3.0, 9.0), (200.0, 190.0), (5e6, 5.001e6)])
def test_both_sides_of_the_incomplete_gamma_make_one(a: float, x: float) -> None:
    assert ours.gamma_p(a, x) + ours.gamma_q(a, x) == pytest.approx(1.0, rel=1e-14)
    assert ours.gamma_p(a, x) == pytest.approx(special.gammainc(a, x), rel=EXACT)


@pytest.mark.parametrize(
    ("a", "b"), [(0.5, 0.5), (9.0, 3.0), (500.0, 20.0), (5e6, 0.5), (1e3, 1e3)]
)
def test_the_logarithm_of_beta_keeps_its_digits(a: float, b: float) -> None:
    assert ours.log_beta(a, b) == pytest.approx(special.betaln(a, b), rel=1e-12)
    assert math.isfinite(ours.log_beta(a, b))
