"""The two perceptrons compute exactly what the plain layers compute, and are built as their docs say."""

from __future__ import annotations

import ast
import copy
import inspect
import io
import itertools
import pickle
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import tinynets as tn

MODELS = pytest.mark.parametrize("model_class", [tn.TinyVisionMLP, tn.CifarMLP])
Model = tn.TinyVisionMLP | tn.CifarMLP


def plain(model: Model) -> nn.Sequential:
    """Build the lesson's plain module around the very parameters of `model`."""
    if isinstance(model, tn.TinyVisionMLP):
        layers = [model.fc1, nn.ReLU(), nn.Dropout(model.dropout), model.fc2]
    else:
        hidden = [
            model.fc1,
            nn.ReLU(),
            nn.Dropout(model.dropout),
            model.fc2,
            nn.ReLU(),
            nn.Dropout(model.dropout),
        ]
        layers = [*hidden, model.fc3]
    return nn.Sequential(nn.Flatten(), *layers).train(model.training)


def images(model: Model, batch: int = 5) -> Tensor:
    shape = (1, 28, 28) if isinstance(model, tn.TinyVisionMLP) else (3, 32, 32)
    return torch.rand(batch, *shape, generator=torch.Generator().manual_seed(batch))


def gradients(module: nn.Module, inputs: Tensor) -> list[Tensor]:
    torch.manual_seed(7)
    loss = F.cross_entropy(module(inputs), torch.arange(len(inputs)))
    return list(torch.autograd.grad(loss, list(module.parameters())))


def weights(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.state_dict())


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    assert weights(first).keys() == weights(second).keys()
    for name, value in weights(first).items():
        assert torch.equal(value, weights(second)[name]), name


def test_parameter_counts() -> None:
    assert sum(parameter.numel() for parameter in tn.TinyVisionMLP().parameters()) == 203_530
    assert sum(parameter.numel() for parameter in tn.CifarMLP().parameters()) == 1_707_274


def test_state_dict_keys() -> None:
    assert [*weights(tn.TinyVisionMLP())] == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert [*weights(tn.CifarMLP())] == [f"fc{n}.{kind}" for n in (1, 2, 3) for kind in ("weight", "bias")]


@MODELS
@pytest.mark.parametrize("batch", [1, 5, 10])
def test_computes_what_the_plain_layers_compute(model_class: type[Model], batch: int) -> None:
    model = model_class(dropout=0.3).eval()
    assert torch.equal(model(images(model, batch)), plain(model)(images(model, batch)))
    model.train()
    torch.manual_seed(3)
    ours = model(images(model, batch))
    torch.manual_seed(3)
    assert torch.equal(ours, plain(model)(images(model, batch)))


@MODELS
@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_those_of_the_plain_layers(model_class: type[Model], training: bool) -> None:
    model = model_class().train(training)
    ours, theirs = gradients(model, images(model)), gradients(plain(model), images(model))
    assert all(gradient.abs().sum() > 0 for gradient in ours), "every parameter takes part"
    for our_gradient, their_gradient in zip(ours, theirs, strict=True):
        assert torch.equal(our_gradient, their_gradient)


@MODELS
def test_an_empty_batch_gives_no_logits(model_class: type[Model]) -> None:
    model = model_class()
    assert model(images(model)[:0]).shape == (0, 10)


@MODELS
@pytest.mark.parametrize(
    ("argument", "value", "allowed"),
    [
        *[("num_classes", value, "an int of at least 1") for value in (0, -1, 2.0, True, "10", None)],
        *[("hidden", value, "an int of at least 1") for value in (0, -256, 256.0, True, "256", None)],
        *[
            ("dropout", value, "a number in [0, 1)")
            for value in (1.5, 1, -0.1, float("nan"), True, "0.1", None)
        ],
    ],
)
def test_an_argument_out_of_range_is_refused_by_name(
    model_class: type[Model], argument: str, value: Any, allowed: str
) -> None:
    if argument == "hidden" and model_class is tn.CifarMLP:
        argument = "hidden2"
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared whole
        model_class(**{argument: value})
    assert str(caught.value) == f"{argument} must be {allowed}, got {value!r}"


def test_the_first_hidden_layer_is_validated_as_well() -> None:
    with pytest.raises(ValueError, match="hidden1 must be an int of at least 1, got 0"):
        tn.CifarMLP(hidden1=0)


@MODELS
def test_construction_is_keyword_only(model_class: Any) -> None:
    with pytest.raises(TypeError, match="positional"):
        model_class(256)


@MODELS
def test_an_unknown_argument_is_refused(model_class: Any) -> None:
    with pytest.raises(TypeError, match="num_clases"):
        model_class(num_clases=3)


