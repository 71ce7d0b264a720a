"""How messages lie on the application's socket: each behind its length as a protobuf varint."""

from __future__ import annotations

from cipherward_chain.wire import varint

# A block of 2 MiB with everything around it stays far below; a longer length is no message.
FRAME_BYTES_MAX = 64 * 1024 * 1024
LENGTH_BYTES_MAX = 4  # of the varint of that bound: 26 bits, seven a byte


class FrameMalformed(Exception):
    """A length on the socket is not one."""


def framed(message: bytes) -> bytes:
    """Return a message as it is written."""
    return varint(len(message)) + message


class Unframer:
    """Takes what is read, in pieces of any size, and gives the messages that are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, octets: bytes) -> list[bytes]:
        """Return the messages that `octets` completes, in order.

        Raises:
            FrameMalformed: a length has more than four bytes, or is above the bound.
        """
        self._buffer += octets
        found: list[bytes] = []
        at = 0
        while True:
            length, begin = self._length(at)
            if begin == 0 or begin + length > len(self._buffer):
                break
            at = begin + length
            found.append(bytes(self._buffer[begin:at]))
        del self._buffer[:at]
        return found

    def _length(self, at: int) -> tuple[int, int]:
        """Return the length that stands at `at` and where it ends; (0, 0) if it is incomplete."""
        length = 0
        for place, octet in enumerate(self._buffer[at : at + LENGTH_BYTES_MAX]):
            length |= (octet & 0x7F) << 7 * place
            if octet < 0x80:
                if length > FRAME_BYTES_MAX:
                    raise FrameMalformed(f"a message of {length} bytes")
                return length, at + place + 1
        if len(self._buffer) - at >= LENGTH_BYTES_MAX:
            raise FrameMalformed("a length of more than four bytes")
        return 0, 0
