"""The expressions that dashboards are made of."""

from __future__ import annotations

from tools.dashboards.board import Query


def name_of(by: str) -> str:
    """Return a legend of the labels that an expression is grouped by."""
    return " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))


def gauge(metric: str, by: str, where: str = "", how: str = "max") -> Query:
    """Return the newest values; `how` joins what is grouped together."""
    return Query(f"{how} by ({by}) ({metric}{{{_of(where)}}})", name_of(by))


def rate(metric: str, by: str, where: str = "") -> Query:
    """Return a counter's increase a second."""
    return Query(f"sum by ({by}) (rate({metric}{{{_of(where)}}}[$every]))", name_of(by))


def per_minute(metric: str, by: str, where: str = "") -> Query:
    """Return a counter's increase a minute, for what happens seldom."""
    return Query(f"60 * sum by ({by}) (rate({metric}{{{_of(where)}}}[$every]))", name_of(by))


def agreed_per_minute(metric: str, by: str) -> Query:
    """Return what `per_minute` does of a counter that follows from the blocks.

    Every member counts the same: added up it would be counted once a member.
    """
    return Query(f"60 * max by ({by}) (rate({metric}{{$of}}[$every]))", name_of(by))


def quantiles(histogram: str, by: str, where: str = "") -> tuple[Query, Query]:
    """Return the median and the 99th percentile of a histogram."""
    return quantile(0.5, histogram, by, where), quantile(0.99, histogram, by, where)


def quantile(part: float, histogram: str, by: str, where: str = "") -> Query:
    """Return one percentile of a histogram."""
    buckets = f"sum by (le, {by}) (rate({histogram}_bucket{{{_of(where)}}}[$every]))"
    return Query(f"histogram_quantile({part}, {buckets})", f"{name_of(by)} p{part * 100:g}")


def age(moment: str, by: str) -> Query:
    """Return how long ago a moment was; nothing where it never was."""
    return Query(f"time() - max by ({by}) ({moment}{{$of}} > 0)", name_of(by))


def number(expression: str) -> tuple[Query]:
    """Return the only query of a panel of one number."""
    return (Query(expression, ""),)


def _of(where: str) -> str:
    return f"$of,{where}" if where else "$of"
