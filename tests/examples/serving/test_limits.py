"""Bodies beyond the limits, and clients that leave."""

from __future__ import annotations

import logging
import socket
from types import ModuleType

from .client import JSON, PNG, WHOLE, ask, detail


def raw(port: int, *lines: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall("\r\n".join((*lines, "Host: x", "Content-Type: image/png", "", "")).encode())
    return connection


def test_a_body_too_large_is_refused_before_it_is_sent(port: int) -> None:
    with raw(port, "POST /predict HTTP/1.1", "Content-Length: 262145") as connection:
        answer = connection.makefile("rb").read()  # to the end: the server closes
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b'{"detail":"the body may have 262,144 bytes"}')


def test_a_body_without_end_is_refused_at_the_limit(port: int) -> None:
    sent = 0
    with raw(port, "POST /predict HTTP/1.1", "Transfer-Encoding: chunked") as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        try:
            while sent < 2**30:
                connection.sendall(b"8000\r\n" + b"x" * 32768 + b"\r\n")
                sent += 32768
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 2**25, "what lies in the buffers of two sockets, but not more"
    assert ask(port, PNG, WHOLE)[0] == 200


def test_the_largest_body_is_read(port: int) -> None:
    body = b'{"image": []}'
    assert detail(port, JSON, body + b" " * (256 * 1024 - len(body))).startswith("TinyVisionMLP(images): ")
    assert ask(port, JSON, body + b" " * (256 * 1024 + 1 - len(body)))[0] == 413


def test_a_body_that_trickles_is_given_up(serve: ModuleType, port: int, monkeypatch) -> None:
    monkeypatch.setattr(serve, "BODY_SECONDS", 0.1)
    with raw(port, "POST /predict HTTP/1.1", "Content-Length: 100") as connection:
        connection.sendall(b"x")
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 408 ")


def test_a_client_that_leaves_is_no_error(port: int, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        with raw(port, "POST /predict HTTP/1.1", "Content-Length: 100") as connection:
            connection.sendall(b"x")
        for _ in range(3):
            assert ask(port, PNG, WHOLE)[0] == 200
    assert not caplog.records
