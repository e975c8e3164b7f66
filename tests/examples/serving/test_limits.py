"""Heads and bodies beyond the limits, and clients that leave or close their half."""

from __future__ import annotations

import json
import logging
import socket
import time
from contextlib import suppress
from types import ModuleType

import pytest

from .client import JSON, PNG, WHOLE, ask, detail, received


def raw(port: int, *lines: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall("\r\n".join((*lines, "Host: x", "Content-Type: image/png", "", "")).encode())
    return connection


def flood(connection: socket.socket, piece: bytes) -> int:
    """Send until the server has enough; gives how many bytes that took."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    sent = 0
    with suppress(BrokenPipeError, ConnectionResetError):
        while sent < 2**30:
            connection.sendall(piece)
            sent += len(piece)
    return sent


ENOUGH = 2**25  # bytes: what lies in the buffers of two sockets, but not more
POST = "POST /predict HTTP/1.1"
LENGTH = f"Content-Length: {len(WHOLE)}"


def test_a_body_too_large_is_refused_before_it_is_sent(port: int) -> None:
    with raw(port, POST, "Content-Length: 262145") as connection:
        answer = connection.makefile("rb").read()  # to the end: the server closes
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b'{"detail":"the body may have 262,144 bytes"}')


def test_100_mb_are_refused_and_not_read(port: int) -> None:
    with raw(port, POST, f"Content-Length: {100 * 2**20}") as connection:
        assert flood(connection, bytes(32768)) < ENOUGH
    assert ask(port, PNG, WHOLE)[0] == 200


def test_a_body_without_end_is_refused_at_the_limit(port: int) -> None:
    with raw(port, POST, "Transfer-Encoding: chunked") as connection:
        assert flood(connection, b"8000\r\n" + bytes(32768) + b"\r\n") < ENOUGH
    assert ask(port, PNG, WHOLE)[0] == 200


@pytest.mark.parametrize("begun", [b"", b"0\r\n"], ids=["head", "trailers"])
def test_a_head_without_end_is_refused_at_the_limit(port: int, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n")
        if begun:
            connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n" + begun)
        assert (
            flood(connection, b"".join(b"X-%d: %s\r\n" % (n, bytes(b"x" * 100)) for n in range(300))) < ENOUGH
        )
    assert ask(port, PNG, WHOLE)[0] == 200


def test_a_head_too_large_is_told_so(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nX: " + b"x" * 65536)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\nThe head of a request may have 65,536 bytes.")


@pytest.mark.parametrize("begun", [b"", b"GET /health HTTP/1.1\r\nX: "], ids=["nothing", "half a head"])
def test_a_head_that_does_not_come_is_given_up(port: int, monkeypatch, begun: bytes) -> None:
    monkeypatch.setattr("connection.HEAD_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(begun)
        assert connection.recv(1) == b""


def test_blank_lines_keep_no_connection_alive(port: int, monkeypatch) -> None:
    monkeypatch.setattr("connection.HEAD_SECONDS", 0.2)
    with raw(port, "GET /health HTTP/1.1") as connection:
        assert received(connection)[0] == 200
        began = time.perf_counter()
        with suppress(ConnectionError):
            while time.perf_counter() < began + 10:
                connection.sendall(b"\r\n")
                time.sleep(0.02)
        assert time.perf_counter() < began + 5


def test_a_connection_in_use_outlives_the_time_for_a_head(port: int, monkeypatch) -> None:
    monkeypatch.setattr("connection.HEAD_SECONDS", 0.8)  # shorter than either loop, and long for a pause
    with raw(port, POST, LENGTH) as connection:
        for start in range(0, len(WHOLE), 100):  # slow, but it comes
            connection.sendall(WHOLE[start : start + 100])
            time.sleep(0.1)
        assert received(connection)[0] == 200
        for _ in range(10):
            time.sleep(0.1)
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert received(connection)[0] == 200


def test_a_client_that_closes_its_half_is_answered(port: int) -> None:
    with raw(port, POST, LENGTH) as connection:
        connection.sendall(WHOLE)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    head, body = answer.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body) == ask(port, PNG, WHOLE)[1]


def test_requests_in_a_pipeline_are_all_answered_before_the_end(port: int) -> None:
    request = f"{POST}\r\nHost: x\r\nContent-Type: {PNG}\r\n{LENGTH}\r\n\r\n".encode() + WHOLE
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request * 3)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert answer.count(b"HTTP/1.1 200 ") == 3


def test_a_client_that_closes_its_half_too_early_is_let_go(port: int) -> None:
    with raw(port, POST, LENGTH) as connection:
        connection.sendall(WHOLE[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").read() == b""


def test_the_largest_body_is_read(port: int) -> None:
    body = b'{"image": []}'
    assert detail(port, JSON, body + b" " * (256 * 1024 - len(body))).startswith("TinyVisionMLP(images): ")
    assert ask(port, JSON, body + b" " * (256 * 1024 + 1 - len(body)))[0] == 413


def test_a_body_that_trickles_is_given_up(serve: ModuleType, port: int, monkeypatch) -> None:
    monkeypatch.setattr(serve, "BODY_SECONDS", 0.1)
    with raw(port, POST, "Content-Length: 100") as connection:
        connection.sendall(b"x")
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 408 ")


def test_a_client_that_leaves_is_no_error(port: int, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        with raw(port, POST, "Content-Length: 100") as connection:
            connection.sendall(b"x")
        for _ in range(3):
            assert ask(port, PNG, WHOLE)[0] == 200
    assert not caplog.records
