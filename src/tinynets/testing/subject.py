"""`Subject`, the argument of a check: batches of 4 samples, seeded calls, outputs computed once, their batch
axes, other instances, and `assert_close`, which measures again in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import nn

from .._torch.state.random_states import preserved_random_states, seed_everything
from ..errors import Failure, Skip
from ..inputs.arguments import Arguments
from ..inputs.draw import draw, integer_limit
from ..inputs.examples import MakeInputs, made_arguments
from ..inputs.make_inputs import float_dtype
from .measure.compare import FLOAT32_LIMIT, FLOAT64_LIMIT, Difference, Leaf, detached, leaves
from .measure.model_errors import as_skip, raised, set_mode
from .snapshot.snapshot import Snapshot

BATCH = 4
"""Samples in a batch: enough for a first, a last and two between."""


class Subject:
    """The model under test, as a check sees it.

    A check may do anything to `model`: the runner restores it afterwards. The random number generators are
    seeded before each check.

    Args:
        model: the model.
        factory: makes another instance; None if there is only this one.
        example: an example call.
        train_example: an example call in training mode, if that takes other arguments.
        stateful: whether the model is meant to remember earlier calls.
        loss: maps the output for the example to a scalar, for the checks that train.
        supports: ids of the declared capabilities.
        seed: the seed of everything random.
        make_inputs: makes the arguments of a call, instead of drawing them like the example.
        constructor_changes: the global flags that building the model has changed, in words.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Arguments,
        *,
        factory: Callable[[], nn.Module] | None = None,
        train_example: Arguments | None = None,
        stateful: bool = False,
        loss: Callable[[Any], torch.Tensor] | None = None,
        supports: frozenset[str] = frozenset(),
        seed: int = 0,
        make_inputs: MakeInputs | None = None,
        constructor_changes: list[str] | None = None,
    ) -> None:
        self.model = model
        self.factory = factory
        self.example = example
        self.train_example = train_example or example
        self.stateful = stateful
        self.loss = loss
        self.supports = supports
        self.seed = seed
        self.make_inputs = make_inputs
        self.constructor_changes = constructor_changes or []
        self._snapshot = Snapshot(model)
        self._pristine: nn.Module | BaseException
        try:
            self._pristine = copy.deepcopy(model)
        except Exception as error:
            self._pristine = error
        self._float64 = False

    # -- inputs ---------------------------------------------------------------------------------------

    def batch(self, size: int | None = None, seed: int = 0, *, training: bool = False) -> Arguments:
        """Draw arguments for a call: the same for the same size and seed.

        Args:
            size: samples in the batch; None for four, or as many as the example has if the model takes no
                other number.
            seed: another seed draws other values.
            training: whether the call is for training mode.

        Raises:
            Skip: a size is given and the arguments have no batch axis.
        """
        example = self.train_example if training else self.example
        if example.size is None and size is not None:
            raise Skip("the inputs have no batch axis: name one by batch_axes=")
        if size is None and example.size is not None:
            size = self.default_size
        drawn = self._drawn(example, size, self.seed * 1_000_003 + seed)
        return drawn.to(torch.float64) if self._float64 else drawn

    def _drawn(self, example: Arguments, size: int | None, seed: int) -> Arguments:
        generator = torch.Generator().manual_seed(seed)
        if self.make_inputs is not None and example is self.example:
            drawn = made_arguments(self.make_inputs(size or 1, generator), example.axes)
        else:
            drawn = draw(example, size, generator, integer_limit(self.model))
        return drawn.map(lambda tensor: tensor.to("meta")) if self.on_meta else drawn

    @cached_property
    def on_meta(self) -> bool:
        """Whether the model has shapes but no values."""
        return any(tensor.is_meta for tensor in (*self.model.parameters(), *self.model.buffers()))

    @cached_property
    def default_size(self) -> int:
        """Four if the model takes four samples, else as many as the example has."""
        given = self.example.size or BATCH
        for size in (BATCH, given):
            try:
                self.run(self._drawn(self.example, size, self.seed))
            except Failure:
                continue
            return size
        return given

    # -- calls ----------------------------------------------------------------------------------------

    def call(self, arguments: Arguments, model: nn.Module | None = None) -> Any:
        """Call the model in its current mode and the current grad mode.

        Raises:
            Failure: the model raised; the failure says where.
        """
        called = self.model if model is None else model
        try:
            return called(*arguments.args, **arguments.kwargs)
        except Exception as error:
            raise raised(error) from error

    def run(self, arguments: Arguments, *, training: bool = False, model: nn.Module | None = None) -> Any:
        """Call the model in eval or training mode, without gradients.

        The generators are seeded first, so that two calls differ only in what the check changed.
        """
        called = self.model if model is None else model
        set_mode(called, training)
        seed_everything(self.seed)
        with torch.no_grad():
            return self.call(arguments, called)

    def outputs(
        self, arguments: Arguments, *, training: bool = False, model: nn.Module | None = None
    ) -> list[Leaf]:
        """Call the model as `run` does and return clones of the output's tensors."""
        return detached(self.run(arguments, training=training, model=model))

    @cached_property
    def reference(self) -> list[Leaf]:
        """The outputs of `batch()` in eval mode, computed once by the runner. Do not modify them."""
        return self.outputs(self.batch())

    @cached_property
    def output_axes(self) -> tuple[int | None, ...]:
        """The batch axis of every output tensor: the one whose size follows the batch, None if none does.

        Raises:
            Skip: the inputs have no batch axis, or the model takes only one batch size.
        """
        size = self.default_size
        other = size - 1 if size > 1 else 2
        large, small = self.batch(size), self.batch(other)
        with as_skip(f"the model does not take {size} and {other} samples alike: {{}}"):
            ours = leaves(self.run(large))
            if self.stateful:  # its state after the first batch does not fit the second
                self.restore()
            theirs = leaves(self.run(small))
        axes: list[int | None] = []
        for a, b in zip(ours, theirs, strict=False):
            moved = [
                index
                for index, (m, n) in enumerate(zip(a.tensor.shape, b.tensor.shape, strict=False))
                if (m, n) == (size, other)
            ]
            axes.append(moved[0] if moved else None)
        return tuple(axes)

    def batched(self, outputs: list[Leaf]) -> list[tuple[Leaf, int]]:
        """Return the output tensors that have a batch axis, with the axis.

        Raises:
            Skip: no output has a batch axis, so there are no samples to compare.
        """
        pairs = [
            (leaf, axis) for leaf, axis in zip(outputs, self.output_axes, strict=False) if axis is not None
        ]
        if not pairs:
            raise Skip("no output has an axis that follows the batch size")
        return pairs

    def rows(self, outputs: list[Leaf], indices: list[int]) -> list[Leaf]:
        """Return the samples at `indices` of every output that has a batch axis."""
        chosen = torch.tensor(indices)
        return [
            Leaf(leaf.path, leaf.tensor.index_select(axis, chosen)) for leaf, axis in self.batched(outputs)
        ]

    # -- other models ---------------------------------------------------------------------------------

    def fresh(self, seed: int = 0) -> nn.Module:
        """Make another instance with the factory after seeding with `seed`.

        Raises:
            Skip: there is no factory.
        """
        if self.factory is None:
            raise Skip("needs a factory: pass the class, or a function that makes the model")
        with preserved_random_states():
            seed_everything(seed)
            return self.factory()

    def pristine(self) -> nn.Module:
        """Return a copy of the model as it was before the first check.

        Raises:
            Skip: the model cannot be copied.
        """
        if isinstance(self._pristine, BaseException):
            error = self._pristine
            raise Skip(f"the model cannot be copied: deepcopy raises {type(error).__name__}")
        return copy.deepcopy(self._pristine)

    def restore(self) -> None:
        """Restore the initial state of the model."""
        self._snapshot.restore()

    # -- precision ------------------------------------------------------------------------------------

    @contextmanager
    def float64(self) -> Generator[None]:
        """Convert the model, and what `batch` draws, to float64 inside the block."""
        dtype = float_dtype(self.model)
        self.model.double()
        self._float64 = True
        try:
            yield
        finally:
            self._float64 = False
            self.model.to(dtype)
            self.restore()

    def assert_close(
        self,
        measure: Callable[[], Difference | None],
        objection: str | Callable[[Difference], Failure],
        *,
        tolerance: float = FLOAT32_LIMIT,
    ) -> str | None:
        """Check that a difference is within the tolerance or due to rounding; return a note in that case.

        A difference beyond the tolerance is measured again in float64, where rounding stays below 1e-10. So a
        model that is only sensitive causes no false alarm, and a small but real difference is not hidden. If
        the model does not run in float64, float32 rounding is allowed.

        Args:
            measure: draws inputs by `batch`, runs the model and returns the worst difference.
            objection: the message for a real difference, or a function that makes the failure from it; the
                size is added here.
            tolerance: the largest error that counts as rounding.

        Raises:
            Failure: the difference is real.
        """
        found = measure()
        if found is None or found.error <= tolerance:
            return None
        limit = f"limit {tolerance:.0e}" if tolerance else "limit 0"
        try:
            with self.float64():
                exact = measure()
        except (Failure, Skip):
            if found.error <= FLOAT32_LIMIT:
                return f"rounding: {found.error:.1e} in float32, and it does not run in float64"
            limit += "; it does not run in float64, where rounding could be told apart"
        else:
            if exact is None or exact.error <= FLOAT64_LIMIT:
                return f"rounding: {found.error:.1e} in float32, below {FLOAT64_LIMIT:.0e} in float64"
            limit += f"; {exact.error:.1e} in float64, so it is no rounding"
        failure = Failure(objection, where=found.where) if isinstance(objection, str) else objection(found)
        failure.size = f"{found.error:.1e} of the largest value ({limit})"
        raise failure

    close = assert_close
    """The name of `assert_close` in 0.1."""
