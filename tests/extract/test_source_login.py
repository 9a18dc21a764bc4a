"""The login of MySQL 8 by the real client, and what a URL may say about the way to a server.

caching_sha2_password is played by a stand-in that speaks its protocol (tests/support/mysql8_login.py), because no
MySQL 8 can be installed from Debian's packages or PyPI.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization

from extract.errors import SourceError, SourceUrlError
from extract.mysql_address import Address
from tests.support.certificates import certificate
from tests.support.mysql8_login import MySQL8Login

PASSWORD = "s3cret:/@pä€s"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"), "localhost")


def address(server: MySQL8Login, options: str = "", password: str = PASSWORD) -> Address:
    return Address.parse(f"mysql://shop:{quote(password, safe='')}@127.0.0.1:{server.port}/orders{options}")


@pytest.mark.parametrize("switched", [False, True], ids=["its own plugin", "after a switch"])
@pytest.mark.parametrize(
    ("cached", "with_tls", "options", "way"),
    [
        (True, False, "", ["fast"]),
        (False, False, "", ["full over rsa"]),
        (False, False, "?ssl-mode=DISABLED", ["full over rsa"]),
        (False, True, "?ssl-mode=DISABLED", ["full over rsa"]),
        (True, True, "", ["tls", "fast"]),
        (False, True, "", ["tls", "full over tls"]),
        (False, True, "?ssl-mode=required", ["tls", "full over tls"]),
    ],
)
def test_caching_sha2_password_logs_in(
    tls: tuple[Path, Path], switched: bool, cached: bool, with_tls: bool, options: str, way: list[str]
) -> None:
    """With TLS and without; where the server does not know the password yet, and where it has cached it."""
    with MySQL8Login(PASSWORD, cached=cached, tls=tls if with_tls else None, switched=switched) as server:
        address(server, options).connect().close()
        assert server.log == way


@pytest.mark.parametrize("with_tls", [False, True])
def test_a_wrong_password_is_refused_and_not_shown(tls: tuple[Path, Path], with_tls: bool) -> None:
    with MySQL8Login(PASSWORD, tls=tls if with_tls else None) as server:
        with pytest.raises(SourceError, match="Access denied for user 'shop'") as caught:
            address(server, password="wrong-1-pass").connect()
        assert "wrong-1-pass" not in str(caught.value)


def test_required_tls_is_not_done_without(tls: tuple[Path, Path]) -> None:
    """And the password is not sent."""
    with MySQL8Login(PASSWORD) as server:
        for options in ("?ssl-mode=REQUIRED", f"?ssl-ca={tls[0]}", f"?ssl-ca={tls[0]}&ssl-mode=VERIFY_CA"):
            with pytest.raises(SourceError, match=r"SSL is required.*Set the server up for TLS, or write ssl-m"):
                address(server, options).connect()
        assert not server.log


@pytest.mark.parametrize(
    ("missing", "package"), [("_have_cryptography", "cryptography"), ("_init_nacl", "pynacl")], ids=lambda name: name
)
def test_a_package_that_a_login_needs_is_named(missing: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pymysql import _auth, connections

    if package == "cryptography":
        monkeypatch.setattr(_auth, missing, False)
    else:  # MariaDB's ed25519, which no package of this project's dependencies can compute
        monkeypatch.setitem(sys.modules, "nacl", None)
        ed25519: Any = lambda connection, packet: _auth.ed25519_password(b"x", b"y")  # noqa: E731
        monkeypatch.setattr(connections._auth, "caching_sha2_password_auth", ed25519)
    with (
        MySQL8Login(PASSWORD) as server,
        pytest.raises(SourceError, match=rf"{package}.*\.venv/bin/pip install.*let the user log in with"),
    ):
        address(server).connect()


# What a URL says


def test_an_ipv6_host_stands_in_brackets_and_is_printed_so() -> None:
    address = Address.parse("mysql://u:p@[2001:db8::7]:3307/d")
    assert (address.host, address.port, str(address)) == ("2001:db8::7", 3307, "mysql://u@[2001:db8::7]:3307/d")
    assert Address.parse("mysql://u:p@[fe80::1%25eth0]/d").host == "fe80::1%eth0"
    with pytest.raises(SourceUrlError, match="an IPv6 address stands in brackets"):
        Address.parse("mysql://u:p@::1:3306/d")


def test_a_socket_needs_no_host_and_its_path_is_taken_as_written() -> None:
    address = Address.parse("mysql://u:p@/d?socket=/run/a+b%20c.sock")
    assert (address.socket, address.host) == ("/run/a+b c.sock", "localhost")
    assert str(address) == "mysql://u@localhost/d?socket=/run/a+b c.sock"
    assert Address.parse("mysql://u:p@shop.example/d?socket=/x").host == "shop.example", "a certificate's name"


def test_the_mode_is_as_strict_as_the_files_allow(tls: tuple[Path, Path]) -> None:
    authority, key = tls
    pair = f"ssl-cert={authority}&ssl-key={key}"
    modes = {
        "": "PREFERRED",
        "?ssl-mode=Disabled": "DISABLED",
        f"?ssl-ca={authority}": "VERIFY_IDENTITY",
        f"?ssl-ca={authority}&ssl-mode=verify_ca": "VERIFY_CA",
        f"?{pair}": "REQUIRED",
        f"?{pair}&ssl-ca={authority}": "VERIFY_IDENTITY",
    }
    assert {options: Address.parse(f"mysql://u:p@h/d{options}").ssl_mode for options in modes} == modes


def test_every_mistake_of_a_url_is_named_at_once(tls: tuple[Path, Path]) -> None:
    with pytest.raises(SourceUrlError) as caught:
        Address.parse(
            "mysql://:hunter2@h:0/?sslmode=1&socket=&ssl-mode=on&ssl-ca=no.pem&ssl-cert=/&ssl-key=x&ssl-key=y"
        )
    for mistake in (
        "its port is no number from 1 to 65535",
        "no user, no database",
        "unknown options sslmode (known are socket, ssl-mode,",
        "socket names no file",
        "ssl-mode is none of DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY",
        "no.pem', which ssl-ca names",
        "no file '/', which ssl-cert names",
        "ssl-key stands in it 2 times",
    ):
        assert mistake in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_options_that_would_be_passed_over_are_refused(tls: tuple[Path, Path], tmp_path: Path) -> None:
    """A certificate that is not looked at would look like safety."""
    authority, key = tls
    other, other_key = certificate(tmp_path, "h")
    locked = tmp_path / "locked.pem"
    private = serialization.load_pem_private_key(other_key.read_bytes(), None)
    locked.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"phrase"),
        )
    )
    for options, mistake in {
        "ssl-mode=VERIFY_CA": "ssl-mode=VERIFY_CA needs ssl-ca",
        "ssl-mode=VERIFY_IDENTITY": "ssl-mode=VERIFY_IDENTITY needs ssl-ca",
        f"ssl-mode=REQUIRED&ssl-ca={authority}": "ssl-mode=REQUIRED looks at no certificate",
        f"ssl-mode=DISABLED&ssl-ca={authority}": "ssl-mode=DISABLED looks at no certificate",
        f"ssl-cert={authority}": "ssl-cert needs ssl-key",
        f"ssl-key={key}": "ssl-key needs ssl-cert",
        f"ssl-cert={authority}&ssl-key={key}&ssl-mode=PREFERRED": "ssl-mode=PREFERRED shows no certificate",
        f"ssl-cert={authority}&ssl-key={key}&ssl-mode=DISABLED": "ssl-mode=DISABLED shows no certificate",
        f"ssl-cert={authority}&ssl-key={other_key}": "do not belong together",
        f"ssl-cert={other}&ssl-key={locked}": "in PEM, without a passphrase",
        f"ssl-ca={key}": "which ssl-ca names, holds no certificate in PEM",
    }.items():
        with pytest.raises(SourceUrlError) as caught:
            Address.parse(f"mysql://u:p@h/d?{options}")
        assert mistake in str(caught.value)
