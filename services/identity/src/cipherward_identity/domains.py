"""Domain-separation tags of what this service derives for itself; none is a prefix of another."""

from __future__ import annotations

# HKDF info of the key under which codes and sessions are derived; it never leaves the process.
DESK_KEY = b"cipherward/identity-desk-key/v1\0"
# HMAC inputs under that key.
ADMISSION_CODE = b"cipherward/identity-admission-code/v1\0"
SESSION = b"cipherward/identity-session/v1\0"
# Plain hashes that stand in the store.
ADMISSION_CODE_HASH = b"cipherward/identity-code-hash/v1\0"
REQUEST_DIGEST = b"cipherward/identity-request/v1\0"

ALL = (DESK_KEY, ADMISSION_CODE, SESSION, ADMISSION_CODE_HASH, REQUEST_DIGEST)
