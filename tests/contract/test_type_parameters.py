"""Functions, classes and aliases with type parameters (Python 3.12)."""

import sys
from pathlib import Path
from typing import Any

import pytest
from torch import ones

import tinynets as tn

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of Python 3.12")

TEXT = """
import tinynets as tn
from jaxtyping import Float
from torch import Tensor

type Images = Float[Tensor, "n 3"]
type Pair[T] = tuple[T, T]
type Named[A, B] = dict[B, A] | tuple[Images, A]
type Quoted = "Float[Tensor, 'n 3']"


class Net[W](tn.Module):
    def forward[K, *Ts, **P](self, x: Images, k: K, w: W | None = None) -> tuple[K, Images]:
        y: Float[Tensor, "n 3"] = x
        z: K = k
        return z, y

    def lines[K: Tensor](self, x: K) -> Images:
        return x

    def bound[K: Float[Tensor, "n 3"]](self, x: K) -> K:
        return x

    def pair(self, x: Pair[Images]) -> None:
        self.x = x

    def named(self, x: Named[int, str]) -> None:
        self.x = x

    def quoted(self, x: Quoted) -> None:
        self.x = x

    def own[K](self, x: Images) -> "Net[K]":
        super().train()
        return self if K.__name__ == "K" and isinstance(self, Net) else None


@tn.contract
def f[K: (int, str)](x: Float[Tensor, "n"], k: K) -> K:
    def inner[J](j: J) -> J:
        return j

    return inner(k)
"""


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_type_parameters(future: str, tmp_path: Path) -> None:
    path = tmp_path / "parameters.py"
    path.write_text(future + TEXT)
    module: dict[str, Any] = {"__name__": "parameters"}
    exec(compile(path.read_text(), str(path), "exec"), module)
    net, good, bad = module["Net"](), ones(2, 3), ones(2, 4)
    assert net(good, 1)[0] == 1
    assert net.own(good) is net
    assert module["f"](ones(2), 3) == 3
    net.pair((good, good))
    net.named({"a": 1})
    net.named((good, 1))
    refused: list[tuple[Any, Any]] = [(net.pair, (good, bad)), (net.named, (bad, 1)), (net.named, {1: 1})]
    refused += [(call, bad) for call in (net.lines, net.bound, net.quoted, net.own)]
    for call, value in refused:
        with pytest.raises(tn.ContractError, match=rf"Net.{call.__name__}|Net returned"):
            call(value)
    with pytest.raises(tn.ShapeError):
        net(bad, 1)
    with pytest.raises(tn.ContractError, match=r"f\(k\): got 2.5, expected int or str"):
        module["f"](ones(2), 2.5)
