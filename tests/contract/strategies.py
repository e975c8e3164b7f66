"""Random functions with random annotations, and random values to call them with.

Hypothesis draws the annotations, so that a failure shrinks to a small function. The many calls of one
function come from a seeded `random.Random`: making a function costs milliseconds, calling it microseconds.
"""

from __future__ import annotations

import itertools
import linecache
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

import jaxtyping
import numpy as np
import torch
from hypothesis import strategies as st
from jaxtyping import AbstractDtype
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

NAMES = ("a", "b", "s", "value")  # `s` and `value`: names that generated code is likely to use itself
VARIADIC_NAMES = ("a", "p", "q")  # `*a` is another axis than `a`
MODULE_AXES = {"n": 3, "m": 2}  # declared in the class body; what they are on the instance
ARGUMENT = ("size", 2)  # an int argument that axes read as `{size}`
EXPRESSIONS = (
    "2*{}",
    "{}+1",
    "{}-1",
    "{}//2",
    "{}*{}",
    "{}+{}",
    "2*{}+1",
    "{}**2",
    "max({},2)",
    "{}//{}",
    "({}+{})//2",
    "-{}+4",
)
FAMILIES = tuple(
    name
    for name, family in sorted(vars(jaxtyping).items())
    if isinstance(family, type) and issubclass(family, AbstractDtype) and family is not AbstractDtype
)
DTYPES = tuple(sorted({d for d in vars(torch).values() if isinstance(d, torch.dtype)}, key=str))
COMMON_DTYPES = (
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.int32,
    torch.int64,
    torch.uint8,
    torch.bool,
)


class Tagged(Tensor):
    """A user's subclass of Tensor."""


class OwnArray:
    """An array of another library: it has a shape and a dtype."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype


# Values


@lru_cache(maxsize=50_000)
def tensor(kind: str, dtype: torch.dtype, shape: tuple[int, ...]) -> Any:
    """Make a value of one kind; a plain tensor where torch cannot make that kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of sparse layouts and of some dtypes
        try:
            return _make(kind, dtype, shape)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
            return torch.empty(shape, dtype=dtype, device="meta")


def _make(kind: str, dtype: torch.dtype, shape: tuple[int, ...]) -> Any:
    match kind:
        case "parameter":
            return nn.Parameter(torch.empty(shape, dtype=dtype), requires_grad=False)
        case "subclass":
            return torch.empty(shape, dtype=dtype).as_subclass(Tagged)
        case "meta":
            return torch.empty(shape, dtype=dtype, device="meta")
        case "fake":
            with FakeTensorMode():
                return torch.empty(shape, dtype=dtype)
        case "coo":
            return torch.zeros(shape, dtype=dtype).to_sparse()
        case "csr":
            return torch.zeros(shape, dtype=dtype).to_sparse_csr()
        case "expanded":
            return torch.empty((1,) * len(shape), dtype=dtype).expand(shape)
        case "numpy":
            return np.zeros(shape, dtype=str(dtype).removeprefix("torch."))
        case "own":
            return OwnArray(shape, dtype)
        case "own of numpy":
            return OwnArray(shape, np.dtype(str(dtype).removeprefix("torch.")))
        case "none":
            return None
        case "number":
            return 3
        case _:
            return torch.empty(shape, dtype=dtype)


KINDS = ("plain",) * 12 + ("parameter", "subclass", "meta", "fake", "coo", "csr", "expanded")
ODD_KINDS = ("numpy", "own", "none", "number")
KINDS_OF = {
    "nn.Parameter": ("parameter",),
    "Tagged": ("subclass",),
    "np.ndarray": ("numpy",),
    "OwnArray": ("own", "own of numpy"),
}


@lru_cache(maxsize=200)
def dtypes_of(family: str) -> tuple[torch.dtype, ...]:
    """Return the torch dtypes of a family, most of them common ones; jaxtyping itself decides."""
    annotation = getattr(jaxtyping, family)[Tensor, "..."]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(d for d in DTYPES if isinstance(torch.empty((), dtype=d, device="meta"), annotation))


# Annotations


@dataclass(frozen=True)
class Annotation:
    """A jaxtyping annotation: `family[array, "axes"]`."""

    family: str
    axes: tuple[str, ...]
    array: str = "Tensor"
    inner: tuple[str, ...] | None = None  # `Shaped[Float[Tensor, "inner"], "axes"]`

    def source(self, numbers: dict[str, int]) -> str:
        """Write it, with some axis names replaced by numbers."""
        axes = " ".join(_substitute(token, numbers) for token in self.axes)
        if self.inner is None:
            return f'{self.family}[{self.array}, "{axes}"]'
        inner = " ".join(_substitute(token, numbers) for token in self.inner)
        return f'Shaped[{self.family}[{self.array}, "{inner}"], "{axes}"]'

    @property
    def tokens(self) -> tuple[str, ...]:
        return self.axes + (self.inner or ())


