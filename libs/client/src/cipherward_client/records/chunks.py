"""A record as a chain of sealed chunks.

Plaintext is `length (8 bytes) ‖ content ‖ zeros` up to its Padmé length, cut into chunks of
1 MiB - 16 bytes, each sealed with AES-256-GCM under a key that serves this record only. Nonce =
chunk number and a last-chunk flag, so chunks cannot be moved, left out or cut off (the STREAM
construction of Hoang, Reyhanitabar, Rogaway and Vizár, CRYPTO 2015); suite, chain, record id and
padded length are associated data of every chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cipherward_chain.domains import RECORD_CHUNK
from cipherward_client.records.errors import RecordCorrupt, RecordTooLarge, RecordTruncated
from cipherward_client.records.keys import RecordContext

TAG_BYTES = 16  # AES-GCM
CIPHERTEXT_CHUNK_BYTES = 1 << 20  # one gRPC message of an upload, well under its 4 MiB limit
PLAINTEXT_CHUNK_BYTES = CIPHERTEXT_CHUNK_BYTES - TAG_BYTES
LENGTH_BYTES = 8
CIPHERTEXT_BYTES_MAX = 1 << 30  # it is opened in memory; an anchor may name any length


def padme(length: int) -> int:
    """Return the padded length: at most 12 % more, and only log log of the length leaks.

    Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with
    PURBs", PETS 2019, algorithm 1.
    """
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    mask = (1 << low_bits) - 1
    return (length + mask) & ~mask


def ciphertext_length(content_length: int) -> int:
    """Return the length of the ciphertext of `content_length` bytes."""
    padded = padme(content_length + LENGTH_BYTES)
    chunks = -(-padded // PLAINTEXT_CHUNK_BYTES)
    return padded + chunks * TAG_BYTES


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _associated(context: RecordContext, padded_length: int) -> bytes:
    return RECORD_CHUNK + context.octets() + padded_length.to_bytes(8, "big")


def seal_chunks(context: RecordContext, key: bytes, content: bytes) -> Iterator[bytes]:
    """Yield the sealed chunks of `content`, 1 MiB each but the last; nothing whole is copied.

    Args:
        key: the record key, 32 bytes, never used for other content.
        content: the whole record. The same content under the same key gives the same bytes, so
            that a resumed upload re-sends what it sent before.

    Raises:
        RecordTooLarge: the ciphertext would have more than CIPHERTEXT_BYTES_MAX.
    """
    if ciphertext_length(len(content)) > CIPHERTEXT_BYTES_MAX:
        raise RecordTooLarge(f"a sealed record has at most {CIPHERTEXT_BYTES_MAX} bytes")
    padded = padme(len(content) + LENGTH_BYTES)
    prefix, view = len(content).to_bytes(LENGTH_BYTES, "big"), memoryview(content)
    cipher, associated = AESGCM(key), _associated(context, padded)
    for number, start in enumerate(range(0, padded, PLAINTEXT_CHUNK_BYTES)):
        end = min(start + PLAINTEXT_CHUNK_BYTES, padded)
        piece = view[max(start - LENGTH_BYTES, 0) : end - LENGTH_BYTES]
        if not start or len(piece) < end - start:  # the first, and those that hold padding
            piece = (b"" if start else prefix) + bytes(piece)
            piece += bytes(end - start - len(piece))
        yield cipher.encrypt(_nonce(number, last=end == padded), piece, associated)


class ChunkOpener:
    """Opens a sealed record piece by piece; nothing is given out before all of it is there.

    Memory is what costs here: touching a fresh page takes longer than decrypting it. So chunks are
    decrypted into one buffer that is used again, and gathered where they can be given out uncopied.

    Raises:
        RecordTooLarge: the length is more than CIPHERTEXT_BYTES_MAX.
        RecordCorrupt: it is none that a record can have.
    """

    def __init__(self, context: RecordContext, key: bytes, *, ciphertext_bytes: int) -> None:
        """Begin a record of `ciphertext_bytes`, the length that the anchor names."""
        if ciphertext_bytes > CIPHERTEXT_BYTES_MAX:
            raise RecordTooLarge(f"a sealed record has at most {CIPHERTEXT_BYTES_MAX} bytes")
        self._ciphertext_bytes = ciphertext_bytes
        self._chunks = -(-ciphertext_bytes // CIPHERTEXT_CHUNK_BYTES)
        padded = ciphertext_bytes - self._chunks * TAG_BYTES
        if padded < LENGTH_BYTES:
            raise RecordCorrupt("no record has the length that the anchor names")
        self._cipher, self._associated = AESGCM(key), _associated(context, padded)
        self._padded = padded
        self._length = 0  # of the content: the first chunk says it
        self._gathered = BytesIO()  # content and padding
        self._chunk = memoryview(bytearray(min(PLAINTEXT_CHUNK_BYTES, padded)))
        self._opened = 0  # chunks
        self._rest = b""  # of a chunk that is not whole yet

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the ciphertext, at whatever borders they were cut.

        Raises:
            RecordCorrupt: a chunk does not authenticate, or there are more bytes than anchored.
        """
        view = memoryview(self._rest + piece if self._rest else piece)
        at = 0
        while True:
            start = self._opened * CIPHERTEXT_CHUNK_BYTES
            size = min(CIPHERTEXT_CHUNK_BYTES, self._ciphertext_bytes - start)
            if size <= 0 or len(view) - at < size:
                break
            self._open(view[at : at + size])
            at += size
        self._rest = bytes(view[at:])
        if self._rest and self._opened == self._chunks:
            raise RecordCorrupt("the ciphertext is longer than the anchor says")

    def content(self) -> bytes:
        """Return the content.

        Raises:
            RecordTruncated: bytes are missing.
            RecordCorrupt: the sealed length does not fit.
        """
        if self._opened < self._chunks:
            raise RecordTruncated(f"{self._opened} of {self._chunks} chunks are there")
        if padme(self._length + LENGTH_BYTES) != self._padded:
            raise RecordCorrupt("the sealed length does not fit the record")
        self._gathered.truncate(self._length)
        return self._gathered.getvalue()

    def _open(self, chunk: memoryview) -> None:
        number = self._opened
        plaintext = self._chunk[: len(chunk) - TAG_BYTES]
        nonce = _nonce(number, last=number == self._chunks - 1)
        try:
            self._cipher.decrypt_into(nonce, chunk, self._associated, plaintext)
        except (InvalidTag, ValueError):
            text = f"chunk {number} of {self._chunks} does not authenticate"
            raise RecordCorrupt(text) from None
        if not number:
            self._length = int.from_bytes(plaintext[:LENGTH_BYTES], "big")
            plaintext = plaintext[LENGTH_BYTES:]
        self._gathered.write(plaintext)
        self._opened = number + 1


def open_chunks(
    context: RecordContext, key: bytes, ciphertext: bytes, *, ciphertext_bytes: int
) -> bytes:
    """Return the content of a whole sealed record.

    Args:
        ciphertext_bytes: the length that the anchor names.

    Raises:
        RecordTruncated: the ciphertext is shorter than that.
        RecordCorrupt: it is longer, or a chunk does not authenticate.
    """
    opener = ChunkOpener(context, key, ciphertext_bytes=ciphertext_bytes)
    opener.feed(ciphertext)
    return opener.content()
