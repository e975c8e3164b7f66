"""Clients that do everything wrong but for the request, or everything right but for it, many at once.

Each kind of client is a function that has one exchange with the server and raises `AssertionError` if the server
did anything but the right thing.
"""

from __future__ import annotations

import importlib
import json
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from .client import PNG, pixels, png, received

TAKEN = 2**25  # bytes that lie in the buffers of two sockets: more, and the server has read them
COLOURED = png(pixels(28, 28, 3), "RGB")
CONTRACT = "TinyVisionMLP(images): axis 1 is 3, expected 1\n  expected float   [batch 1 28 28]\n"


class Siege:
    def __init__(self, port: int, asked: list) -> None:
        self.port, self.asked = port, asked
        self.client = importlib.import_module(
            "serve_client"
        )  # of the benchmarks; the fixture `paths` finds it
        self.pngs = [question for question in asked if question.content_type == PNG]

    def run(self, requests: int, *, threads: int = 16) -> Counter[str]:
        """Let every kind of client have its turn until all requests are made; gives what went wrong."""
        kinds = [getattr(self, name) for name in KINDS]
        wrong: Counter[str] = Counter()
        turns = iter(range(requests))
        lock = threading.Lock()

        def attack() -> None:
            while True:
                with lock:
                    turn = next(turns, None)
                if turn is None:
                    return
                kind: Callable[[int], None] = kinds[turn % len(kinds)]
                try:
                    kind(turn)
                except Exception as error:
                    with lock:
                        wrong[f"{kind.__name__}: {type(error).__name__}: {error}"] += 1

        attackers = [threading.Thread(target=attack) for _ in range(threads)]
        for attacker in attackers:
            attacker.start()
        for attacker in attackers:
            attacker.join()
        return wrong

    # What is answered

    def slow(self, turn: int, *, half_way: Callable[[], object] = lambda: None) -> None:
        question = self.asked[turn % len(self.asked)]
        step = len(question.request) // 10 + 1
        with self.connected() as connection:
            for number, start in enumerate(range(0, len(question.request), step)):
                if number == 5:
                    half_way()
                connection.sendall(question.request[start : start + step])
                time.sleep(0.02)
            self.expect(question, connection)

    def half_closed(self, turn: int) -> None:
        question = self.asked[turn % len(self.asked)]
        with self.connected() as connection:
            connection.sendall(question.request)
            connection.shutdown(socket.SHUT_WR)
            self.expect(question, connection)
            assert connection.recv(1) == b"", "the server closes its half, too"

    def bomb_in_a_text(self, turn: int) -> None:
        question = self.pngs[turn % len(self.pngs)]
        bomb = chunk(b"zTXt", b"a\0\0" + BOMB)
        question = question._replace(body=question.body[:33] + bomb + question.body[33:])
        with self.connected() as connection:
            connection.sendall(question.request)
            self.expect(question, connection)

    # What is refused

    def bomb(self, turn: int) -> None:
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))
        body = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", BOMB) + chunk(b"IEND", b"")
        self.expect_refusal(body, "a PNG may have 65,536 pixels, this one has 30000x30000")

    def wrong_shape(self, turn: int) -> None:
        self.expect_refusal(COLOURED, CONTRACT)

    def declares_100_mb(self, turn: int) -> None:
        with self.connected() as connection:
            connection.sendall(self.head(100 * 2**20))
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 413 "), answer

    def sends_100_mb(self, turn: int) -> None:
        sent = 0
        with self.connected() as connection, suppress(BrokenPipeError, ConnectionResetError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            connection.sendall(self.head(100 * 2**20))
            while sent < 100 * 2**20:
                connection.sendall(bytes(65536))
                sent += 65536
        assert sent < TAKEN, f"{sent} bytes were read"

    def no_http(self, turn: int) -> None:
        with self.connected() as connection:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
            assert connection.makefile("rb").read().startswith(b"HTTP/1.1 400 ")

    # What nobody waits for

    def leaves(self, turn: int) -> None:
        request = self.asked[turn % len(self.asked)].request
        with self.connected() as connection:
            connection.sendall(request[: turn * 97 % (len(request) + 1)])
            if turn % 2:  # not politely: the server sees a reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    # How

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def head(self, length: int) -> bytes:
        text = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {PNG}\r\nContent-Length: {length}\r\n\r\n"
        return text.encode()

    def expect(self, question, connection: socket.socket) -> None:
        status, body = received(connection)
        found = self.client.difference(self.client.Answer(question, status, body, 0))
        assert found <= self.client.TOLERANCE, f"{status}, off by {found:.2g}"

    def expect_refusal(self, body: bytes, text: str) -> None:
        with self.connected() as connection:
            connection.sendall(self.head(len(body)) + body)
            status, content = received(connection)
        assert status == 422, status
        assert json.loads(content)["detail"].startswith(text), content


KINDS = (
    "slow",
    "half_closed",
    "bomb_in_a_text",
    "bomb",
    "wrong_shape",
    "declares_100_mb",
    "sends_100_mb",
    "no_http",
    "leaves",
)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


BOMB = zlib.compress(bytes(100_000_000))