def _substitute(token: str, numbers: dict[str, int]) -> str:
    if not numbers or token.startswith("*"):
        return token
    return re.sub(rf"\b({'|'.join(numbers)})\b", lambda match: str(numbers[match[0]]), token)


def is_expression(token: str) -> bool:
    """Whether the size of an axis is computed."""
    text = token.lstrip("#")
    return not (text.isidentifier() or text.isdigit() or text[0] in "*._" or "=" in text)


def names_read(token: str) -> set[str]:
    """Return the axis names that an expression reads."""
    return set(re.findall(r"[a-z]+", re.sub(r"\{.*?\}", "", token))) - {"max"}


@st.composite
def annotations(draw: st.DrawFn, bound: set[str], module_axes: tuple[str, ...]) -> Annotation:
    """One annotation; the names that it binds are added to `bound`."""
    names = (*NAMES, *module_axes)
    count = draw(st.sampled_from((0, 1, 1, 2, 2, 2, 3, 3, 4)))
    tokens: list[str] = []
    for _ in range(count):
        tokens.append(draw(_tokens(names, bound, module_axes)))
        if tokens[-1].isidentifier() and tokens[-1] in NAMES:
            bound.add(tokens[-1])
    if draw(st.integers(0, 3)) == 0:
        variadic = draw(st.sampled_from(("...", "*_", "*_any", *(f"*{n}" for n in VARIADIC_NAMES))))
        if variadic[1:] in VARIADIC_NAMES and draw(st.booleans()):
            variadic = draw(st.sampled_from(("*#", "#*"))) + variadic[1:]
        tokens.insert(draw(st.integers(0, len(tokens))), variadic)
    family = draw(st.sampled_from(("Float",) * 20 + ("Shaped",) * 8 + FAMILIES))
    array = draw(
        st.sampled_from(("Tensor",) * 12 + ("nn.Parameter", "Tagged", "Any", "np.ndarray", "OwnArray"))
    )
    inner = None
    if draw(st.integers(0, 11)) == 0:
        cut = draw(st.integers(0, len(tokens)))
        tokens, inner = tokens[:cut], tuple(tokens[cut:])
    return Annotation(family, tuple(tokens), array, inner)


@st.composite
def _tokens(draw: st.DrawFn, names: tuple[str, ...], bound: set[str], module_axes: tuple[str, ...]) -> str:
    kind = draw(st.integers(0, 19))
    if kind < 10:
        return draw(st.sampled_from(names))
    if kind < 12:
        return draw(st.sampled_from(("0", "1", "2", "3", "rows=3", "+3")))
    if kind == 12:
        return draw(st.sampled_from(("_", "_any", "_a")))
    if kind == 13:
        return draw(st.sampled_from(("#1", "#2", "#3", "#rows=2")))
    if kind < 16:
        return "#" + draw(st.sampled_from(names))
    readable = sorted(bound) + list(module_axes) + ["{size}"]
    if draw(st.integers(0, 7)) == 0:
        readable = list(names)  # perhaps one that no annotation has bound yet
    form = draw(st.sampled_from(EXPRESSIONS))
    for _ in range(form.count("{}")):
        form = form.replace("{}", draw(st.sampled_from(readable)), 1)
    return draw(st.sampled_from(("", "", "", "#"))) + form


# Functions


