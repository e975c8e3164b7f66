"""Serve with a naive handler, for `benchmarks/serve.py`: every image alone, on the event loop."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI, Request

import tinynets as tn

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from images import read_json, read_png

READERS = {"image/png": read_png, "application/json": read_json}
options = argparse.ArgumentParser()
options.add_argument("--model", type=Path)
options.add_argument("--port", type=int)
chosen = options.parse_args()

model = tn.load(chosen.model).eval()
app = FastAPI()


@app.post("/predict")
async def predict(request: Request):  # with a return type, FastAPI would also validate the answer
    image = READERS[request.headers["content-type"]](await request.body())
    with torch.inference_mode():
        probabilities = model(image[None]).softmax(dim=1)[0].tolist()
    return {"label": probabilities.index(max(probabilities)), "probabilities": probabilities}


uvicorn.run(app, port=chosen.port, access_log=False)
