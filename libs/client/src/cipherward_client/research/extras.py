"""Packages that only who looks at results needs: loaded when they are used, named when absent."""

from __future__ import annotations

import importlib
from typing import Any

from cipherward_client.sdk.errors import CheckFailed

# Which extra of the distribution `cipherward-client` has a package.
EXTRAS = {"pandas": "frames", "polars": "frames", "matplotlib": "plots"}


class ExtraMissing(CheckFailed):
    """A package of an extra is not installed."""

    reason = "EXTRA_MISSING"


def require(module: str) -> Any:  # a package that may be absent has no type here
    """Return a module of a package of an extra.

    Raises:
        ExtraMissing: the package is not installed; the text has the command that installs it.
    """
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        extra = EXTRAS[package]
        text = f"{package} is not installed: pip install 'cipherward-client[{extra}]'"
        raise ExtraMissing(text) from None
