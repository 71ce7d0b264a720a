"""Why there is no CKKS here: one unflooded result gives the key. And a CKKS ciphertext is refused.

Li and Micciancio, "On the Security of Homomorphic Encryption on Approximate Numbers", EUROCRYPT
2021. The attack runs against plain SEAL, single key, at TenSEAL's usual parameters.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cipherward_threshold import decryption
from cipherward_threshold.encryption import c1_digest
from cipherward_threshold.errors import MalformedMessage, ResultIsNoise
from cipherward_threshold.evaluation.tenseal_form import vector_ciphertexts
from cipherward_threshold.messages import Ciphertext
from cipherward_threshold.parameters import profile_names
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.seal_form import MemoryFile, read_ciphertext, saved

if TYPE_CHECKING:
    from conftest import ProductAlliance

seal: Any = importlib.import_module("tenseal.sealapi")  # the binding ships no types
tenseal: Any = importlib.import_module("tenseal")
PROFILE = "product-1"
DEGREE, SCALE = 8192, 2.0**40
pytestmark = pytest.mark.slow


def body_words(item: Any, count: int, at: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    """Return the last words of what SEAL saved of a plaintext or secret key."""
    import zstandard

    body = zstandard.ZstdDecompressor().decompressobj().decompress(saved(item)[16:])
    return np.frombuffer(body, "<u8", count, at).astype(np.uint64)


def test_an_unflooded_ckks_result_gives_the_secret_key() -> None:
    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
    parameters.set_poly_modulus_degree(DEGREE)
    parameters.set_coeff_modulus(seal.CoeffModulus.Create(DEGREE, [60, 40, 40, 60]))
    context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
    generator = seal.KeyGenerator(context)
    secret, public = generator.secret_key(), seal.PublicKey()
    generator.create_public_key(public)
    encoder = seal.CKKSEncoder(context)
    values = np.random.default_rng(0).uniform(-1, 1, DEGREE // 2)
    plain, ciphertext = seal.Plaintext(), seal.Ciphertext()
    encoder.encode(values.tolist(), list(context.first_parms_id()), SCALE, plain)
    seal.Encryptor(context, public).encrypt(plain, ciphertext)
    decrypted = seal.Plaintext()
    seal.Decryptor(context, secret).decrypt(ciphertext, decrypted)
    published = encoder.decode_complex(decrypted)  # the result, and nothing but the result
    assert np.abs(np.real(published) - values).max() < 1e-6

    # The reader of the result encodes it again: that is c0 + c1 s, exactly. s = (m - c0) / c1.
    again = seal.Plaintext()
    encoder.encode(published, list(context.first_parms_id()), SCALE, again)
    prime: int = seal.CoeffModulus.Create(DEGREE, [60, 40, 40, 60])[0].value()
    message = body_words(again, 3 * DEGREE, 72)[:DEGREE]
    c0, c1 = read_ciphertext(saved(ciphertext))[:, 0]
    recovered = [
        (int(m) - int(x)) * pow(int(y), -1, prime) % prime
        for m, x, y in zip(message, c0, c1, strict=True)
    ]
    true = body_words(secret, 4 * DEGREE, 72)[:DEGREE]
    assert recovered == [int(s) for s in true]


def test_no_profile_is_ckks_and_none_loads_a_ckks_ciphertext() -> None:
    for name in profile_names():
        ring = profile_ring(name)
        parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
        parameters.set_poly_modulus_degree(ring.profile.degree)
        parameters.set_coeff_modulus([seal.Modulus(p) for p in ring.profile.key_primes])
        context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
        public = seal.PublicKey()
        seal.KeyGenerator(context).create_public_key(public)
        ciphertext = seal.Ciphertext()
        seal.Encryptor(context, public).encrypt_zero(ciphertext)
        content = saved(ciphertext)
        with pytest.raises(RuntimeError):  # its level is a hash of parameters and scheme
            ring.key_form.loaded_ciphertext(content)
        with pytest.raises(MalformedMessage):
            c1_digest(name, content)
        with MemoryFile(content) as file:
            ciphertext.load(context, file.path)  # the same bytes are good where they belong


def test_a_ckks_vector_is_refused_and_its_residues_in_our_frame_are_noise(
    product: ProductAlliance,
) -> None:
    profile = product.ring.profile
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 16384, coeff_mod_bit_sizes=[60] * 7)
    context.global_scale = 2.0**40
    vector = tenseal.ckks_vector(context, [1.0, 2.0]).serialize()
    with pytest.raises(MalformedMessage):
        vector_ciphertexts(PROFILE, product.public_key, vector)
    honest = Ciphertext.parse(profile, product.encrypt([1]))
    # Residues of the right range and number, as a CKKS ciphertext under the same key would have
    # them: in NTT form and without a plaintext modulus. It decrypts to noise, never to a result.
    disguised = Ciphertext(honest.key_id, product.ring.ntt(honest.polynomials))
    message = disguised.to_bytes(profile)
    for name, slots in (("column-sum", 4), ("product-sum", 1)):
        shares = product.shares(message, name)
        with pytest.raises(ResultIsNoise):
            decryption.combine(PROFILE, message, shares, slots, circuit=name)
