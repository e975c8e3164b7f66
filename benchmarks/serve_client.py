"""Clients of a server: any number of connections in one thread, and a check of every answer.

An answer is wrong if its status is not 200, its label is not the most probable class of the model alone, or
a probability differs by more than 1e-5 from that of the model alone, called on this image in one thread.
Exact equality is not required: the summation order of a matrix product depends on the batch size.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import selectors
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

import tinynets as tn

TOLERANCE = 1e-5


class Question(NamedTuple):
    """A request body, and the probabilities that the model alone gives for its image."""

    content_type: str
    body: bytes
    truth: list[float]

    @property
    def request(self) -> bytes:
        head = f"Host: x\r\nContent-Type: {self.content_type}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        return f"POST /predict HTTP/1.1\r\n{head}".encode() + self.body


class Answer(NamedTuple):
    question: Question
    status: int
    body: bytes
    seconds: float


@dataclass(frozen=True)
class Load:
    """The measurements of the clients."""

    answers: list[Answer]
    seconds: float
    client_seconds: float  # CPU time

    @property
    def throughput(self) -> float:
        return len(self.answers) / self.seconds

    def wrong(self) -> list[Answer]:
        return [answer for answer in self.answers if difference(answer) > TOLERANCE]

    def percentile(self, percent: int) -> float:
        """Return a percentile of the latencies in milliseconds."""
        return 1e3 * statistics.quantiles([answer.seconds for answer in self.answers], n=100)[percent - 1]


class Client:
    """One keep-alive connection that sends one request at a time."""

    def __init__(self, port: int, *, seconds: float) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, question: Question) -> None:
        self.question, self.received = question, b""
        self.began = time.perf_counter()
        self.socket.sendall(question.request)

    def answer(self) -> Answer | None:
        """Read the available data, and return the answer if it is complete."""
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the server closed a connection before it had answered")
        self.received += part
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return None
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if length is None:
            raise ConnectionError(f"the server does not say how long its answer is: {head!r}")
        if len(body) < int(length[1]):
            return None
        return Answer(self.question, int(head[9:12]), body, time.perf_counter() - self.began)


def load(port: int, asked: Sequence[Question], *, clients: int, requests: int, seconds: float) -> Load:
    """Connect clients and let them send requests until all are answered or the time is over."""
    with connected(port, clients=clients, seconds=seconds) as group:
        return ask(group, asked, requests=requests, seconds=seconds)


@contextmanager
def connected(port: int, *, clients: int, seconds: float) -> Iterator[list[Client]]:
    with ExitStack() as sockets:
        group = [Client(port, seconds=seconds) for _ in range(clients)]
        for client in group:
            sockets.enter_context(client.socket)
        yield group


def ask(clients: Sequence[Client], asked: Sequence[Question], *, requests: int, seconds: float) -> Load:
    """Let clients send requests until all are answered or time is over; answers may take as long again."""
    questions = itertools.islice(itertools.cycle(asked), requests)
    answers: list[Answer] = []
    processor, start = time.process_time(), time.perf_counter()
    with selectors.DefaultSelector() as waiting:

        def next_question(client: Client) -> None:
            question = next(questions, None) if time.perf_counter() - start < seconds else None
            if question is None:
                waiting.unregister(client.socket)
            else:
                client.ask(question)

        for client in clients:
            waiting.register(client.socket, selectors.EVENT_READ, client)
            next_question(client)
        while waiting.get_map():
            ready = waiting.select(timeout=seconds)
            if not ready:
                raise TimeoutError(f"{len(waiting.get_map())} clients had no answer for {seconds} s")
            for key, _ in ready:
                if (answer := key.data.answer()) is not None:
                    answers.append(answer)
                    next_question(key.data)
    return Load(answers, time.perf_counter() - start, time.process_time() - processor)


def difference(answer: Answer) -> float:
    """Return the largest error of a probability; infinity for an error status or a wrong label."""
    if answer.status != 200:
        return float("inf")
    given, truth = json.loads(answer.body), answer.question.truth
    if given["label"] != truth.index(max(truth)) or len(given["probabilities"]) != len(truth):
        return float("inf")
    return max(abs(ours - true) for ours, true in zip(given["probabilities"], truth, strict=True))


def questions(model: nn.Module, number: int) -> list[Question]:
    """Return requests with random images, every other one as PNG; answers differ, so mix-ups are detected."""
    pixels = torch.randint(
        256, (number, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    images = (pixels.float() / 255).unsqueeze(1)
    with tn.inference(model):
        truths = torch.cat([model(image[None]).softmax(dim=1) for image in images])
    apart = torch.cdist(truths, truths, p=torch.inf).fill_diagonal_(1).min().item()
    if apart <= 2 * TOLERANCE:
        raise SystemExit(f"two images have answers only {apart:.1g} apart: a mix-up would not be seen")
    bodies = [png(image) if odd else as_json(image) for odd, image in zip(itertools.cycle((0, 1)), pixels)]
    return [Question(*body, truth) for body, truth in zip(bodies, truths.tolist(), strict=True)]


def png(pixels: Tensor) -> tuple[str, bytes]:
    file = io.BytesIO()
    Image.frombytes("L", (28, 28), bytes(pixels.flatten().tolist())).save(file, "PNG")
    return "image/png", file.getvalue()


def as_json(pixels: Tensor) -> tuple[str, bytes]:
    return "application/json", json.dumps({"image": (pixels.float() / 255)[None].tolist()}).encode()
