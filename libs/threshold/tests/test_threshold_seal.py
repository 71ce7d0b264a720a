"""SEAL's layouts, the self-test, and the fall-back from its memory to its bytes."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from cipherward_threshold.errors import SelfTestFailed
from cipherward_threshold.parameters import profile
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues
from cipherward_threshold.seal_form import MemoryFile, read_ciphertext, saved, seal_version
from cipherward_threshold.sealapi import Ciphertext
from cipherward_threshold.selftest import selftest, view_holds
from cipherward_threshold.transport import ByteTransport, ViewTransport, view


def one_ciphertext(ring: Ring) -> Ciphertext:
    ones = np.ones((2, 3, ring.profile.degree), dtype=np.uint64)
    return ring.form.ciphertext(ones, ring.parms_id(3), ntt=True)


def test_the_self_test_passes_and_takes_the_view_where_it_holds() -> None:
    fresh = Ring(profile("additive-1"))
    assert isinstance(fresh.transport, ByteTransport)
    selftest(fresh)
    assert isinstance(fresh.transport, ViewTransport) == view_holds(fresh)


def test_a_view_of_something_else_is_refused_before_its_memory_is_read() -> None:
    class Impostor:
        """Answers like a ciphertext, but points to zeros where one would be."""

        __slots__ = ("padding",)  # the first slot lies where the binding keeps its pointer

        def __init__(self) -> None:
            self.padding = bytes(4096)

        def size(self) -> int:
            return 2

        def poly_modulus_degree(self) -> int:
            return 8192

        def coeff_modulus_size(self) -> int:
            return 3

        def save(self, path: str) -> None:
            raise NotImplementedError

        def load(self, context: object, path: str) -> None:
            raise NotImplementedError

        def __getitem__(self, index: int) -> int:
            raise IndexError(index)

    with pytest.raises(SelfTestFailed):
        view(Impostor())


def test_wrong_arithmetic_fails_the_self_test() -> None:
    class Shifted(Ring):
        """A ring whose products are off by one."""

        def multiply(self, polynomials: Residues, factor: Residues) -> Residues:
            return self.add(super().multiply(polynomials, factor), np.ones_like(polynomials))

    with pytest.raises(SelfTestFailed):
        selftest(Shifted(profile("additive-1")))


def test_bytes_of_another_layout_are_refused(ring: Ring) -> None:
    content = saved(one_ciphertext(ring))
    with pytest.raises(SelfTestFailed):
        read_ciphertext(b"\0\0" + content[2:])
    with pytest.raises(SelfTestFailed):
        read_ciphertext(content[:5] + b"\x01" + content[6:])  # zlib
    with pytest.raises(SelfTestFailed):
        read_ciphertext(content[:-1])
    with pytest.raises(SelfTestFailed):
        seal_version(b"\0" * 16)
    stored = struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 3, 0, 0, 16 + 97) + bytes(88) + b"\1" * 9
    with pytest.raises(SelfTestFailed):
        read_ciphertext(stored)


def test_a_memory_file_returns_what_it_was_given() -> None:
    content = bytes(range(256)) * 4096
    with MemoryFile(content) as file:
        assert file.read() == content
        with open(file.path, "rb") as again:
            assert again.read() == content


def test_the_scratch_keeps_no_secret(ring: Ring) -> None:
    transport = ViewTransport(ring.form)
    held: list[Ciphertext] = []
    secret = np.full((2, 3, ring.profile.degree), 77, dtype=np.uint64)

    def copy(source: Ciphertext, destination: Ciphertext) -> None:
        held.append(source)
        with MemoryFile() as file:
            source.save(file.path)
            destination.load(ring.context, file.path)

    result = transport.apply(secret, ring.parms_id(3), ntt=True, operation=copy)
    assert (result == secret).all()
    assert (view(held[0]) == 1).all()
