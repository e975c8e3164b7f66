"""What `tinynets.Module` adds around the contract: direct calls, declared tensors, misspelt axes."""

import copy
import functools
import pickle
import warnings
from typing import Any
from unittest import mock

import pytest
import torch
from jaxtyping import AnnotationError, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import tinynets as tn
from tinynets._contract.annotations.axis_names import similar_name


class Scale(tn.Module):
    """A module with a declared parameter, buffer and plain tensor."""

    width: int
    weight: Float[Tensor, "width 2"]
    offset: Float[Tensor, "width"]
    index: Int[Tensor, "..."] | None

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.ones(width, 2))
        self.register_buffer("offset", torch.zeros(width))
        self.index = None

    def forward(self, x: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch width"]:
        return x @ self.weight.T + self.offset


class TestDeclaredTensors:
    def test_are_checked_when_they_are_set(self) -> None:
        scale = Scale()
        with pytest.raises(tn.ShapeError, match=r"Scale.weight: axis 0 is 4, expected width = 3"):
            scale.weight = nn.Parameter(torch.ones(4, 2))
        with pytest.raises(tn.ShapeError, match=r"Scale.offset: 2 axes, expected 1"):
            scale.offset = torch.ones(3, 3)
        with pytest.raises(tn.ShapeError, match="expected width = 3"):
            scale.register_buffer("offset", torch.ones(4))
        with pytest.raises(tn.ShapeError, match="expected width = 3"):
            scale.register_parameter("weight", nn.Parameter(torch.ones(4, 2)))
        with pytest.raises(tn.DtypeError, match="float32, expected a signed integer dtype"):
            scale.index = torch.ones(1)
        assert scale.weight.shape == (3, 2)  # nothing has been set
        scale.index = torch.ones(1).long()
        assert scale(torch.ones(4, 2)).shape == (4, 3)

    def test_may_be_set_freely_with_checks_off(self) -> None:
        scale = Scale()
        with tn.checks(False):
            scale.offset = torch.ones(9)

    def test_an_annotation_that_cannot_be_resolved_is_refused(self) -> None:
        with pytest.raises(AnnotationError, match="Net.weight: .*'Flaot'"):

            class Net(tn.Module):
                weight: "Flaot[Tensor, 'n']"  # type: ignore[name-defined]


class TestDirectForward:
    def test_warns_at_the_call_site(self) -> None:
        scale = Scale()
        with pytest.warns(
            tn.DirectForwardWarning, match=r"Scale.forward\(...\) was called directly"
        ) as warned:
            scale.forward(torch.ones(1, 2))
        assert warned[0].filename == __file__

    def test_once_per_call_site(self) -> None:
        scale = Scale()
        with warnings.catch_warnings(record=True) as warned:
            warnings.resetwarnings()
            for _ in range(3):
                scale.forward(torch.ones(1, 2))
            scale.forward(torch.ones(1, 2))
        assert len(warned) == 2

    @pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch.func.jvp's own
    @pytest.mark.slow
    def test_never_from_torch_super_transforms_or_own_methods(self) -> None:
        class Child(Scale):
            def forward(self, x: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch width"]:
                return super().forward(x)

            def again(self, x: Tensor) -> Tensor:
                return self.forward(x)

        child = Child()
        x = torch.ones(4, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("error", tn.DirectForwardWarning)
            child(x)
            child.again(x)
            nn.Sequential(child)(x)
            torch.func.functional_call(child, dict(child.named_parameters()), (x,))
            torch.vmap(child.forward)(x[:, None])
            torch.func.jvp(child.forward, (x,), (x,))
            checkpoint(child.forward, x.requires_grad_(), use_reentrant=False)
            with torch.no_grad():
                child.register_forward_hook(lambda *_: None)
                child(x)

    @pytest.mark.parametrize("how", ["wrapper", "mock", "partial"])
    def test_never_through_what_was_assigned_to_forward(self, how: str) -> None:
        scale = Scale()
        inner = scale.forward
        replacements: dict[str, Any] = {
            "wrapper": lambda *args: inner(*args),
            "mock": mock.Mock(wraps=inner),
            "partial": functools.partial(inner),
        }
        scale.forward = replacements[how]  # type: ignore[method-assign]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert scale(torch.ones(1, 2)).shape == (1, 3)
        with pytest.raises(tn.ShapeError):
            scale(torch.ones(1, 3))
        with pytest.warns(tn.DirectForwardWarning):
            scale.forward(torch.ones(1, 2))

    def test_a_direct_call_of_another_module_inside_a_call_warns(self) -> None:
        class Outer(tn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.scale = Scale()

            def forward(self, x: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 3"]:
                return self.scale.forward(x)

        with pytest.warns(tn.DirectForwardWarning, match="Scale.forward"):
            Outer()(torch.ones(1, 2))


class TestMisspeltAxes:
    def test_a_name_used_once_that_resembles_another_is_reported(self) -> None:
        with pytest.warns(
            UserWarning, match="axis 'bacth' is used only once, so it checks nothing; did you mean 'batch'"
        ):

            class Net(tn.Module):
                def forward(self, x: Float[Tensor, "batch 3"]) -> Float[Tensor, "bacth 3"]:
                    return x

    def test_also_for_module_axes(self) -> None:
        with pytest.warns(UserWarning, match="'num_clases' .* did you mean 'num_classes'"):

            class Net(tn.Module):
                num_classes: int

                def forward(self, x: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch num_clases"]:
                    return x

    def test_no_alarm_for_names_that_differ(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")

            class Net(tn.Module):
                def forward(
                    self,
                    x: Float[Tensor, "batch channels height width"],
                    y: Float[Tensor, "hidden1 hidden2 n m"],
                ) -> Float[Tensor, "batch weight head heads"]:
                    return x


class TestCopies:
    def test_a_class_that_cloudpickle_copies_by_value(self) -> None:
        cloudpickle = pytest.importorskip(
            "cloudpickle", reason="comes with joblib, a dependency of the examples"
        )

        class Local(tn.Module):
            def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
                return x

        copied = pickle.loads(cloudpickle.dumps(Local()))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert copied(torch.ones(2)).shape == (2,)
        with pytest.raises(tn.ShapeError):
            copied(torch.ones(2, 2))
        with tn.checks(False):
            copied(torch.ones(2, 2))

    def test_pickle_deepcopy_and_errors_survive(self) -> None:
        scale = Scale()
        for copied in (copy.deepcopy(scale), pickle.loads(pickle.dumps(scale))):
            assert copied(torch.ones(1, 2)).shape == (1, 3)
            with pytest.raises(tn.ShapeError) as caught:
                copied(torch.ones(1, 3))
            error = pickle.loads(pickle.dumps(caught.value))
            assert type(error) is tn.ShapeError
            assert str(error) == str(caught.value)
            assert vars(error) == vars(caught.value)
            assert (error.where, error.axis, error.expected, error.got) == (
                "x",
                1,
                "float [batch 2]",
                "float32 [1 3]",
            )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("bacth", "batch"),
        ("btch", "batch"),
        ("baatch", "batch"),
        ("bitch", "batch"),
        ("hiden", "hidden"),
        ("chanels", "channels"),
        ("num_clases", "num_classes"),
        ("seqence", "sequence"),
        ("heigth", "height"),
        ("lenght", "length"),
        ("seperate_heads", "separate_heads"),
        ("num_sampels", "num_samples"),
    ],
)
def test_one_slip_in_one_word_is_a_misspelling(name: str, meant: str) -> None:
    assert similar_name(name, {meant, "in_features"}) == meant


# Names that stand side by side in one function: in TransformerLens, nerfstudio, alphafold3-pytorch, and here.
SIDE_BY_SIDE = """
d_head n_heads d_model d_mlp d_vocab head heads head_index ldim rdim mdim q_pos k_pos query_pos key_pos kv_pos pos
num_rays num_samples num_bins bins bin coarse_samples fine_samples num_cameras in_dim out_dim samples sampled
atom atoms pair pairs dimi dimo single_dim pairwise_dim query_len key_len source_len target_len row rows cols
in_channels out_channels in_features out_features embed_dim hidden_dim hidden1 hidden2 points inputs state stage
batch patch height weight width encoder decoder token tokens step steps time times key keys value values output outputs
"""


@pytest.mark.parametrize("name", SIDE_BY_SIDE.split())
def test_two_real_names_are_not(name: str) -> None:
    assert similar_name(name, {*SIDE_BY_SIDE.split()} - {name}) is None
