"""A certificate authority of a test's own."""

import datetime
import ssl
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """A certificate authority, its files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test CA")])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self.file = self._write("ca.pem", certificate.sign(self._key, hashes.SHA256()))

    def issue(self, name: str, *, phrase: str = "") -> Path:
        """A certificate for 127.0.0.1 and upstream.test, and its key, in one file. phrase: encrypts the key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        addresses = x509.SubjectAlternativeName(
            [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("upstream.test")]
        )
        issued = self._builder(subject, key).add_extension(addresses, critical=False)
        return self._write(f"{name}.pem", issued.sign(self._key, hashes.SHA256()), key, phrase)

    def server(self, *, client_certificate: bool = False) -> ssl.SSLContext:
        """TLS of a server with a certificate of this authority; with it, clients must have one too."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue("server"))
        if client_certificate:
            context.load_verify_locations(self.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        day = datetime.timedelta(days=1)
        return builder.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)

    def _write(
        self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None = None, phrase: str = ""
    ) -> Path:
        text = certificate.public_bytes(serialization.Encoding.PEM)
        if key is not None:
            private = serialization.PrivateFormat.PKCS8
            locked = serialization.BestAvailableEncryption(phrase.encode()) if phrase else serialization.NoEncryption()
            text += key.private_bytes(serialization.Encoding.PEM, private, locked)
        path = self._folder / name
        path.write_bytes(text)
        return path
