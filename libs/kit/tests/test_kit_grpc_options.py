"""gRPC passes over an option that it does not know, without a word: a wrong name is no option."""

from __future__ import annotations

from pathlib import Path

from grpc import _cython

from cipherward_kit.connection_age import CONNECTION_AGE
from cipherward_kit.server import KEEPALIVE_OPTIONS


def test_every_option_of_a_connection_is_one_that_grpc_knows() -> None:
    library = next(Path(_cython.__path__[0]).glob("cygrpc*.so")).read_bytes()
    for name, _ in (*KEEPALIVE_OPTIONS, *CONNECTION_AGE.options()):
        assert name.encode() + b"\0" in library, name