@dataclass(frozen=True)
class Statement:
    """Checked lines of a body; each annotation takes one value (a loop takes a list of values)."""

    kind: str  # "declare", "again", "branch" or "loop"
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True)
class Program:
    """A function to be checked: its annotated arguments, lines and return value."""

    arguments: tuple[Annotation, ...]
    body: tuple[Statement, ...]
    returns: Annotation | None
    in_module: bool

    @property
    def module_axes(self) -> tuple[str, ...]:
        return tuple(MODULE_AXES) if self.in_module else ()

    @property
    def places(self) -> list[Annotation]:
        """The annotation of every value that a call takes, in order."""
        found = [*self.arguments]
        for statement in self.body:
            if statement.kind == "again":
                found += statement.annotations * 2
            else:
                found += statement.annotations
        return [*found, self.returns] if self.returns else found

    @property
    def loops(self) -> set[int]:
        """Indices of the places that take a list."""
        index, found = len(self.arguments), set[int]()
        for statement in self.body:
            if statement.kind == "loop":
                found.add(index)
            index += 2 if statement.kind == "again" else len(statement.annotations)
        return found

    def ours(self) -> str:
        """Write it for tinynets."""
        if not self.in_module:
            return "@contract\n" + self._function("f", [], check=None, numbers={})
        method = self._function("forward", ["self"], check=None, numbers={})
        declared = "".join(f"    {name}: int\n" for name in MODULE_AXES)
        return f"class Model(Module):\n{declared}\n" + re.sub("(?m)^", "    ", method)

    def oracle(self) -> str:
        """Write it for jaxtyping and beartype, with the module's axes as numbers."""
        numbers = MODULE_AXES if self.in_module else {}
        return "@jaxtyped(typechecker=beartype)\n" + self._function("f", [], "assert_is", numbers)

    def _function(self, name: str, first: list[str], check: str | None, numbers: dict[str, int]) -> str:
        parameters = [f"x{i}: {a.source(numbers)}" for i, a in enumerate(self.arguments)]
        parameters += ["size: int", "flag: bool"]
        inputs = (f"v{i}" for i in itertools.count(len(self.arguments)))
        lines: list[str] = []

        def declare(target: str, annotation: Annotation, value: str, indent: str = "") -> None:
            if check:
                lines.append(f"{indent}{check}({value}, {annotation.source(numbers)})")
            else:
                lines.append(f"{indent}{target}: {annotation.source(numbers)} = {value}")

        for number, statement in enumerate(self.body):
            target, kind = f"h{number}", statement.kind
            if kind == "branch":
                for head, annotation in zip(("if flag:", "else:"), statement.annotations, strict=True):
                    lines.append(head)
                    declare(target, annotation, next(inputs), "    ")
            elif kind == "loop":
                lines.append(f"for item in {next(inputs)}:")
                declare(target, statement.annotations[0], "item", "    ")
            else:
                declare(target, statement.annotations[0], next(inputs))
                if kind == "again" and check:
                    declare(target, statement.annotations[0], next(inputs))
                elif kind == "again":
                    lines.append(f"{target} = {next(inputs)}")
        if self.returns:
            lines.append(f"return {next(inputs)}")
        used = len(self.places)
        parameters += [f"v{i}" for i in range(len(self.arguments), used)]
        arrow = f" -> {self.returns.source(numbers)}" if self.returns else ""
        body = "".join(f"    {line}\n" for line in lines or ["pass"])
        return f"def {name}({', '.join(first + parameters)}){arrow}:\n{body}"


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """One function whose annotations share names; every name that an expression reads is bound somewhere."""
    in_module = draw(st.booleans())
    module_axes = tuple(MODULE_AXES) if in_module else ()
    bound: set[str] = set()
    arguments = tuple(draw(annotations(bound, module_axes)) for _ in range(draw(st.integers(1, 3))))
    body: list[Statement] = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(("declare", "declare", "again", "branch", "loop")))
        count = 2 if kind == "branch" else 1
        parts = tuple(draw(annotations(bound, module_axes)) for _ in range(count))
        body.append(Statement(kind, parts))
    returns = draw(annotations(bound, module_axes)) if draw(st.booleans()) else None
    program = Program(arguments, tuple(body), returns, in_module)
    read = {
        name for a in program.places for t in a.tokens if is_expression(t) for name in names_read(t)
    }  # an axis that nothing binds is refused when the function is defined: a test of its own
    named = {t.lstrip("#") for a in program.places for t in a.tokens}
    unbound = sorted(read - named - set(module_axes))
    if unbound:
        program = Program((*arguments, Annotation("Shaped", tuple(unbound))), *_rest(program))
    return program


def _rest(program: Program) -> tuple[tuple[Statement, ...], Annotation | None, bool]:
    return program.body, program.returns, program.in_module


_numbers = itertools.count()


