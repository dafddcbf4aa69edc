"""ML-DSA-65 (FIPS 204), the second half of a hybrid key, and its name as a COSE key of type AKP (RFC 9964)."""

import hashlib

import cbor2

PUBLIC_KEY_BYTES = 1952
SIGNATURE_BYTES = 3309
SEED_BYTES = 32

_KTY_AKP, _ALG_ML_DSA_65 = 7, -49


def thumbprint(public: bytes) -> bytes:
    """32 bytes: the SHA-256 thumbprint (RFC 9679) of the AKP key {kty: AKP, alg: ML-DSA-65, pub} (RFC 9964)."""
    return hashlib.sha256(cbor2.dumps({1: _KTY_AKP, 3: _ALG_ML_DSA_65, -1: public}, canonical=True)).digest()
