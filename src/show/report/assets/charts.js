"use strict";
// The page without its photos: summary, curves, configuration, theme, news of a run that goes on.

const data = JSON.parse(document.getElementById("data").textContent);
const id = (name) => document.getElementById(name);

/** An element with attributes and children; a function is a listener. */
function el(tag, attributes = {}, ...children) {
  const node = tag === "line" ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value !== null && value !== false) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// ---- charts

/** A card around a drawing: its lines' last numbers, or those at a place chosen by pointer or by arrow keys. */
function chart({ title, note, svg }) {
  const card = el("article", { class: "chart" }, el("h3", {}, title));
  card.insertAdjacentHTML("beforeend", svg);
  const drawing = card.querySelector("svg"), frame = drawing.querySelector(".frame");
  // Each dot's title holds its numbers: a line of the value, a line of the place.
  const lines = [...drawing.querySelectorAll(".series")].map((line) => ({
    mark: [line.dataset.dashed === undefined ? "swatch" : "swatch dashed", line.classList[1]].join(" "),
    dots: [...line.querySelectorAll("circle")].map((dot) => ({ x: Number(dot.getAttribute("cx")), said: dot.textContent.split("\n") })),
  })).filter((line) => line.dots.length);
  const top = Number(frame.getAttribute("y")), bottom = top + Number(frame.getAttribute("height"));
  const cursor = el("line", { class: "cursor", y1: top, y2: bottom, visibility: "hidden" });
  drawing.append(cursor);
  const keys = el("div", { class: "keys" }), place = el("p", { class: "note" });
  const nearest = (dots, x) => dots.reduce((a, b) => (Math.abs(b.x - x) < Math.abs(a.x - x) ? b : a));
  const all = lines.flatMap((line) => line.dots).sort((a, b) => a.x - b.x);
  const places = [...new Set(all.map((dot) => dot.x))];
  let at = null;
  const show = (to) => {
    at = to;
    const shown = lines.map((line) => [line.mark, at === null ? line.dots.at(-1) : nearest(line.dots, at)]);
    keys.replaceChildren(...shown.map(([mark, dot]) => el("span", {}, el("span", { class: mark }), dot.said[0])));
    place.textContent = at === null ? note : nearest(all, at).said[1];
    cursor.setAttribute("visibility", at === null ? "hidden" : "visible");
    if (at !== null) ["x1", "x2"].forEach((end) => cursor.setAttribute(end, at));
  };
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * drawing.viewBox.baseVal.width;
    show(places.reduce((a, b) => (Math.abs(b - x) < Math.abs(a - x) ? b : a)));
  });
  drawing.addEventListener("pointerleave", () => show(null));
  drawing.addEventListener("blur", () => show(null));
  drawing.addEventListener("keydown", (event) => {
    const now = at === null ? places.length - 1 : places.indexOf(at);
    const step = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: places.length - 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(places[Math.max(0, Math.min(places.length - 1, step))]);
  });
  show(null);
  card.append(keys, place);
  return card;
}

function charts() {
  id("charts").replaceChildren(...data.charts.map(chart));
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
    const { run, charts: drawn, photos: version } = await (await fetch("/run.json")).json();
    if (JSON.stringify([run, drawn]) !== JSON.stringify([data.runs[0], data.charts])) {
      [data.runs, data.charts] = [[run], drawn];
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
