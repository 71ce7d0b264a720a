"""Results as data frames: one row a variable, coefficient, step of a curve, bin or cell."""

from __future__ import annotations

from typing import Any, Literal

from cipherward_client.research.extras import require
from cipherward_studies.analysis import Result

Engine = Literal["pandas", "polars"]
ENGINES: tuple[Engine, ...] = ("pandas", "polars")


def to_pandas(result: Result) -> Any:
    """Return a result as a `pandas.DataFrame`; what is not told is missing.

    Raises:
        ExtraMissing: pandas is not installed.
    """
    return require("pandas").DataFrame(result.to_rows())


def to_polars(result: Result) -> Any:
    """Return a result as a `polars.DataFrame`; what is not told is null.

    Raises:
        ExtraMissing: polars is not installed.
    """
    # A column may begin with integers, or nulls, and go on with other numbers.
    return require("polars").DataFrame(result.to_rows(), infer_schema_length=None)


def to_frame(result: Result, engine: Engine) -> Any:
    """Return a result as a frame of an engine.

    Raises:
        ExtraMissing: the engine is not installed.
        ValueError: there is no such engine.
    """
    if engine not in ENGINES:
        raise ValueError(f"frames are made with {' or '.join(ENGINES)}, not with {engine}")
    return to_pandas(result) if engine == "pandas" else to_polars(result)
