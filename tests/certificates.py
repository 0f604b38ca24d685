"""Certificates of the tests' own authority, for servers and clients."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass
class Authority:
    """Who signs certificates."""

    name: str = "the tests' authority"
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        builder = _dated(self._builder(self.name, self._key))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        return _pem(builder.add_extension(_SIGNS, True).sign(self._key, _HASH))

    def issue(self, name: str, *others: str, expired: bool = False) -> tuple[bytes, bytes]:
        """A certificate and its key, for a name or an address, and others."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([_general(each) for each in (name, *others)])
        signed = _dated(self._builder(name, key), expired).add_extension(names, False).sign(self._key, _HASH)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return _pem(signed), key.private_bytes(encoding, form, serialization.NoEncryption())

    def _builder(self, name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(_name(self.name))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        # Python 3.13 wants to know whose key signed which.
        owner = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(owner, False).add_extension(signer, False)


_HASH = hashes.SHA256()
_NOTHING = {"digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"}
_NOTHING |= {"encipher_only", "decipher_only"}
_SIGNS = x509.KeyUsage(key_cert_sign=True, crl_sign=True, **dict.fromkeys(_NOTHING, False))


def _dated(builder: x509.CertificateBuilder, expired: bool = False) -> x509.CertificateBuilder:
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    return builder.not_valid_before(now - 3 * day).not_valid_after(now - day if expired else now + day)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
