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
  let sizes = {};
  const update = () => {
    const whole = ({ validity, value }) => validity.valid && /^\d+$/.test(value);
    if (!inputs.length || !inputs.every(whole)) return;
    sizes = Object.fromEntries(inputs.map((input) => [input.name, BigInt(input.value)]));
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
  // A row, or a row with what is below it; `order` is its place in the pass.
  const items = all(".lines > *"), sorts = all("[name=sort]");
  items.forEach((item, index) => { item.dataset.order = index; });
  const cost = (item, name) => {
    const cell = (item.matches("details") ? item.firstElementChild : item).querySelector(`[data-name=${name}]`);
    const sized = cell.querySelector("[data-size]");
    return Number(sized ? value(JSON.parse(sized.dataset.size), sizes) : cell.dataset.value);
  };
  const sort = (name) => {
    for (const lines of all(".lines")) {
      const order = (a, b) => (name ? cost(b, name) - cost(a, name) : 0) || a.dataset.order - b.dataset.order;
      lines.append(...[...lines.children].sort(order));
    }
    for (const button of sorts) button.setAttribute("aria-pressed", button.value === name);
  };
  for (const button of sorts) button.addEventListener("click", () => sort(button.value));
  bar.querySelector("[name=find]").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const item of items) {
      item.hidden = !item.textContent.toLowerCase().includes(wanted);
      if (wanted && item.matches("details")) item.open = item.lastElementChild.textContent.toLowerCase().includes(wanted);
    }
  });
  for (const link of all("svg a")) {
    link.addEventListener("click", () => { root.querySelector(link.getAttribute("href")).open = true; });
  }
  const open = (is) => shown().forEach((s) => s.querySelectorAll("details").forEach((d) => { d.open = is; }));
  const press = (name, action) => bar.querySelector(`[name=${name}]`)?.addEventListener("click", action);
  press("open", () => open(true));
  press("close", () => open(false));
  press("copy", async ({ target }) => {
    const text = shown()[0].dataset.markdown, said = target.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // a notebook or a file may not be allowed to
      const area = root.appendChild(document.createElement("textarea"));
      area.value = text;
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    target.textContent = "copied";
    setTimeout(() => { target.textContent = said; }, 1500);
  });
  press("theme", () => {
    const page = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
    page.dataset.theme = (page.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  });
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.hidden = false;
  addEventListener("beforeprint", () => all("details").forEach((item) => { item.open = true; }));
}
