"""Small models of public packages, whose annotations the import hook enforces, and a call of each."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

# The model, and the call that is measured.
Called = tuple[nn.Module, Callable[[], Any]]


def transformer_lens() -> Called:
    """Return a transformer of two layers with all its hook points; small, so that checks dominate."""
    lens = importlib.import_module("transformer_lens")
    config = lens.HookedTransformerConfig(
        n_layers=2, d_model=64, n_ctx=64, d_head=16, n_heads=4, d_mlp=256, d_vocab=100,
        act_fn="gelu", device="cpu", default_prepend_bos=False, seed=0,
    )  # fmt: skip
    model, tokens = lens.HookedTransformer(config).eval(), torch.arange(16)[None]
    return model, lambda: model(tokens)


def ray_samples(rays: int, samples: int) -> Any:
    """Return samples along rays through a box of nerfstudio."""
    module = importlib.import_module("nerfstudio.cameras.rays")
    torch.manual_seed(0)
    steps = torch.linspace(0.1, 1, samples + 1).expand(rays, -1)[..., None]
    directions = nn.functional.normalize(torch.randn(rays, 1, 3), dim=-1).expand(-1, samples, -1)
    frustums = module.Frustums(
        origins=torch.rand(rays, 1, 3).expand(-1, samples, -1),
        directions=directions,
        starts=steps[:, :-1],
        ends=steps[:, 1:],
        pixel_area=torch.full((rays, samples, 1), 1e-4),
    )
    return module.RaySamples(
        frustums=frustums, camera_indices=torch.zeros(rays, samples, 1, dtype=torch.long)
    )


def vanilla_field() -> Called:
    """Return the field of nerfstudio's vanilla-nerf at its own sizes, and 16 samples of 16 rays."""
    encodings = importlib.import_module("nerfstudio.field_components.encodings")
    field = importlib.import_module("nerfstudio.fields.vanilla_nerf_field")
    samples = ray_samples(16, 16)
    model = field.NeRFField(
        position_encoding=encodings.NeRFEncoding(
            in_dim=3, num_frequencies=10, min_freq_exp=0.0, max_freq_exp=8.0, include_input=True
        ),
        direction_encoding=encodings.NeRFEncoding(
            in_dim=3, num_frequencies=4, min_freq_exp=0.0, max_freq_exp=4.0, include_input=True
        ),
    ).eval()
    return model, lambda: model(samples)


def nerfacto_field() -> Called:
    """Return the field of nerfacto in plain torch, at its own sizes, and 16 samples of 16 rays."""
    field = importlib.import_module("nerfstudio.fields.nerfacto_field")
    samples = ray_samples(16, 16)
    box = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])
    model = field.NerfactoField(box, num_images=10, implementation="torch").eval()
    return model, lambda: model(samples)


def alphafold3() -> Called:
    """Return the model in alphafold3-pytorch's README, with width 8 and one block each, and its input."""
    package = importlib.import_module("alphafold3_pytorch")
    utilities = importlib.import_module("alphafold3_pytorch.utils.model_utils")
    torch.manual_seed(0)
    one = {"depth": 1}
    model = package.Alphafold3(
        dim_atom_inputs=77, dim_template_feats=108, dim_atom=8, dim_atompair=8, dim_input_embedder_token=8,
        dim_single=8, dim_pairwise=8, dim_token=8,
        confidence_head_kwargs={"pairformer_depth": 1},
        template_embedder_kwargs={"pairformer_stack_depth": 1},
        msa_module_kwargs={**one, "dim_msa": 8},
        pairformer_stack={**one, "pair_bias_attn_dim_head": 4, "pair_bias_attn_heads": 2},
        diffusion_module_kwargs={
            "atom_encoder_depth": 1, "token_transformer_depth": 1, "atom_decoder_depth": 1,
        },
    ).eval()  # fmt: skip
    tokens = 16
    lengths = torch.full((2, tokens), 2)
    atoms = int(lengths.sum(-1).amax())
    inputs = {
        "num_recycling_steps": 1,
        "num_sample_steps": 2,
        "atom_inputs": torch.randn(2, atoms, 77),
        "atompair_inputs": torch.randn(2, atoms, atoms, 5),
        "molecule_ids": torch.randint(0, 32, (2, tokens)),
        "molecule_atom_lens": lengths,
        "molecule_atom_indices": utilities.exclusive_cumsum(lengths),
        "additional_molecule_feats": torch.randint(0, 2, (2, tokens, 5)),
        "additional_msa_feats": torch.randn(2, 7, tokens, 2),
        "additional_token_feats": torch.randn(2, tokens, 33),
        "is_molecule_types": torch.randint(0, 2, (2, tokens, 5)).bool(),
        "is_molecule_mod": torch.randint(0, 2, (2, tokens, 4)).bool(),
        "msa": torch.randn(2, 7, tokens, 32),
        "msa_mask": torch.ones(2, 7).bool(),
        "templates": torch.randn(2, 2, tokens, tokens, 108),
        "template_mask": torch.ones(2, 2).bool(),
    }
    return model, lambda: model(**inputs)


# By name: the package, and the function that builds the model.
MODELS: dict[str, tuple[str, Callable[[], Called]]] = {
    "transformer_lens": ("transformer_lens", transformer_lens),
    "nerfstudio, vanilla-nerf": ("nerfstudio", vanilla_field),
    "nerfstudio, nerfacto": ("nerfstudio", nerfacto_field),
    "alphafold3_pytorch": ("alphafold3_pytorch", alphafold3),
}
