"use strict";
// The page without its photos: summary, curves, configuration, theme, news of a run that goes on.

const data = JSON.parse(document.getElementById("data").textContent);
const id = (name) => document.getElementById(name);

/** An element with attributes and children; a function is a listener. */
function el(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "g"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value !== null && value !== false) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// ---- numbers

/** A number as a person writes it: 0.00123, 45k, 1.5M, 12.3 MiB, 61.2 %. */
function written(value, unit) {
  if (unit === "%") return (100 * value).toFixed(1) + " %";
  if (unit === "bytes") {
    for (const name of ["B", "KiB", "MiB", "GiB", "TiB"]) {
      if (Math.abs(value) < 1024) return +value.toPrecision(3) + " " + name;
      value /= 1024;
    }
  }
  const size = Math.abs(value);
  if (size >= 1e6) return +(value / 1e6).toPrecision(3) + "M";
  if (size >= 1e4) return +(value / 1e3).toPrecision(3) + "k";
  return size > 0 && size < 1e-3 ? value.toExponential(1) : String(+value.toPrecision(4));
}

/** Round numbers from low to high, about `count` of them. */
function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5].find((m) => m * power >= raw) ?? 10);
  const all = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) all.push(i * step);
  return all;
}

/** The same in whole KiB, MiB and so on for bytes. */
function ticksOf(low, high, unit) {
  const scale = unit === "bytes" ? 1024 ** Math.max(0, Math.floor(Math.log2(Math.max(high, 1)) / 10)) : 1;
  return ticks(low / scale, high / scale, 4).map((v) => v * scale);
}

// ---- one chart

const WIDE = 420, HIGH = 240, LEFT = 62, RIGHT = 10, TOP = 10, BOTTOM = 24;

