"""Certificates name their holder, serve one side only, and private keys stay where they were made."""

import datetime as dt
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from server.certificates import (
    BadCertificate,
    CertificateAuthority,
    Identity,
    identity_of,
    install_certificate,
    request_certificate,
)

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.create(tmp_path / "coordinator", "timber", NOW)


def test_a_member_gets_a_certificate_for_the_key_it_kept(authority: CertificateAuthority, tmp_path: Path) -> None:
    home = tmp_path / "bank-1"
    request = request_certificate(home, "bank-1")
    certificate = authority.issue_member(request, "bank-1", NOW)
    assert install_certificate(home, certificate, authority.certificate_pem) == Identity("timber", "bank-1")
    assert identity_of((home / "tls.crt").read_bytes()).uri == "artesian://timber/bank-1"
    assert b"PRIVATE" not in request + certificate
    assert request_certificate(home, "bank-1") != b""  # renewing reuses the key
    renewed = authority.issue_member(request_certificate(home, "bank-1"), "bank-1", NOW)
    install_certificate(home, renewed, authority.certificate_pem)


def test_files_are_for_their_owner_only(authority: CertificateAuthority, tmp_path: Path) -> None:
    request_certificate(tmp_path / "bank-1", "bank-1")
    for key in (tmp_path / "coordinator" / "ca.key", tmp_path / "bank-1" / "tls.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_the_authority_decides_the_name_not_the_request(authority: CertificateAuthority, tmp_path: Path) -> None:
    request = request_certificate(tmp_path / "x", "coordinator")
    assert identity_of(authority.issue_member(request, "firm-1", NOW)).member == "firm-1"


def test_a_certificate_serves_one_side_only(authority: CertificateAuthority, tmp_path: Path) -> None:
    request = request_certificate(tmp_path / "x", "x")
    for certificate, purpose, hosts in (
        (authority.issue_member(request, "x", NOW), ExtendedKeyUsageOID.CLIENT_AUTH, []),
        (authority.issue_server(request, "x", NOW), ExtendedKeyUsageOID.SERVER_AUTH, ["localhost"]),
    ):
        parsed = x509.load_pem_x509_certificate(certificate)
        usage = parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        assert usage.critical
        assert list(usage.value) == [purpose]
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == hosts


def test_a_reopened_authority_signs_for_the_same_consortium(authority: CertificateAuthority, tmp_path: Path) -> None:
    again = CertificateAuthority.open(tmp_path / "coordinator")
    assert again.cid == "timber"
    assert again.certificate_pem == authority.certificate_pem
    request = request_certificate(tmp_path / "b", "b")
    install_certificate(tmp_path / "b", again.issue_member(request, "b", NOW), authority.certificate_pem)


def test_an_authority_is_never_overwritten(authority: CertificateAuthority, tmp_path: Path) -> None:
    before = (tmp_path / "coordinator" / "ca.key").read_bytes()
    with pytest.raises(BadCertificate, match="already has an authority"):
        CertificateAuthority.create(tmp_path / "coordinator", "timber", NOW)
    assert (tmp_path / "coordinator" / "ca.key").read_bytes() == before


def test_what_is_not_ours_is_not_installed(authority: CertificateAuthority, tmp_path: Path) -> None:
    home = tmp_path / "bank-1"
    request = request_certificate(home, "bank-1")
    other = CertificateAuthority.create(tmp_path / "other", "timber", NOW)
    with pytest.raises(BadCertificate, match="did not sign"):
        install_certificate(home, other.issue_member(request, "bank-1", NOW), authority.certificate_pem)
    stolen = authority.issue_member(request_certificate(tmp_path / "thief", "t"), "bank-1", NOW)
    with pytest.raises(BadCertificate, match="not for the key"):
        install_certificate(home, stolen, authority.certificate_pem)
    assert not (home / "tls.crt").exists()


def test_bad_input_gets_one_line(authority: CertificateAuthority, tmp_path: Path) -> None:
    request = request_certificate(tmp_path / "x", "x")
    with pytest.raises(BadCertificate, match="member id 'Bank/1'"):
        authority.issue_member(request, "Bank/1", NOW)
    with pytest.raises(BadCertificate, match="signing request"):
        authority.issue_member(b"not a request", "x", NOW)
    (tmp_path / "x" / "tls.key").write_bytes(b"junk")
    with pytest.raises(BadCertificate, match=r"tls\.key: not a private key"):
        request_certificate(tmp_path / "x", "x")
    with pytest.raises(BadCertificate, match="No such file"):
        CertificateAuthority.open(tmp_path / "nowhere")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_a_certificate(junk: bytes) -> None:
    with pytest.raises(BadCertificate):
        identity_of(junk)
