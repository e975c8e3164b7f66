"""Serve the same model with LitServe, for `benchmarks/serve.py`: with its defaults, or with `--max-batch`."""

import argparse
import sys
from pathlib import Path
from typing import Annotated

import litserve
import torch
from fastapi import Depends, Request

import tinynets as tn

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from images import read_json, read_png

READERS = {"image/png": read_png, "application/json": read_json}
WAIT = 0.002  # seconds for a batch to fill; with 0, LitServe's worker never sleeps


async def raw(request: Request) -> tuple[str, bytes]:
    return request.headers["content-type"], await request.body()


class Classifier(litserve.LitAPI):
    def __init__(self, weights: Path, *, max_batch: int) -> None:
        super().__init__(max_batch_size=max_batch, batch_timeout=WAIT if max_batch > 1 else 0)
        self.weights = weights

    def setup(self, device: str) -> None:
        self.model = tn.load(self.weights).eval()

    def decode_request(self, request: Annotated[tuple, Depends(raw)]) -> torch.Tensor:
        content_type, body = request
        return READERS[content_type](body)

    def predict(self, x: torch.Tensor) -> list:
        images = x if x.ndim == 4 else x[None]
        with torch.inference_mode():
            probabilities = self.model(images).softmax(dim=1).tolist()
        return probabilities if x.ndim == 4 else probabilities[0]

    def encode_response(self, output: list) -> dict:
        return {"label": output.index(max(output)), "probabilities": output}


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--model", type=Path)
    options.add_argument("--port", type=int)
    options.add_argument("--max-batch", type=int, default=1)
    chosen = options.parse_args()
    server = litserve.LitServer(
        Classifier(chosen.model, max_batch=chosen.max_batch), accelerator="cpu", fast_queue=True
    )
    server.run(
        host="127.0.0.1",
        port=chosen.port,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
