"""What a reader can do with the rows: other sizes, the other mode, everything open. It takes a script."""

from __future__ import annotations

import ast
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..explanation import Explanation

CONTROL_STYLE = """
.tn .bar{display:flex;flex-wrap:wrap;gap:.6em 1.4em;align-items:center;margin:.4em 0 1em}
.tn .bar button,.tn .bar label{font:inherit;color:inherit;background:var(--wash);border:1px solid var(--rule);
border-radius:6px;padding:.15em .7em;cursor:pointer}
.tn .bar fieldset{border:0;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.4em;align-items:center}
.tn .bar input[type=number]{font:inherit;width:7ch;color:inherit;background:var(--paper);
border:1px solid var(--rule);border-radius:4px}
.tn .bar :focus-visible,.tn .bar input:focus-visible+span{outline:2px solid currentColor;outline-offset:2px}
.tn .bar input:invalid{outline:2px solid var(--bad)}
.tn .bar .note,.tn .bar output{font-size:12.5px;color:var(--dim)}.tn [hidden]{display:none}
@media print{.tn .bar{display:none}.tn section[hidden]{display:block}}
"""

# Sizes are BigInt, since a product of them may pass what a double holds exactly.
SCRIPT = """
for (const root of document.querySelectorAll(".tn:not([data-live])")) {
  root.dataset.live = "";
  const all = (query) => [...root.querySelectorAll(query)], bar = root.querySelector(".bar");
  const shown = () => all("section:not([hidden])");
  const compute = {
    Add: (a, b) => a + b, Sub: (a, b) => a - b, Mult: (a, b) => a * b, Pow: (a, b) => a ** b,
    FloorDiv: (a, b) => (a - ((a % b) + b) % b) / b, Mod: (a, b) => ((a % b) + b) % b,
    Max: (...parts) => parts.reduce((a, b) => (a > b ? a : b)),
    Min: (...parts) => parts.reduce((a, b) => (a < b ? a : b)),
  };
  const value = (tree, sizes) => typeof tree === "number" ? BigInt(tree)
    : typeof tree === "string" ? sizes[tree]
    : compute[tree[0]](...tree.slice(1).map((part) => value(part, sizes)));
  const written = (count, unit) => {
    if (!unit) return String(count);
    if (unit === "MACs") return count.toLocaleString("en-US");
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let number = Number(count), index = 0;
    while (number >= 1024 && index < units.length - 1) { number /= 1024; index += 1; }
    return `${Number(number.toPrecision(4))} ${units[index]}`;
  };
  const amounts = all("[data-size]").map((item) => {
    const only = item.children.length === 1 && item.children[0].textContent === item.textContent;
    return { item: only ? item.children[0] : item, html: (only ? item.children[0] : item).innerHTML,
      title: item, tree: JSON.parse(item.dataset.size), unit: item.dataset.unit };
  });
  const inputs = all(".bar input[type=number]"), numbers = root.querySelector(".bar input[name=numbers]");
  const update = () => {
    const whole = ({ validity, value }) => validity.valid && /^\\d+$/.test(value);
    if (!inputs.length || !inputs.every(whole)) return;
    const sizes = Object.fromEntries(inputs.map((input) => [input.name, BigInt(input.value)]));
    for (const { item, html, title, tree, unit } of amounts) {
      const number = written(value(tree, sizes), unit);
      const always = title.dataset.always !== undefined;
      if (always || numbers.checked) item.textContent = number; else item.innerHTML = html;
      if (!always) title.title = numbers.checked ? title.dataset.formula || "" : number;
    }
    const totals = shown().slice(0, 1).flatMap((section) => [...section.querySelectorAll("[data-total]")]);
    const told = ({ size, unit, total }) => `${written(value(JSON.parse(size), sizes), unit)} ${total}`;
    bar.querySelector("output").textContent = totals.map((item) => told(item.dataset)).join(" · ");
  };
  for (const input of inputs) input.addEventListener("input", () => { numbers.checked = true; update(); });
  if (numbers) numbers.addEventListener("change", update);
  const choose = (mode) => {
    for (const section of all("section[data-mode]")) section.hidden = section.dataset.mode !== mode;
    update();
  };
  const modes = all(".bar input[name=mode]");
  for (const input of modes) input.addEventListener("change", () => choose(input.value));
  if (modes.length) choose(modes[0].value); else update();
  const open = (is) => shown().forEach((s) => s.querySelectorAll("details").forEach((d) => { d.open = is; }));
  const press = (name, action) => bar.querySelector(`[name=${name}]`)?.addEventListener("click", action);
  press("open", () => open(true));
  press("close", () => open(false));
  press("theme", () => {
    const page = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
    page.dataset.theme = (page.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  });
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.hidden = false;
  addEventListener("beforeprint", () => all("details").forEach((item) => { item.open = true; }));
}
"""


def bar(explanation: Explanation, *, theme: bool) -> str:
    """Return the controls: a form, so that radio buttons of two tables in one notebook do not hang together.

    Args:
        explanation: what is shown.
        theme: whether to offer light and dark, as a page of its own does.
    """
    buttons = ["open all", "close all", *(["light / dark"] if theme else [])]
    names = ["open", "close", "theme"]
    drawn = "".join(
        f'<button type="button" name="{n}">{b}</button>' for n, b in zip(names, buttons, strict=False)
    )
    return f'<form class="bar" hidden>{_modes(explanation)}{_sizes(explanation)}{drawn}</form>'


def _modes(explanation: Explanation) -> str:
    if len(explanation.runs) == 1:
        return '<span class="note">one mode; <code>modes=("train", "eval")</code> shows both</span>'
    choices = [
        f'<label><input type="radio" name="mode" value="{escape(run.mode)}"{"" if index else " checked"}>'
        f"<span> {escape(run.mode)}</span></label>"
        for index, run in enumerate(explanation.runs)
    ]
    return f'<fieldset aria-label="mode">{"".join(choices)}</fieldset>'


def _sizes(explanation: Explanation) -> str:
    free = {name: run.axes[name] for run in reversed(explanation.runs) for name in run.free}
    if not free:
        return ""
    inputs = [
        f'<label>{escape(name)} <input type="number" name="{escape(name)}" min="1" step="1" required'
        f' value="{size}"></label>'
        for name, size in free.items()
    ]
    return (
        f'<fieldset aria-label="sizes">{"".join(inputs)}<label><input type="checkbox" name="numbers">'
        '<span> numbers</span></label><output aria-live="polite"></output></fieldset>'
    )


def tree(expression: str) -> Any:
    """Return an expression such as `(tokens+3)//4` as nested lists, which the script can compute.

    Returns:
        A number, the name of an axis, `[operator, part, ...]`, or None for what the script does not know.
    """
    try:
        return _tree(ast.parse(expression, mode="eval").body)
    except (SyntaxError, LookupError):
        return None


_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Pow, ast.FloorDiv, ast.Mod)


def _tree(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return name
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return ["Sub", 0, _tree(operand)]
        case ast.BinOp(left=left, op=operator, right=right) if isinstance(operator, _OPERATORS):
            return [type(operator).__name__, _tree(left), _tree(right)]
        case ast.Call(func=ast.Name(id="Max" | "Min" | "Mod" as name), args=arguments):
            return [name, *map(_tree, arguments)]
        case _:
            raise LookupError(ast.unparse(node))