def define(source: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run a piece of source that `inspect.getsource` can find, and return what it defines."""
    filename = f"<generated {next(_numbers)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace = {"__name__": __name__, **names}
    exec(compile(source, filename, "exec", dont_inherit=True), namespace)
    return namespace


# Calls


@dataclass(frozen=True)
class Call:
    """The arguments of one call, in the order of the program's places."""

    values: tuple[Any, ...]
    flag: bool

    def arguments(self, count: int) -> tuple[Any, ...]:
        return *self.values[:count], ARGUMENT[1], self.flag, *self.values[count:]


def draw_call(program: Program, random: Random) -> Call:
    """Choose values that mostly fit: sizes follow one assignment of axes, then a few places are spoilt."""
    sizes: dict[str, Any] = {name: random.choice((0, 1, 1, 2, 3, 3, 4, 5)) for name in NAMES}
    sizes |= MODULE_AXES if program.in_module else {}
    sizes |= {f"*{n}": tuple(random.choices((0, 1, 2, 3), k=random.randint(0, 2))) for n in VARIADIC_NAMES}
    places, loops = program.places, program.loops
    spoilt = set(random.sample(range(len(places)), k=min(len(places), random.choice((0, 0, 1, 1, 2)))))
    values: list[Any] = []
    for index, annotation in enumerate(places):
        count = random.randint(0, 3) if index in loops else 1
        bad = random.randrange(count) if index in spoilt and count else -1
        items = [draw_value(annotation, sizes, random, spoil=i == bad) for i in range(count)]
        values.append(items if index in loops else items[0])
    return Call(tuple(values), flag=random.random() < 0.5)


def draw_value(annotation: Annotation, sizes: dict[str, Any], random: Random, *, spoil: bool) -> Any:
    """Choose a value that probably fits an annotation, or one that probably does not."""
    shape = [size for token in annotation.tokens for size in _sizes_of(token, sizes, random)]
    fitting = dtypes_of(annotation.family)
    dtype = random.choice(fitting or DTYPES)
    if torch.float32 in fitting and random.random() < 0.6:
        dtype = torch.float32
    kind = random.choice(KINDS_OF.get(annotation.array, KINDS))
    if spoil:
        match random.choice(("size", "size", "size", "rank", "rank", "order", "dtype", "kind")):
            case "size" if shape:
                shape[random.randrange(len(shape))] = random.choice((0, 1, 2, 3, 4, 6, 9))
            case "rank" | "size":
                if shape and random.random() < 0.5:
                    del shape[random.randrange(len(shape))]
                else:
                    shape.insert(random.randint(0, len(shape)), random.choice((1, 2, 3)))
            case "order":
                random.shuffle(shape)
            case "dtype":
                dtype = random.choice(random.choice((DTYPES, COMMON_DTYPES)))
            case _:
                kind = random.choice(KINDS + ODD_KINDS)
    return tensor(kind, dtype, tuple(shape[:6]))


def _sizes_of(token: str, sizes: dict[str, Any], random: Random) -> tuple[int, ...]:
    """Choose the axes that one token stands for."""
    if token in ("...", "*_", "*_any"):
        return tuple(random.choices((0, 1, 2, 3), k=random.randint(0, 2)))
    if "*" in token[:2] and not is_expression(token):
        many = sizes["*" + token.lstrip("*#")]
        if "#" in token:
            many = tuple(1 if random.random() < 0.3 else size for size in many)
            many = many[random.choice((0, 0, 0, 1)) :]
        return many
    if token.startswith("_"):
        return (random.choice((0, 1, 2, 3)),)
    if token.startswith("#") and random.random() < 0.4:
        return (1,)
    text = token.lstrip("#").split("=")[-1].replace("{size}", str(ARGUMENT[1]))
    try:
        size = eval(text, dict(sizes))
    except ZeroDivisionError:
        size = 0
    return (size if 0 <= size <= 40 else 1,)


# Containers

DTYPE_OF_FAMILY = {"Float": torch.float32, "Int": torch.int64}


@dataclass(frozen=True)
class Hint:
    """A type hint with tensors somewhere in it.

    `kind` says which: an array (`family` and `axes`), a plain type (`family` names it), or a container or
    union of `parts`.
    """

    kind: str
    parts: tuple[Hint, ...] = ()
    family: str = ""
    axes: tuple[str, ...] = ()
    array: str = "Tensor"

    def holds_tensors(self) -> bool:
        return self.kind == "array" or any(part.holds_tensors() for part in self.parts)


_HEADS = {
    "NamedTuple": "class {}(NamedTuple)",
    "TypedDict": "class {}(TypedDict)",
    "partial": "class {}(TypedDict, total=False)",
    "dataclass": "@dataclass\nclass {}",
}
_arrays = st.builds(
    Hint,
    st.just("array"),
    family=st.sampled_from(("Float", "Float", "Int")),
    axes=st.lists(st.sampled_from(("a", "a", "b", "3", "_", "#a", "#b")), max_size=2).flatmap(
        lambda axes: st.sampled_from((axes, axes, ["...", *axes], [*axes, "..."])).map(tuple)
    ),
    array=st.sampled_from(("Tensor", "Tensor", "Tensor", "np.ndarray", "OwnArray")),
)
_plain = st.builds(Hint, st.just("plain"), family=st.sampled_from(("int", "str", "None", "bool")))


def _containers(children: st.SearchStrategy[Hint]) -> st.SearchStrategy[Hint]:
    one = st.tuples(children)
    some = st.lists(children, min_size=1, max_size=3).map(tuple)
    tree = st.one_of(
        st.builds(Hint, st.sampled_from(("list", "tuple...", "Sequence", "dict", "Mapping")), one),
        st.builds(Hint, st.sampled_from(("tuple", *_HEADS)), some),
        st.builds(Hint, st.just("optional"), one),
        st.builds(Hint, st.just("union"), st.lists(children, min_size=2, max_size=3).map(tuple)),
    )
    return tree.filter(Hint.holds_tensors)  # what holds none is beartype's, which looks at one item of many


def hints() -> st.SearchStrategy[Hint]:
    """Trees of containers and unions with at least one tensor in them."""
    leaf = st.one_of(_arrays, _arrays, _plain)
    return st.recursive(leaf, _containers, max_leaves=6).filter(Hint.holds_tensors)


def hint_source(hint: Hint, classes: dict[Hint, tuple[str, str]]) -> str:
    """Write a hint; the classes that it names are added to `classes` with their own source."""
    if hint in classes:
        return classes[hint][0]
    inner = [hint_source(part, classes) for part in hint.parts]
    match hint.kind:
        case "array":
            return f'{hint.family}[{hint.array}, "{" ".join(hint.axes)}"]'
        case "plain":
            return hint.family
        case "tuple...":
            return f"tuple[{inner[0]}, ...]"
        case "dict" | "Mapping":
            return f"{hint.kind}[str, {inner[0]}]"
        case "optional":
            return f"Optional[{inner[0]}]"
        case "union":
            return f"Union[{', '.join(inner)}]"
        case "list" | "Sequence" | "tuple":
            return f"{hint.kind}[{', '.join(inner)}]"
        case kind:
            name = f"Fields{len(classes)}"
            fields = "".join(f"    f{i}: {text}\n" for i, text in enumerate(inner))
            classes[hint] = name, f"{_HEADS[kind].format(name)}:\n{fields}\n"
            return name


def draw_contents(
    hint: Hint, classes: dict[Hint, type], sizes: dict[str, int], random: Random, spoil: float
) -> Any:
    """Choose a value for a hint; each part of it is replaced by a wrong one with probability `spoil`."""
    if random.random() < spoil:
        return _wrong(random)

    def draw(part: Hint) -> Any:
        return draw_contents(part, classes, sizes, random, spoil)

    match hint.kind:
        case "array":
            shape = [sizes.get(token.lstrip("#"), 3) for token in hint.axes if token != "..."]
            shape = [
                1 if "#" in t and random.random() < 0.3 else n for t, n in zip(hint.axes, shape, strict=False)
            ]
            if "..." in hint.axes:
                at = hint.axes.index("...")
                shape[at:at] = random.choices((1, 2), k=random.randint(0, 2))
            if shape and random.random() < spoil:
                shape[random.randrange(len(shape))] = random.choice((1, 2, 3, 4))
            kind = random.choice(KINDS_OF.get(hint.array, ("plain",)))
            return tensor(kind, DTYPE_OF_FAMILY[hint.family], tuple(shape))
        case "plain":
            return {"int": 7, "str": "text", "None": None, "bool": True}[hint.family]
        case "optional":
            return None if random.random() < 0.3 else draw(hint.parts[0])
        case "union":
            return draw(random.choice(hint.parts))
        case "list" | "Sequence" | "tuple...":
            items = [draw(hint.parts[0]) for _ in range(random.choice((0, 1, 2, 2, 5)))]
            as_tuple = hint.kind == "tuple..." or (hint.kind == "Sequence" and random.random() < 0.5)
            return tuple(items) if as_tuple else items
        case "dict" | "Mapping":
            keys = [7 if random.random() < spoil / 2 else f"k{i}" for i in range(random.choice((0, 1, 2, 4)))]
            return {key: draw(hint.parts[0]) for key in keys}
        case "tuple":
            return tuple(draw(part) for part in hint.parts)
        case "TypedDict" | "partial":
            missing = 0.4 if hint.kind == "partial" else spoil / 2
            named = {f"f{i}": draw(part) for i, part in enumerate(hint.parts)}
            return {name: value for name, value in named.items() if random.random() >= missing}
        case _:
            return classes[hint](*map(draw, hint.parts))


def _wrong(random: Random) -> Any:
    shape = tuple(random.choices((1, 2, 3), k=random.randint(0, 3)))
    some = tensor("plain", random.choice((torch.float32, torch.int64, torch.bool)), shape)
    numbers = some.numpy()
    return random.choice((some, some, numbers, [some], (some,), {"f0": some}, None, 7, "text", [], {}))
