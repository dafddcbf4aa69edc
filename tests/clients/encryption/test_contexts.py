import pytest
from encrypted_world import keys

from clients.encryption.contexts import KeyPair, public_context, secret_context
from clients.encryption.errors import ContextRefused


def test_the_public_half_has_the_public_key_and_nothing_else() -> None:
    native = public_context(keys().public).native
    assert native.has_public_key()
    for has in (native.has_secret_key, native.has_galois_keys, native.has_relin_keys):
        assert not has()


def test_no_part_of_the_secret_half_is_in_the_public_one() -> None:
    """Both are compressed; so what they decode to is compared, and that the one cannot be made of the other."""
    with pytest.raises(ContextRefused, match="no secret key"):
        secret_context(keys().public)
    assert len({KeyPair.generate().secret for _ in range(2)}) == 2
    assert "secret" not in repr(KeyPair.generate())


def _serialized(**kept: bool) -> bytes:
    import tenseal

    made = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[54, 54])
    made.generate_galois_keys()
    made.generate_relin_keys()
    flags = {f"save_{name}": False for name in ("public_key", "secret_key", "galois_keys", "relin_keys")}
    raw: bytes = made.serialize(**{**flags, **{f"save_{name}": value for name, value in kept.items()}})
    return raw


def test_a_context_with_the_secret_key_is_refused() -> None:
    with pytest.raises(ContextRefused, match="carries the secret key"):
        public_context(_serialized(public_key=True, secret_key=True))
    with pytest.raises(ContextRefused):
        public_context(keys().secret)


@pytest.mark.parametrize("more", ["galois_keys", "relin_keys"])
def test_a_context_with_keys_that_nobody_needs_is_refused(more: str) -> None:
    with pytest.raises(ContextRefused, match=r"the public key and no other|over the limit"):
        public_context(_serialized(public_key=True, **{more: True}))


def test_other_parameters_are_refused() -> None:
    import tenseal

    wide = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 60])
    exact = tenseal.context(tenseal.SCHEME_TYPE.BFV, 4096, plain_modulus=1032193)
    for made in (wide, exact):
        with pytest.raises(ContextRefused, match="parameters"):
            public_context(made.serialize(True, False, False, False))


def test_damage_and_additions_are_refused() -> None:
    whole = keys().public
    for raw in (b"", b"\0" * 100, whole[:-1], whole[: len(whole) // 2], whole + b"\0", bytes(1 << 21)):
        with pytest.raises(ContextRefused):
            public_context(raw)
    marked = whole + b"\x98\x06\x01"  # a field that the format does not know, which readers pass over
    with pytest.raises(ContextRefused):
        public_context(marked)