/** A card with lines {name, color, dashed, points}; read by pointer and by arrow keys. */
function chart({ title, unit, note, limit, lines }) {
  const points = lines.flatMap((l) => l.points);
  let [x0, x1] = [Math.min(...points.map((p) => p[0])), Math.max(...points.map((p) => p[0]))];
  let [y0, y1] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
  if (x0 === x1) x1 = x0 + 1;
  if (limit !== null && limit !== undefined && limit < y1 + (y1 - y0) && limit > y0 - (y1 - y0)) {
    [y0, y1] = [Math.min(y0, limit), Math.max(y1, limit)];
  }
  const pad = y1 > y0 ? 0.05 * (y1 - y0) : Math.abs(y0) || 1;
  [y0, y1] = [y0 >= 0 && y0 - pad < 0 ? 0 : y0 - pad, y1 + pad];
  const x = (v) => LEFT + ((v - x0) / (x1 - x0)) * (WIDE - LEFT - RIGHT);
  const y = (v) => HIGH - BOTTOM - ((v - y0) / (y1 - y0)) * (HIGH - TOP - BOTTOM);

  const ends = lines.map((l) => `${l.name} from ${written(l.points[0][1], unit)} to ${written(l.points.at(-1)[1], unit)}`);
  const svg = el("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, tabindex: 0, role: "img", "aria-label": `${title}: ${ends.join("; ")}` });
  for (const v of ticksOf(y0, y1, unit)) {
    svg.append(el("line", { class: "axis", x1: LEFT, x2: WIDE - RIGHT, y1: y(v), y2: y(v) }));
    svg.append(el("text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, written(v, unit)));
  }
  for (const v of ticks(x0, x1, 4)) {
    svg.append(el("text", { x: x(v), y: HIGH - 6, "text-anchor": x(v) > WIDE - 30 ? "end" : "middle" }, written(v, "")));
  }
  if (limit !== null && limit !== undefined && limit >= y0 && limit <= y1) {
    svg.append(el("line", { class: "limit", x1: LEFT, x2: WIDE - RIGHT, y1: y(limit), y2: y(limit) }));
  }
  for (const line of lines) {
    const path = line.points.map((p, i) => `${i ? "L" : "M"}${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).join("");
    // A line of one point is a dot.
    const d = line.points.length > 1 ? path : path + "h0.01";
    const cap = line.points.length > 1 ? "butt" : "round";
    svg.append(el("path", { d, style: `stroke: var(--c${line.color})`, "stroke-linecap": cap,
      "stroke-width": line.points.length > 1 ? 1.8 : 6, "stroke-dasharray": line.dashed ? "6 4" : null }));
  }
  const cursor = el("line", { class: "cursor", y1: TOP, y2: HIGH - BOTTOM, visibility: "hidden" });
  svg.append(cursor);

  const keys = el("div", { class: "keys" }), place = el("p", { class: "note" }, note);
  const show = (at) => {
    keys.replaceChildren(...lines.map((l) => {
      const nearest = at === null ? l.points.at(-1)
        : l.points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a));
      const mark = el("span", { class: l.dashed ? "swatch dashed" : "swatch", style: `--it: var(--c${l.color})` });
      return el("span", {}, mark, `${l.name} ${written(nearest[1], unit)}`);
    }));
    place.textContent = at === null ? note : `after ${written(at, "")} views`;
    cursor.setAttribute("visibility", at === null ? "hidden" : "visible");
    if (at !== null) ["x1", "x2"].forEach((a) => cursor.setAttribute(a, x(at)));
  };
  const places = [...new Set(lines.flatMap((l) => l.points.map((p) => p[0])))].sort((a, b) => a - b);
  let at = null;
  const move = (to) => { at = to; show(at); };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const v = x0 + (((event.clientX - box.left) / box.width) * WIDE - LEFT) / (WIDE - LEFT - RIGHT) * (x1 - x0);
    move(places.reduce((a, b) => (Math.abs(b - v) < Math.abs(a - v) ? b : a)));
  });
  svg.addEventListener("pointerleave", () => move(null));
  svg.addEventListener("blur", () => move(null));
  svg.addEventListener("keydown", (event) => {
    const now = at === null ? places.length - 1 : places.indexOf(at);
    const step = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: places.length - 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    move(places[Math.max(0, Math.min(places.length - 1, step))]);
  });
  show(null);
  return el("article", { class: "chart" }, el("h3", {}, title), svg, keys, place);
}

/** Charts of all runs, those of one title together: a colour a run where there are several, a colour a line otherwise. */
function charts() {
  const titles = [...new Set(data.runs.flatMap((run) => run.charts.map((c) => c.title)))];
  id("charts").replaceChildren(...titles.map((title) => {
    const several = data.runs.length > 1;
    const all = data.runs.map((run) => run.charts.find((c) => c.title === title));
    const lines = all.flatMap((one, r) => (one ? one.series : []).map((s, i) => ({
      name: several ? `${data.runs[r].name} ${s.name}` : s.name,
      color: (several ? r : i) % 6, dashed: several && i > 0, points: s.points,
    })));
    const { unit, note, limit } = all.find((c) => c);
    return chart({ title, unit, note, limit: several ? null : limit, lines });
  }));
}

// ---- text

function table(rows) {
  return el("div", { class: "scroll" }, el("table", {}, ...rows.map(([first, ...rest]) =>
    el("tr", {}, el("th", { scope: "row" }, first), ...rest.map((cell) => el("td", {}, cell))))));
}

/** A text with a button that copies it. */
function copied(text) {
  const button = el("button", { type: "button", click: async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { getSelection().selectAllChildren(pre); }
  } }, "Copy");
  const pre = el("pre", { tabindex: 0 }, text);
  return el("div", {}, pre, button);
}

function summary() {
  const keys = [...new Set(data.runs.flatMap((run) => run.facts.map((f) => f[0])))];
  const cell = (run, key) => run.facts.find((f) => f[0] === key)?.[1] ?? "";
  const head = data.runs.length > 1 ? [["run", ...data.runs.map((r) => r.name)]] : [];
  const warnings = data.runs.flatMap((run) => run.warnings.map((w) =>
    el("li", { class: "warning" }, `${data.runs.length > 1 ? run.name + ", " : ""}step ${w.step}: ${w.warning}`)));
  const list = warnings.length ? [el("h3", {}, "Warnings"), el("ul", {}, ...warnings)]
    : [el("p", { class: "hint" }, "No warning of a collapse.")];
  const commands = data.runs.map((run) => copied(run.command));
  id("summary").replaceChildren(el("h2", { id: "summary-h" }, "Summary"),
    table([...head, ...keys.map((key) => [key, ...data.runs.map((run) => cell(run, key))])]), ...list,
    el("h3", {}, data.runs.length > 1 ? "To repeat them" : "To repeat it"), ...commands);
  id("title").textContent = data.runs.map((run) => run.name).join(" · ");
  id("status").textContent = data.runs.length > 1 ? `${data.runs.length} runs` : cell(data.runs[0], "done") + (data.live === null ? "" : ", live");
}

function configuration() {
  const heading = el("h2", { id: "configuration-h" }, "Configuration");
  const whole = data.runs.map((run) => el("details", {}, el("summary", {}, data.runs.length > 1 ? `All of ${run.name}` : "All of config.toml"), copied(run.config)));
  if (data.runs.length === 1) {
    whole[0].open = true;
    id("configuration").replaceChildren(heading, ...whole);
    return;
  }
  const keys = [...new Set(data.runs.flatMap((run) => run.settings.map((s) => s[0])))];
  const of = (run, key) => run.settings.find((s) => s[0] === key)?.[1] ?? "-";
  const differ = keys.map((key) => [key, ...data.runs.map((run) => of(run, key))]).filter(([, ...v]) => new Set(v).size > 1);
  const text = differ.length ? table([["key", ...data.runs.map((r) => r.name)], ...differ]) : el("p", {}, "All keys are equal.");
  id("configuration").replaceChildren(heading, el("h3", {}, "Where the runs differ"), text, ...whole);
}

// ---- theme, news

function theme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  id("theme").setAttribute("aria-pressed", dark);
  document.dispatchEvent(new Event("theme"));
}
const preferred = matchMedia("(prefers-color-scheme: dark)");
id("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark"));
preferred.addEventListener("change", () => theme(preferred.matches));
theme(preferred.matches);

/** Asks the server that a live page came from what is new. */
async function news(photos) {
  let seen = photos;
  try {
    const { run, photos: version } = await (await fetch("/run.json")).json();
    if (JSON.stringify(run) !== JSON.stringify(data.runs[0])) {
      data.runs = [run];
      // Where a person reads a chart by keyboard it stays until they have done.
      if (!id("charts").contains(document.activeElement)) charts();
      if (!id("summary").contains(document.activeElement)) summary();
    }
    if (version !== photos) {
      data.gallery = await (await fetch("/photos.json")).json();
      seen = version;
      document.dispatchEvent(new Event("photos"));
    }
  } catch {
    id("status").textContent = "the server does not answer";
  }
  setTimeout(news, 3000, seen);
}

summary();
charts();
configuration();
id("footer").textContent = `Vista ${data.vista}. This page needs no network.`;
if (data.live !== null) setTimeout(news, 1000, data.live);
