"""What could not be enforced is refused or told when it is defined."""

from collections.abc import Iterator
from typing import Any

import pytest
from jaxtyping import AnnotationError, Float
from torch import Tensor, ones

import tinynets as tn


class TestRefusedWhenDefined:
    """What could not be enforced is an error of definition that says what to write instead."""

    def test_names_that_do_not_exist_at_run_time(self) -> None:
        with pytest.raises(
            AnnotationError, match=r"(?s)f, line \d+: .*'Nowhere', which does not exist at run time"
        ):

            @tn.contract
            def f(x: Float[Tensor, "n"]) -> Tensor:
                y: Nowhere = x  # type: ignore[name-defined]
                return y

    def test_an_alias_inside_the_function(self) -> None:
        with pytest.raises(AnnotationError, match="outside of `if TYPE_CHECKING` and of the function itself"):

            @tn.contract
            def f(x: Float[Tensor, "n"]) -> Tensor:
                Local = Float[Tensor, "n"]
                y: Local = x  # type: ignore[valid-type]
                return y

    def test_inner_functions_with_tensor_annotations(self) -> None:
        with pytest.raises(AnnotationError, match="inner function 'inner' would not be enforced"):

            @tn.contract
            def f(x: Float[Tensor, "n"]) -> Tensor:
                def inner(y: Float[Tensor, "n"]) -> Tensor:
                    return y

                return inner(x)

    def test_decorated_inner_functions_are_enforced(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "n"]) -> Tensor:
            @tn.contract
            def inner(y: Float[Tensor, "m 2"]) -> Tensor:
                return y + x.sum()

            return inner(x)

        with pytest.raises(tn.ShapeError, match=r"inner\(y\): 1 axis, expected 2"):
            f(ones(2))

    def test_hints_that_would_have_to_be_consumed_or_called(self) -> None:
        with pytest.raises(AnnotationError, match=r"write list\[...\] or Sequence\[...\]"):

            @tn.contract
            def f(x: Iterator[Float[Tensor, "n"]]) -> None: ...

    def test_axes_that_nothing_binds(self) -> None:
        with pytest.raises(AnnotationError, match="is computed from 'm', which is no axis of this function"):

            @tn.contract
            def f(x: Float[Tensor, "n"]) -> Float[Tensor, "2*m"]:
                return x

    def test_walrus_on_a_declared_name(self) -> None:
        with pytest.raises(AnnotationError, match="assigned by `:=`; assign it on its own line"):

            @tn.contract
            def f(x: Float[Tensor, "n"]) -> Tensor:
                y: Float[Tensor, "n"]
                if (y := x[1:]).sum() > 0:
                    return y
                return x

    def test_an_axis_computed_before_it_is_bound_says_so(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "n"], early: bool) -> Tensor:
            if not early:
                y: Float[Tensor, "m"] = x
                return y
            z: Float[Tensor, "2*m"] = x
            return z

        with pytest.raises(AnnotationError, match=r"'2\*m' is computed from 'm', which no tensor has bound"):
            f(ones(2), True)


class TestWithoutSource:
    def test_arguments_and_return_are_enforced_and_it_warns_once(self) -> None:
        namespace: dict[str, Any] = {"Float": Float, "Tensor": Tensor}
        exec(
            'def f(x: Float[Tensor, "n"], *, bad=False) -> Float[Tensor, "n"]:\n    return x[1:] if bad else x',
            namespace,
        )
        with pytest.warns(
            UserWarning, match="f: no usable source .* annotated lines are not enforced"
        ) as warned:
            f = tn.contract(namespace["f"])
        assert len(warned) == 1
        assert f(ones(2)).shape == (2,)
        with pytest.raises(tn.ShapeError, match=r"f\(x\)"):
            f(ones(2, 2))
        with pytest.raises(tn.ShapeError, match="f returned"):
            f(ones(2), bad=True)

    def test_a_file_edited_after_import_is_not_trusted(self, tmp_path: Any) -> None:
        path = tmp_path / "edited.py"
        before = 'def f(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:\n    return x + 1\n'
        path.write_text(before)
        namespace: dict[str, Any] = {"Float": Float, "Tensor": Tensor}
        exec(compile(before, str(path), "exec"), namespace)
        path.write_text(before.replace("+ 1", "- 1"))
        with pytest.warns(UserWarning, match="changed after it was imported"):
            f = tn.contract(namespace["f"])
        assert f(ones(1)).item() == 2
