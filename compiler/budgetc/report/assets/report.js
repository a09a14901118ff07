// Draws the charts from the data on the page, sorts tables, switches colours. Nothing is fetched.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const tip = document.getElementById("tip");

  // ---- units -----------------------------------------------------------------------------------

  const BYTES = [[1, "B"], [1024, "KiB"], [1024 ** 2, "MiB"], [1024 ** 3, "GiB"]];
  const SECONDS = [[1e-9, "ns"], [1e-6, "us"], [1e-3, "ms"], [1, "s"]];
  const unitOf = (units, largest) => units.filter(([factor]) => factor <= largest).pop() || units[0];
  const MEASURES = {
    size: { name: "size", of: (largest) => unitOf(BYTES, largest) },
    memory: { name: "memory", of: (largest) => unitOf(BYTES, largest) },
    latency: { name: "latency", of: (largest) => unitOf(SECONDS, largest) },
    drop: { name: "loss of quality", of: () => [0.01, "pp"] },
  };
  const AXES = { size: ["size", "drop"], latency: ["latency", "drop"], memory: ["memory", "drop"], "size-latency": ["size", "latency"] };
  const short = (value) => String(Number(value.toPrecision(3)));

  // ---- what is shown where somebody points -------------------------------------------------------

  function show(mark, texts) {
    tip.replaceChildren(...texts.map((text) => {
      const line = document.createElement("p");
      line.textContent = text;
      return line;
    }));
    tip.hidden = false;
    const box = mark.getBoundingClientRect();
    const left = Math.min(box.left + box.width / 2 + 12, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 10;
    tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
    tip.style.top = `${(above > 60 ? above : box.bottom + 10) + window.scrollY}px`;
  }

  function hide() {
    tip.hidden = true;
    document.querySelectorAll(".lit").forEach((mark) => mark.classList.remove("lit"));
  }

  // One stop for the tabulator; from there the arrows, Home and End go through the marks.
  function reachable(marks) {
    marks.forEach(({ element, texts }, index) => {
      element.setAttribute("role", "img");
      element.setAttribute("aria-label", texts.join("; "));
      element.setAttribute("tabindex", index ? "-1" : "0");
      const light = () => { hide(); element.classList.add("lit"); show(element, texts); };
      element.addEventListener("pointerenter", light);
      element.addEventListener("pointerleave", () => { if (document.activeElement !== element) hide(); });
      element.addEventListener("focus", light);
      element.addEventListener("blur", hide);
      element.addEventListener("keydown", (event) => {
        const steps = { ArrowRight: index + 1, ArrowDown: index + 1, ArrowLeft: index - 1, ArrowUp: index - 1, Home: 0, End: marks.length - 1 };
        if (event.key === "Escape") hide();
        if (!(event.key in steps)) return;
        event.preventDefault();
        const next = marks[Math.max(0, Math.min(marks.length - 1, steps[event.key]))].element;
        element.setAttribute("tabindex", "-1");
        next.setAttribute("tabindex", "0");
        next.focus();
      });
    });
  }

  // The elements of one mark, each with the datum that it stands for.
  function elementsOf(svg, name, rows) {
    return [...svg.querySelectorAll(`g.${name} > *`)].map((element) => ({ element, texts: rows[element.__data__].texts }));
  }

  // ---- candidates --------------------------------------------------------------------------------

  const SPREAD = 8; // a range that is wider than this is drawn with a logarithm

  // Round values for a scale that is linear about 0 and logarithmic beyond.
  function roundTicks(low, high) {
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500];
    return [...steps.map((s) => -s).reverse(), 0, ...steps].filter((v) => v >= low && v <= high);
  }

  function scaleOf(values, limit, lineAtZero) {
    const all = limit === null ? values : [...values, limit];
    let [low, high] = [Math.min(...all), Math.max(...all)];
    if (lineAtZero) low = Math.min(low, 0);
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    if (lineAtZero) {
      const typical = Math.max(limit || 0, 0.5);
      if (high > SPREAD * typical) {
        const top = high * 1.25;
        const ticks = roundTicks(low, top).filter((v) => v === 0 || Math.abs(v) >= typical / 2);
        return { type: "symlog", constant: typical, domain: [low - typical * 0.25, top], ticks };
      }
      return { domain: [low - room, high + room], ticks: 6 };
    }
    if (low > 0 && high / low > SPREAD) {
      const ticks = roundTicks(low * 0.8, high * 1.25).concat([1000, 2000, 5000, 10000].filter((v) => v <= high * 1.25));
      return { type: "log", domain: [low * 0.8, high * 1.25], ticks, tickFormat: short };
    }
    return { domain: [Math.max(0, low - room * 1.5), high + room], ticks: 6 };
  }

  function stairs(points) {
    return points.flatMap((point, index) => (index ? [{ x: point.x, y: points[index - 1].y }, point] : [point]));
  }

  function drawCandidates(figure, chart, width) {
    const chosen = figure.querySelector("input:checked");
    const axis = chosen ? chosen.value : chart.axes[0];
    const [right, up] = AXES[axis];
    const known = (row) => row[right] !== null && row[up] !== null;
    const points = chart.points.filter(known);
    const peers = chart.peers.filter(known);
    const every = [...points, ...peers];
    const [factorX, unitX] = MEASURES[right].of(Math.max(...every.map((p) => p[right]), chart.limits[right] || 0));
    const [factorY, unitY] = MEASURES[up].of(Math.max(...every.map((p) => p[up]), chart.limits[up] || 0));
    const place = (row) => ({ ...row, x: row[right] / factorX, y: row[up] / factorY });
    const limitX = chart.limits[right] === null ? null : chart.limits[right] / factorX;
    const limitY = chart.limits[up] === null ? null : chart.limits[up] / factorY;
    const rows = points.map(place);
    const others = peers.map(place);
    const x = scaleOf([...rows, ...others].map((p) => p.x), limitX, false);
    const y = scaleOf([...rows, ...others].map((p) => p.y), limitY, up === "drop");
    const small = width < 520;
    const color = (row) => (row.kept ? "var(--pass)" : "var(--fail)");
    const fill = (row) => (row.kept ? "var(--pass)" : "var(--card)");
    const front = stairs((chart.fronts[axis] || []).map(([px, py]) => ({ x: px / factorX, y: py / factorY })));
    const dots = (stage, symbol, r) => {
      const some = rows.filter((row) => row.stage === stage);
      return { some, mark: Plot.dot(some, { x: "x", y: "y", symbol, r, stroke: color, fill, strokeWidth: 2, className: stage }) };
    };
    const built = dots("built", "circle", small ? 5 : 6);
    const simulated = dots("simulated", "diamond", small ? 4.5 : 5);
    const trained = dots("trained", "triangle", small ? 3.5 : 4);
    const way = rows.filter((row) => row.step).sort((a, b) => a.step - b.step);
    const words = { size: "size budget", memory: "memory budget", latency: "latency budget", drop: "quality budget" };
    const valueX = limitX === null ? "" : `${words[right]} ${short(limitX)} ${unitX}${right === "latency" && chart.limits.latency_text ? ` (${chart.limits.latency_text})` : ""}`;
    const valueY = limitY === null ? "" : `${words[up]} ${short(limitY)} ${unitY}`;
    const part = (value) => (x.type === "log" ? Math.log(value / x.domain[0]) / Math.log(x.domain[1] / x.domain[0]) : (value - x.domain[0]) / (x.domain[1] - x.domain[0]));
    const rightHalf = limitX !== null && part(limitX) > 0.5;
    const region = { x1: x.domain[0], x2: limitX === null ? x.domain[1] : limitX, y1: y.domain[0], y2: limitY === null ? y.domain[1] : limitY };
    const halo = { stroke: "var(--card)", strokeWidth: 4, fill: "var(--soft)" };
    const svg = Plot.plot({
      className: "chart", width, height: small ? 300 : 380, marginLeft: 56, marginBottom: 44, marginTop: 28, marginRight: 16,
      ariaLabel: `${MEASURES[up].name} against ${MEASURES[right].name}`,
      x: { ...x, label: `${MEASURES[right].name} (${unitX}) →`, labelAnchor: "right" },
      y: { ...y, label: `↑ ${MEASURES[up].name} (${unitY})`, tickFormat: short },
      marks: [
        Plot.axisX({ tickSize: 0, fill: "var(--soft)", ticks: x.ticks, tickFormat: x.tickFormat, label: `${MEASURES[right].name} (${unitX}) →` }),
        Plot.axisY({ tickSize: 0, fill: "var(--soft)", ticks: y.ticks, tickFormat: short, label: `↑ ${MEASURES[up].name} (${unitY})` }),
        Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: x.ticks }),
        Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: y.ticks }),
        limitX === null && limitY === null ? null : Plot.rect([region], { x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: "var(--region)", fillOpacity: 0.11, className: "region" }),
        limitX === null ? null : Plot.ruleX([limitX], { stroke: "var(--ink)", strokeDasharray: "5 4", className: "budget" }),
        limitY === null ? null : Plot.ruleY([limitY], { stroke: "var(--ink)", strokeDasharray: "5 4", className: "budget" }),
        limitX === null ? null : Plot.text([valueX], { x: () => limitX, frameAnchor: "top", dy: 4, dx: rightHalf ? -6 : 6, textAnchor: rightHalf ? "end" : "start", ...halo }),
        limitY === null ? null : Plot.text([valueY], { y: () => limitY, frameAnchor: "left", dy: -9, dx: 6, textAnchor: "start", ...halo }),
        front.length > 1 ? Plot.line(front, { x: "x", y: "y", stroke: "var(--accent)", strokeWidth: 1.75, className: "front" }) : null,
        Plot.dot(others, { x: "x", y: "y", symbol: "plus", r: 7, stroke: "var(--soft)", strokeWidth: 2, className: "peers" }),
        ...others.map((peer) => Plot.text([peer], { x: "x", y: "y", text: "name", dy: -13, textAnchor: part(peer.x) > 0.5 ? "end" : "start", dx: part(peer.x) > 0.5 ? 8 : -2, ...halo })),
        way.length > 1 ? Plot.line(way, { x: "x", y: "y", stroke: "var(--accent)", strokeWidth: 1.75, className: "way" }) : null,
        trained.mark,
        simulated.mark,
        built.mark,
        ...way.map((row) => Plot.text([row], { x: "x", y: "y", text: "step", dy: -13, pointerEvents: "none", ...halo })),
        Plot.dot(rows.filter((row) => row.shown), { x: "x", y: "y", r: small ? 9 : 10.5, stroke: "var(--accent)", strokeWidth: 2, fill: "none", pointerEvents: "none", className: "shown" }),
      ],
    });
    return { svg, marks: [...elementsOf(svg, "built", built.some), ...elementsOf(svg, "simulated", simulated.some), ...elementsOf(svg, "trained", trained.some), ...elementsOf(svg, "peers", others)] };
  }

  // ---- the arena over time -----------------------------------------------------------------------

  function drawArena(_, chart, width) {
    const [factor, unit] = unitOf(BYTES, chart.arena);
    const shades = [0.85, 0.62, 0.42, 0.72, 0.52];
    const rows = chart.slots.map((slot, index) => ({
      ...slot, x1: slot.first, x2: slot.last + 1, y1: slot.offset / factor, y2: (slot.offset + slot.bytes) / factor, shade: shades[index % shades.length],
    }));
    const lines = [{ y: chart.arena / factor, text: `arena ${short(chart.arena / factor)} ${unit}` }];
    if (chart.bound !== null && chart.arena - chart.bound > chart.arena * 0.04) lines.push({ y: chart.bound / factor, text: `lower bound ${short(chart.bound / factor)} ${unit}` });
    const svg = Plot.plot({
      className: "chart", width, height: width < 520 ? 240 : 300, marginLeft: 56, marginBottom: 44, marginTop: 28, marginRight: 16, ariaLabel: "memory map",
      x: { domain: [0, chart.calls], label: "call →" },
      y: { domain: [0, (chart.arena / factor) * 1.06], label: `↑ offset (${unit})` },
      marks: [
        Plot.axisX({ tickSize: 0, fill: "var(--soft)", ticks: Math.min(10, chart.calls), tickFormat: (v) => (Number.isInteger(v) ? String(v) : ""), label: "call →" }),
        Plot.axisY({ tickSize: 0, fill: "var(--soft)", ticks: 5, label: `↑ offset (${unit})` }),
        Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: 5 }),
        Plot.rect(rows, { x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: "var(--accent)", fillOpacity: "shade", stroke: "var(--card)", strokeWidth: 1, inset: 0.5, rx: 2, className: "values" }),
        Plot.ruleY(lines, { y: "y", stroke: "var(--ink)", strokeDasharray: "5 4", className: "bound" }),
        ...lines.map((line, index) => Plot.text([line], { y: "y", text: "text", frameAnchor: "right", textAnchor: "end", dy: index ? 10 : -8, fill: "var(--soft)", stroke: "var(--card)", strokeWidth: 4 })),
      ],
      opacity: { type: "identity" },
    });
    return { svg, marks: elementsOf(svg, "values", rows) };
  }

  // ---- drawing, and drawing again -----------------------------------------------------------------

  const DRAW = { candidates: drawCandidates, ladder: drawCandidates, arena: drawArena };

  function draw(figure) {
    const drawing = figure.querySelector(".drawing");
    const chart = data.targets[Number(figure.dataset.target)][figure.dataset.chart];
    const width = Math.floor(drawing.clientWidth);
    if (!chart || width < 50) return;
    hide();
    const { svg, marks } = DRAW[figure.dataset.chart](figure, chart, width);
    svg.setAttribute("role", "group");
    svg.querySelectorAll("g[aria-label]").forEach((group) => { // the library's words for what only decorates
      group.removeAttribute("aria-label");
      if (!marks.some(({ element }) => group.contains(element))) group.setAttribute("aria-hidden", "true");
    });
    drawing.replaceChildren(svg);
    reachable(marks);
  }

  document.querySelectorAll("figure[data-chart]").forEach((figure) => {
    let drawn = 0;
    new ResizeObserver(([entry]) => {
      const width = Math.floor(entry.contentRect.width);
      if (width === drawn) return;
      drawn = width;
      requestAnimationFrame(() => draw(figure));
    }).observe(figure.querySelector(".drawing"));
    figure.querySelectorAll("input").forEach((input) => input.addEventListener("change", () => draw(figure)));
  });

  // ---- tables --------------------------------------------------------------------------------------

  function keyOf(row, column) {
    const cell = row.cells[column];
    return "sort" in cell.dataset ? Number(cell.dataset.sort) : cell.textContent.trim().toLowerCase();
  }

  function compare(one, other) {
    if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
    return typeof one === "number" ? -1 : 1; // what has no figure comes last
  }

  document.querySelectorAll("table.sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
        rows.sort(([a], [b]) => (typeof a === typeof b && down ? compare(b, a) : compare(a, b)));
        body.append(...rows.map(([, row]) => row));
      });
    });
  });

  // ---- light and dark, print -----------------------------------------------------------------------

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  function named() {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `${button.textContent} colours`);
  }
  try { // pages without an origin have no storage
    const kept = localStorage.getItem("budgetc-theme");
    if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  } catch { /* the choice lasts as long as the page */ }
  button.hidden = false;
  named();
  dark.addEventListener("change", named);
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    named();
    try { localStorage.setItem("budgetc-theme", root.dataset.theme); } catch { /* likewise */ }
  });

  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((each) => { each.open = true; });
  });
  window.addEventListener("afterprint", () => opened.forEach((each) => { each.open = false; }));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
})();
