"""The login of MySQL 8, as the protocol has it, for tests: no MySQL 8 can be installed from Debian's packages or PyPI.

It stands in for a server only as far as caching_sha2_password goes: the handshake, with TLS or without, the fast path
of a password that the server has cached, and the full one, where the password comes over TLS or encrypted with the
server's RSA key. Every command after the login is answered with OK.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import struct
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

OK = b"\x00\x00\x00\x02\x00\x00\x00"
DENIED = b"\xff" + struct.pack("<H", 1045) + b"#28000Access denied for user 'shop'@'localhost' (using password: YES)"
FAST, FULL, ASKS_FOR_KEY = b"\x01\x03", b"\x01\x04", b"\x02"
PLUGIN = b"caching_sha2_password"
SSL = 0x800
CAPABILITIES = 0x1 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000 | 0x200000
"""Passwords and databases, protocol 4.1 with secure logins, plugins and their data; SSL only with a certificate."""


class MySQL8Login:
    """A server of one user, `shop`; a context manager. `log` tells what each login went through."""

    def __init__(
        self, password: str, *, cached: bool = False, tls: tuple[Path, Path] | None = None, switched: bool = False
    ) -> None:
        """`cached`: it knows the password's hash, as after an earlier login. `switched`: it asks for another plugin
        first, as a server does whose default is mysql_native_password."""
        self._password, self._cached, self._switched = password.encode(), cached, switched
        self._context = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*tls)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.log: list[str] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with suppress(OSError, EOFError), client:
                self._login(client)

    def _login(self, client: socket.socket) -> None:
        salt = bytes(byte % 127 + 1 for byte in os.urandom(20))
        capabilities = CAPABILITIES | (SSL if self._context else 0)
        send(client, 0, self._greeting(salt, capabilities))
        number, answer = receive(client)
        if struct.unpack("<I", answer[:4])[0] & SSL and self._context:
            client = self._context.wrap_socket(client, server_side=True)
            self.log.append("tls")
            number, answer = receive(client)
        user, rest = answer[32:].split(b"\0", 1)
        scrambled = rest[1 : 1 + rest[0]]
        if self._switched:
            send(client, number + 1, b"\xfe" + PLUGIN + b"\0" + salt + b"\0")
            number, scrambled = receive(client)
        right = user == b"shop" and scrambled == scramble(self._password, salt)
        if self._cached and right:
            self.log.append("fast")
            send(client, number + 1, FAST)
            number += 1
        else:
            send(client, number + 1, FULL)
            number, password = self._full(client, salt)
            right = user == b"shop" and password == self._password + b"\0"
        send(client, number + 1, OK if right else DENIED)
        while right:
            receive(client)
            send(client, 1, OK)

    def _full(self, client: socket.socket, salt: bytes) -> tuple[int, bytes]:
        number, answer = receive(client)
        if isinstance(client, ssl.SSLSocket):
            self.log.append("full over tls")
            return number, answer
        if answer != ASKS_FOR_KEY:
            self.log.append("the password came as it is")
            return number, b""
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        send(client, number + 1, b"\x01" + public)
        number, answer = receive(client)
        self.log.append("full over rsa")
        oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
        plain = self._key.decrypt(answer, oaep)
        return number, bytes(byte ^ salt[at % len(salt)] for at, byte in enumerate(plain))

    def _greeting(self, salt: bytes, capabilities: int) -> bytes:
        return (
            b"\x0a8.0.0-stand-in\0"
            + struct.pack("<I", 1)
            + (salt[:8] + b"\0")
            + struct.pack("<HBHHB", capabilities & 0xFFFF, 45, 2, capabilities >> 16, 21)
            + (bytes(10) + salt[8:] + b"\0")
            + (b"mysql_native_password" if self._switched else PLUGIN)
            + b"\0"
        )


def scramble(password: bytes, salt: bytes) -> bytes:
    """What proves the password to a server that has cached SHA256(SHA256(password))."""
    once = hashlib.sha256(password).digest()
    mask = hashlib.sha256(hashlib.sha256(once).digest() + salt).digest()
    return bytes(one ^ other for one, other in zip(once, mask, strict=True))


def send(client: socket.socket, number: int, payload: bytes) -> None:
    client.sendall(len(payload).to_bytes(3, "little") + bytes([number]) + payload)


def receive(client: socket.socket) -> tuple[int, bytes]:
    """The number of a packet and what it holds."""
    header = exactly(client, 4)
    return header[3], exactly(client, int.from_bytes(header[:3], "little"))


def exactly(client: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        if not (more := client.recv(size - len(found))):
            raise EOFError
        found += more
    return found