@MODELS
@pytest.mark.parametrize("dropout", [0, 0.0, 0.999])
def test_the_ends_of_the_dropout_range(model_class: type[Model], dropout: float) -> None:
    model = model_class(dropout=dropout).train()
    assert model(images(model)).isfinite().all()


@MODELS
def test_one_class_and_one_hidden_unit_are_enough(model_class: type[Model]) -> None:
    hidden = {"hidden": 1} if model_class is tn.TinyVisionMLP else {"hidden1": 1, "hidden2": 1}
    model = model_class(num_classes=1, **hidden)
    assert model(images(model)).shape == (5, 1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@MODELS
def test_a_generator_reproduces_the_weights(model_class: type[Model]) -> None:
    assert_same_weights(model_class(generator=seeded(1)), model_class(generator=seeded(1)))
    assert not torch.equal(
        model_class(generator=seeded(1)).fc1.weight, model_class(generator=seeded(2)).fc1.weight
    )


@MODELS
def test_a_generator_leaves_the_global_random_state_alone(model_class: type[Model]) -> None:
    before = torch.get_rng_state()
    model_class(generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), before)


@MODELS
def test_a_manual_seed_gives_the_weights_of_plain_layers(model_class: type[Model]) -> None:
    sizes = [784, 256, 10] if model_class is tn.TinyVisionMLP else [3072, 512, 256, 10]
    torch.manual_seed(5)
    model = model_class()
    after_ours = torch.get_rng_state()
    torch.manual_seed(5)
    layers = nn.Sequential(*(nn.Linear(*pair) for pair in itertools.pairwise(sizes)))
    assert torch.equal(after_ours, torch.get_rng_state())
    for ours, theirs in zip(model.parameters(), layers.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@MODELS
def test_the_backbone_does_not_depend_on_the_number_of_classes(model_class: type[Model]) -> None:
    ten, three = model_class(generator=seeded(1)), model_class(num_classes=3, generator=seeded(1))
    backbone = [
        name for name in weights(ten) if ten.state_dict()[name].shape == three.state_dict()[name].shape
    ]
    assert backbone == [*weights(ten)][:-2]
    assert all(torch.equal(weights(ten)[name], weights(three)[name]) for name in backbone)


def through_pickle(model: Model) -> Model:
    return pickle.loads(pickle.dumps(model))


def through_torch_save(model: Model) -> Model:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@MODELS
@pytest.mark.parametrize("copied", [through_pickle, through_torch_save, copy.deepcopy, copy.copy])
def test_copies_compute_the_same_and_stay_enforced(model_class: type[Model], copied: Any) -> None:
    model = model_class(num_classes=3).eval()
    twin = copied(model)
    assert type(twin) is type(model)
    assert not twin.training
    assert_same_weights(model, twin)
    assert torch.equal(model(images(model)), twin(images(model)))
    with pytest.raises(tn.ShapeError):
        twin(images(model).permute(0, 2, 3, 1))


@MODELS
def test_a_deep_copy_is_independent(model_class: type[Model]) -> None:
    model = model_class()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.fc1.weight.zero_()
    assert model.fc1.weight.abs().sum() > 0


class Transformed(TensorDataset):
    """Runs a model in the worker, as a data set with a learned transform does."""

    def __init__(self, model: Model, *tensors: Tensor) -> None:
        super().__init__(*tensors)
        self.model = model.eval().requires_grad_(False)

    def __getitem__(self, index: int) -> Tensor:
        (image,) = super().__getitem__(index)
        return self.model(image.unsqueeze(0)).squeeze(0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12 and later
@pytest.mark.parametrize(
    ("model_class", "start"), [(tn.TinyVisionMLP, "fork"), (tn.CifarMLP, "fork"), (tn.CifarMLP, "spawn")]
)
def test_feeds_on_and_runs_in_data_loader_workers(
    model_class: type[Model], start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1])  # where a spawned worker finds this file
    model = model_class().eval()
    inputs = images(model, 8)
    workers = 2 if start == "fork" else 1  # a spawned one imports torch
    options = {"batch_size": 4, "num_workers": workers, "multiprocessing_context": start}
    batches = DataLoader(TensorDataset(inputs), **options)
    with torch.no_grad():
        fed = torch.cat([model(batch) for (batch,) in batches])
    in_workers = DataLoader(Transformed(model, inputs), **options)
    torch.testing.assert_close(torch.cat(list(in_workers)), fed)


@MODELS
def test_forward_and_forward_features_are_the_same_lines(model_class: type[Model]) -> None:
    def body(method: Any) -> list[str]:
        function = ast.parse(textwrap.dedent(inspect.getsource(method))).body[0]
        assert isinstance(function, ast.FunctionDef)
        return [ast.unparse(statement) for statement in function.body[1:]]  # without the docstring

    *lines, head, _ = body(model_class.forward)
    *features, last = body(model_class.forward_features)
    assert lines == features
    assert f"({last.removeprefix('return ')})" in head
