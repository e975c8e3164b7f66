"""Damaged, absurd and contested weight files: each gives the model that was saved, or one line at once."""

from __future__ import annotations

import contextlib
import copy
import json
import multiprocessing
import os
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tinynets as tn
from tinynets import checkpoint
from tinynets.models import ConvMixer
from tinynets.models.registry import MODELS

from ..zoo_names import SWEPT, shallow
from .test_weight_files import same
from .weight_file_edits import read, sign, write

CLASSES = {
    MODELS[name].class_name: name
    for name in reversed(SWEPT)
    if name not in ("vgg16_cifar", "resnet18_cifar")  # large files, and no argument that others do not have
}


def load_or_refuse(path: Path) -> tn.Module | None:
    """Load a file, or check how it is refused: one error of ours, one line, at once."""
    start = time.process_time()
    loaded, message = None, ""
    try:
        loaded = tn.load(path)
    except tn.CheckpointError as error:
        message = str(error)
    assert time.process_time() - start < 10  # what is not bounded takes minutes
    assert "\n" not in message
    assert "frame #" not in message
    assert len(message) < 700
    return loaded


# Absurd configs, in files that are signed and whose other parts fit; with `TINYNETS_HOSTILE=1`, all of them.

WHOLE = os.environ.get("TINYNETS_HOSTILE") == "1"

NUMBERS = [0, -1, 1.5, True, "4", None, [], {}, 7, 600_002, 2**31, 2**63, 10**11, 10**40, 10**400, 1e308]


