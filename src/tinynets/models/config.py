"""`model.config`: the constructor arguments of a model as a frozen dataclass that can be printed, compared,
pickled and built.
"""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, make_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from torch import nn

from ..checkpoint import config_of

M_co = TypeVar("M_co", bound=nn.Module, covariant=True)


@dataclass(frozen=True)
class Config(Generic[M_co]):
    """Base of the frozen dataclasses that `model.config` returns, one per class of models.

    The fields are the arguments of the constructor except `generator`; `dataclasses.replace` and `asdict`
    work. Two configs are equal if their classes and all fields are.
    """

    model_class: ClassVar[type[nn.Module]]

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a field, which type checkers cannot know."""

    def build(self) -> M_co:
        """Build a model with these arguments; its initial weights come from the global random state.

        Raises:
            ValueError: an argument is out of range; the message names it.
        """
        return cast(M_co, self.model_class(**asdict(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        # The class is created on demand, so pickle cannot find it by name.
        return _make, (self.model_class, asdict(self))


def config(model: nn.Module) -> Config[Any]:
    """Return the arguments that rebuild a model, which stores each as an attribute of the same name.

    Raises:
        CheckpointError: an argument is not stored.
    """
    return _make(type(model), config_of(model))


def _make(model_class: type[nn.Module], arguments: dict[str, Any]) -> Config[Any]:
    return _config_class(model_class)(**arguments)


@cache
def _config_class(model_class: type[nn.Module]) -> type[Config[Any]]:
    parameters = inspect.signature(model_class).parameters.values()
    fields = [(each.name, each.annotation) for each in parameters if each.name != "generator"]
    return make_dataclass(
        f"{model_class.__name__}Config",
        fields,
        bases=(Config,),
        namespace={"model_class": model_class},
        frozen=True,
        kw_only=True,
    )
