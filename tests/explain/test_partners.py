"""Other libraries' models: how each is explained, and that torch counts the same. Run where they are installed."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import tinynets as tn

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TORCHVISION = [
    "alexnet",
    "vgg11_bn",
    "resnet50",
    "densenet121",
    "squeezenet1_1",
    "mobilenet_v3_small",
    "shufflenet_v2_x1_0",
    "mnasnet1_0",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
    "vit_b_16",
    "swin_t",
    "maxvit_t",
]
TIMM = [
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "mixer_s16_224",
    "convmixer_768_32",
    "resnetv2_50",
    "efficientnetv2_s",
    "levit_128",
    "cait_xxs24_224",
    "xcit_nano_12_p16_224",
    "beit_base_patch16_224",
    "mobilevit_xs",
    "poolformer_s12",
    "gmlp_s16_224",
    "edgenext_xx_small",
    "coatnet_0_rw_224",
    "nfnet_l0",
    "res2net50_26w_4s",
    "tiny_vit_5m_224",
    "davit_tiny",
]
REASON = "the partner libraries are not installed here"


def check(model: nn.Module, *inputs: object) -> None:
    run = tn.explain(model.eval(), *inputs).run
    assert (run.method, run.error, run.tied) == ("symbolic", "", ())
    assert run.parameters == sum(parameter.numel() for parameter in model.parameters())
    shape = run.frame.arguments[0].sizes
    with torch.device("meta"):
        images = torch.empty(shape)
    with FlopCounterMode(display=False) as counter:
        model.to("meta")(images)
    assert run.macs.value == counter.get_total_flops() // 2


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name: str) -> None:
    models = pytest.importorskip("torchvision.models", reason=REASON)
    check(models.get_model(name, weights=None), "batch=2 3 224 224")


@pytest.mark.parametrize("name", TIMM)
def test_timm(name: str) -> None:
    timm = pytest.importorskip("timm", reason=REASON)
    check(timm.create_model(name), "batch=2 3 224 224")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_torchvision_with_more_outputs(name: str) -> None:
    models = pytest.importorskip("torchvision.models", reason=REASON)
    size = 299 if name == "inception_v3" else 224
    check(models.get_model(name, weights=None, init_weights=False), f"batch=2 3 {size} {size}")


@pytest.mark.parametrize("name", ["deeplabv3_resnet50", "lraspp_mobilenet_v3_large"])
def test_segmentation(name: str) -> None:
    models = pytest.importorskip("torchvision.models", reason=REASON)
    check(models.get_model(name, weights=None, weights_backbone=None), "batch=2 3 224 224")


def test_video_and_flow() -> None:
    models = pytest.importorskip("torchvision.models", reason=REASON)
    check(models.get_model("r3d_18", weights=None), "batch=2 3 16 112 112")
    flow = models.get_model("raft_small", weights=None).eval()
    run = tn.explain(flow, "batch 3 128 128", "batch 3 128 128").run
    assert (run.method, run.error) == ("symbolic", "")


@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_resnet50_fpn"])
def test_detectors_need_values(name: str) -> None:
    models = pytest.importorskip("torchvision.models", reason=REASON)
    model = models.get_model(name, weights=None, weights_backbone=None).eval()
    run = tn.explain(model, [torch.rand(3, 320, 320)]).run
    assert (run.method, run.error) == ("real", "")
    assert run.reason
