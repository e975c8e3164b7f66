"""The weights that come with the package, for `pretrained="mnist5k"`, and the errors for other names, other
arguments, or models without weights, which say whose weights fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint import read_checkpoint, rebuild
from .base import ImageClassifier

WEIGHTS = Path(__file__).parent / "weights"


def list_weights() -> dict[str, list[str]]:
    """Map each name of the zoo that has weights to the names of the weights."""
    found: dict[str, list[str]] = {}
    for path in sorted(WEIGHTS.glob("*-*.safetensors")):
        name, _, weights = path.stem.rpartition("-")
        found.setdefault(name, []).append(weights)
    return found


def load_pretrained(
    name: str, cls: type[ImageClassifier], weights: object, config: Mapping[str, object]
) -> ImageClassifier:
    """Rebuild a model from the weights that come with the package, in eval mode.

    Raises:
        ValueError: there are no such weights, or they belong to a model with other arguments than `config`.
    """
    if weights not in list_weights().get(name, []):
        raise ValueError(_what_there_is(name, cls, weights))
    model = rebuild(cls, read_checkpoint(WEIGHTS / f"{name}-{weights}.safetensors"))
    for option, value in config.items():
        if option == "generator":
            raise ValueError(f"{name} with pretrained={weights!r} draws no weights: leave generator out")
        has = getattr(model, option)
        if value != has:
            remedy = "; model.reset_head(num_classes) gives it another head" * (option == "num_classes")
            raise ValueError(
                f"{name} with pretrained={weights!r} has {option}={has!r}, not {value!r}{remedy}"
            )
    return model


def _what_there_is(name: str, cls: type[ImageClassifier], weights: object) -> str:
    there_is = list_weights()
    if name in there_is:
        return f"{name} has no weights {weights!r}: it has {', '.join(map(repr, there_is[name]))}"
    all_of = "; ".join(f"{other} has {', '.join(map(repr, names))}" for other, names in there_is.items())
    converters: list[str] = []
    for attribute in dir(cls):
        if attribute.startswith("from_"):
            converter: Any = getattr(cls, attribute)
            takes = (converter.__doc__ or "").partition("\n")[0].removeprefix("Build the model from ")
            converters.append(f"{cls.__name__}.{attribute}(state_dict) takes {takes or 'those of others'}")
    others = " ".join(converters) or f"Nobody else's fit {cls.__name__} either."
    return f"{name} comes without weights, so pretrained={weights!r} cannot be ({all_of}). {others}"