def absurd_configs(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Replace each argument of a model in turn, and all sizes at once."""
    sizes = {argument: 10**6 for argument, value in config.items() if type(value) is int}
    return [
        {**config, **sizes},
        *(
            {**config, argument: value}
            for argument in config
            for value in NUMBERS
            if value != config[argument]
        ),
    ]


@pytest.mark.slow
def test_an_absurd_config_is_refused_at_once(tmp_path: Path):
    tried = 0
    for name in CLASSES.values():
        path = tmp_path / name
        model = shallow(name)()
        model.save(path)
        header, body = read(path)
        for config in absurd_configs(dict(vars(model.config)))[:: 1 if WHOLE else 3]:
            header["__metadata__"]["config"] = json.dumps(config)
            write(path, sign(header, body), body)
            loaded = load_or_refuse(path)
            # A dropout rate of 0, say, and the weights of the file.
            assert loaded is None or (same_weights(loaded, model) and dict(vars(loaded.config)) == config)
            tried += 1
    assert tried >= (600 if WHOLE else 250)


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return list(first) == list(second) and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    "depth", [600_002, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (10**11, 10**30))]
)
@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("resnet20", "depth"),
        ("wrn_16_4", "depth"),
        ("densenet_bc_100_12", "depth"),
        ("convmixer_256_8", "depth"),
        ("mlp_mixer", "depth"),
        ("simple_vit", "depth"),
        ("cct_7_3x1", "num_convs"),
    ],
)
def test_depth_is_bounded_by_the_tensors_of_the_file(tmp_path: Path, name: str, argument: str, depth: int):
    path = tmp_path / name
    tn.create_model(name).save(path)
    header, body = read(path)
    config = json.loads(header["__metadata__"]["config"])
    # The nearest depth that the class accepts: 6n+2, 6n+4.
    config[argument] = depth + (config[argument] - depth) % 6 if argument == "depth" else depth
    header["__metadata__"]["config"] = json.dumps(config)
    write(path, sign(header, body), body)
    with pytest.raises(tn.CheckpointError, match="cannot be built: (it would have more than|image_size)"):
        tn.load(path)
    assert load_or_refuse(path) is None


@pytest.mark.slow
def test_a_class_of_your_own_is_bounded_too(tmp_path: Path):
    class Deep(tn.Module):
        def __init__(self, *, depth: int = 2) -> None:
            super().__init__()
            self.depth = depth
            self.layers = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(depth)))

    path = tmp_path / "deep"
    checkpoint.save(Deep(depth=500), path)
    assert Deep.load(path).depth == 500
    header, body = read(path)
    header["__metadata__"]["config"] = '{"depth": 100000000000}'
    write(path, sign(header, body), body)
    with pytest.raises(tn.CheckpointError, match="it would have more than 2500 tensors"):
        Deep.load(path)


@pytest.mark.slow
def test_a_header_is_bounded_before_it_is_parsed(lenet: Path):
    header, body = read(lenet)
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [len(body), len(body)]}
    header |= {f"empty{i}": empty for i in range(60_000)}
    write(lenet, header, body)
    with pytest.raises(tn.CheckpointError, match=r"a header of \d+ bytes, where at most 4194304 are read"):
        tn.load(lenet)
    assert load_or_refuse(lenet) is None


# Mutated files.


def small(path: Path) -> tn.Module:
    """Save a model with floats, ints and a normalisation, in few bytes, so that headers are hit often."""
    model = ConvMixer(
        channels=4, depth=1, kernel_size=3, in_channels=1, generator=torch.Generator().manual_seed(0)
    )
    model.normalization = tn.Normalization((0.13,), (0.31,))
    model.save(path)
    return model.eval()


def flip(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def overwrite(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content))
    content[start : start + 16] = chance.randbytes(16)


def truncate(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def remove(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content))
    del content[start : start + chance.randrange(1, 32)]


def insert(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content))
    content[start:start] = chance.randbytes(chance.randrange(1, 32))


def swap(content: bytearray, chance: random.Random) -> None:
    first, second = (chance.randrange(len(content) - 8) for _ in range(2))
    content[first : first + 8], content[second : second + 8] = (
        content[second : second + 8],
        content[first : first + 8],
    )


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [
    flip,
    overwrite,
    truncate,
    remove,
    insert,
    swap,
]


def test_a_mutated_file_gives_the_model_or_one_line(tmp_path: Path):
    path = tmp_path / "model"
    model = small(path)
    whole = path.read_bytes()
    chance = random.Random(0)
    refused = 0
    for number in range(1000):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 1, 1, 3))):
            if len(content) > 16:
                MUTATIONS[number % len(MUTATIONS)](content, chance)
        path.write_bytes(content)
        loaded = load_or_refuse(path)
        assert loaded is None or same(loaded, model), f"mutation {number} is loaded in silence"
        refused += loaded is None
    assert refused > 950


@pytest.mark.slow
def test_a_file_that_is_mutated_and_signed_gives_its_own_weights_or_one_line(tmp_path: Path):
    path = tmp_path / "model"
    small(path)
    whole, body = read(path)
    texts = ["", "0", "null", "[]", "x" * 10_000, "\ud800\n", "1" * 5000, '{"a": 1}', "[1]"]
    values: list[Any] = [None, 0, -1, 2**70, 1.5, "F32", [], [0], [-4, 4], {}, [[1]], ["1", 2], 10**300]
    chance = random.Random(0)
    refused = 0
    for _ in range(1000):
        header = copy.deepcopy(whole)
        name = chance.choice(list(header))
        if chance.random() < 0.1:
            header[chance.choice((name, "stranger"))] = chance.choice(values)
        elif name == "__metadata__" or chance.random() < 0.3:
            key = chance.choice(list(header["__metadata__"]))
            header["__metadata__"][key] = chance.choice([*texts, *values])
        else:
            header[name][chance.choice(("dtype", "shape", "data_offsets"))] = chance.choice(values)
        with contextlib.suppress(TypeError, ValueError, AttributeError):  # no metadata left to sign
            header = sign(header, body)
        write(path, header, body)
        with warnings.catch_warnings(
            action="ignore"
        ):  # a file without digest may have become one of format 1
            loaded = load_or_refuse(path)
        refused += loaded is None
    assert refused > 800


# Eight processes and one path.


def save_and_load(path: Path, mine: int) -> set[int]:
    """Save one model and load whichever is there, again and again; return whose were found."""
    models: list[tn.Module] = []
    for seed in range(8):
        model = tn.models.LeNet5(generator=torch.Generator().manual_seed(seed))
        model.normalization = tn.Normalization((float(seed),), (1.0,))
        models.append(model)
    seen: set[int] = set()
    for _ in range(25):
        models[mine].save(path)
        loaded: Any = tn.load(path)
        seed = round(loaded.normalization.mean[0])
        assert same_weights(loaded, models[seed])
        seen.add(seed)
    return seen


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12 and later
def test_eight_processes_save_to_one_path(tmp_path: Path):
    path = tmp_path / "model"
    with multiprocessing.get_context("fork").Pool(8) as pool:
        seen = pool.starmap(save_and_load, [(path, seed) for seed in range(8)], chunksize=1)
    assert set().union(*seen) == set(range(8))
    assert any(len(seeds) > 1 for seeds in seen), "no process has read the file of another"
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert load_or_refuse(path) is not None
