"""What the server answers, and what it says where it cannot start."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import tinynets as tn
from tinynets.checkpoint import Normalization

from ..conftest import EXAMPLES
from .client import JPEG, JSON, PNG, ask, detail, jpeg, pixels, png, probabilities, running


@pytest.mark.parametrize("content_type", [PNG, JSON, "Application/JSON; charset=utf-8"])
def test_the_answer_is_that_of_the_model_alone(port: int, model: tn.Module, content_type: str) -> None:
    digit = pixels(28, 28)
    image = (digit.float() / 255)[None]
    body = png(digit) if content_type == PNG else json.dumps({"image": image.tolist()}).encode()
    status, answer = ask(port, content_type, body)
    assert status == 200
    [expected] = probabilities(model, image[None])
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert answer["label"] == expected.index(max(expected))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_has_nearly_the_pixels_that_it_was_made_of(serve: ModuleType, progressive: bool) -> None:
    smooth = torch.linspace(0, 255, 28 * 28 * 3).reshape(28, 28, 3).to(torch.uint8)
    found = serve.read_jpeg(jpeg(smooth, "RGB", progressive=progressive))
    assert found.shape == (3, 28, 28)
    assert (found - smooth.permute(2, 0, 1) / 255).abs().max() < 0.03
    digit = serve.read_jpeg(jpeg(smooth[..., 0], progressive=progressive))
    assert digit.shape == (1, 28, 28)


def test_a_jpeg_is_answered(port: int, model: tn.Module, serve: ModuleType) -> None:
    body = jpeg(pixels(28, 28))
    status, answer = ask(port, JPEG, body)
    [expected] = probabilities(model, serve.read_jpeg(body)[None])
    assert status == 200
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-6)


def test_health(port: int) -> None:
    healthy = {"status": "ok", "model": "TinyVisionMLP", "in_flight": 0}
    assert ask(port, "", b"", "/health") == (200, healthy)


def test_colours_go_to_a_model_for_colours(serve: ModuleType) -> None:
    model = tn.CifarMLP(hidden1=8, hidden2=8)
    photo = pixels(32, 32, 3)
    with running(serve.application(model)) as (_, port):
        status, answer = ask(port, PNG, png(photo, "RGB"))
    [expected] = probabilities(model, (photo.permute(2, 0, 1).float() / 255)[None])
    assert status == 200
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-6)


def test_the_normalisation_of_the_weights_is_applied(serve: ModuleType, tmp_path: Path) -> None:
    model = tn.CifarMLP(hidden1=8, hidden2=8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    model.normalization = Normalization(mean, std)
    model.save(tmp_path / "weights.safetensors")
    photo = pixels(32, 32, 3)
    with running(serve.application(tn.load(tmp_path / "weights.safetensors"))) as (_, port):
        _, answer = ask(port, PNG, png(photo, "RGB"))
        grey = detail(port, PNG, png(pixels(32, 32)))
    assert grey.startswith("CifarMLP(images): axis 1 is 1, expected 3\n"), (
        "three means would make three channels"
    )
    image = photo.permute(2, 0, 1).float() / 255
    plain = probabilities(model, image[None])[0]
    [expected] = probabilities(
        model, ((image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])[None]
    )
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert answer["probabilities"] != pytest.approx(plain, abs=1e-3)


def test_a_file_that_is_no_model_is_one_clear_line(serve: ModuleType, tmp_path: Path, capsys) -> None:
    path = tmp_path / "weights.safetensors"
    assert serve.main(["--model", str(path)]) == 1
    assert capsys.readouterr().err == f"error: no file at {path}\n"
    path.write_bytes(b"garbage")
    assert serve.main(["--model", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {path} is no whole safetensors file: ")


@pytest.mark.parametrize(
    "option", ["--max-batch=0", "--max-wait=-1", "--max-wait=nan", "--port=70000", "--port=-1"]
)
def test_an_option_out_of_range_is_refused(serve: ModuleType, capsys, option: str) -> None:
    with pytest.raises(SystemExit) as stop:
        serve.main([option])
    assert stop.value.code == 2
    text = "error: --max-batch must be at least 1, --max-wait in [0, 60] and --port in [0, 65535]\n"
    assert capsys.readouterr().err.endswith(text)


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "httptools", "orjson", "PIL"])
def test_a_missing_package_is_named_with_the_remedy(paths, monkeypatch, package: str) -> None:
    # Not httptools for another package: after a second import it raises errors that uvicorn does not know.
    for name in list(sys.modules):
        if name.split(".")[0] in (package, "batcher", "connection", "images") or f"{package}_impl" in name:
            monkeypatch.delitem(sys.modules, name)

    class Missing:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == package:
                raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(sys, "meta_path", [Missing, *sys.meta_path])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(EXAMPLES / "serve.py"), run_name="__main__")
    assert stop.value.code == f"error: {package} is not installed: pip install 'tinynets[serve]'"


@pytest.mark.slow
def test_an_answer_that_is_no_number_is_an_error(serve: ModuleType, caplog) -> None:
    model = tn.TinyVisionMLP(hidden=8)
    with torch.no_grad():
        model.fc1.bias[0] = torch.nan
    with running(serve.application(model)) as (_, port):
        assert ask(port, PNG, png(pixels(28, 28))) == (500, b"Internal Server Error")
    assert "ArithmeticError: TinyVisionMLP answered [nan, nan, " in caplog.text


@pytest.mark.parametrize("path", ["/", "/predict"])  # the second takes POST only
def test_another_address_is_refused_in_json(port: int, path: str) -> None:
    assert ask(port, "", b"", path) in [
        (404, {"detail": "Not Found"}),
        (405, {"detail": "Method Not Allowed"}),
    ]
