"use strict";
// The page without its photos: summary, curves, configuration, theme, news of a run that goes on.

const data = JSON.parse(document.getElementById("data").textContent);
const id = (name) => document.getElementById(name);
/** Colours of lines and labels: `--c0` and so on. */
const colors = 10;

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
  // The title of each dot or bar holds its numbers: a line of the value, a line of the place.
  const number = (node, name) => Number(node.getAttribute(name));
  const lines = [...drawing.querySelectorAll(".series")].map((line) => ({
    mark: [line.dataset.dashed === undefined ? "swatch" : "swatch dashed", line.classList[1]].join(" "),
    // Of bars no one is the last to be told.
    name: line.querySelector("rect") && line.dataset.name,
    dots: [...line.querySelectorAll("circle, rect")].map((dot) => ({
      x: dot.matches("rect") ? number(dot, "x") + number(dot, "width") / 2 : number(dot, "cx"), said: dot.textContent.split("\n"),
    })),
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
    const said = (line) => (at === null ? line.name ?? line.dots.at(-1).said[0] : nearest(line.dots, at).said[0]);
    keys.replaceChildren(...lines.map((line) => el("span", {}, el("span", { class: line.mark }), said(line))));
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

const several = data.runs.length > 1;
const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** Accuracies as bars on one scale, each with its standard error; a `color` is that of the run's curves. */
function bars(rows, heads = ["kNN", "", "top-1", "balanced"]) {
  const row = ({ name, top1, error, balanced, color }) => {
    const [low, high] = error ? [Math.max(0, top1 - error), Math.min(1, top1 + error)] : [top1, top1];
    const whisker = el("span", { class: "whisker", style: `left:${100 * low}%;width:${100 * (high - low)}%` });
    return el("tr", { class: color === undefined ? null : `c${color % colors}` }, el("th", { scope: "row" }, name),
      el("td", { class: "measure" }, el("span", { class: "fill", style: `width:${100 * top1}%` }), whisker),
      el("td", {}, percent(top1) + (error ? ` ± ${(100 * error).toFixed(1)}` : "")), el("td", {}, balanced === null ? "" : percent(balanced)));
  };
  const head = el("tr", {}, ...heads.map((name) => el("th", { scope: "col" }, name)));
  return el("table", { class: "bars" }, el("thead", {}, head), el("tbody", {}, ...rows.map(row)));
}

/** What the time went on: a bar of shares. */
function spent({ of, parts }) {
  const strip = el("div", { class: "strip" }, ...parts.map(([, share], i) => el("span", { class: `c${i}`, style: `width:${100 * share}%` })));
  const key = parts.map(([name, share], i) => el("span", {}, el("span", { class: `swatch dot c${i}` }), `${name} ${percent(share)}`));
  return el("div", {}, el("p", { class: "hint" }, `Time of ${of}`), strip, el("div", { class: "keys" }, ...key));
}

/** One run: what was trained, how good it is beside what needed no training, where its time went, what was wrong. */
function headline(run, color) {
  const warnings = run.warnings.map((w) => el("li", { class: "warning" }, `step ${w.step}: ${w.warning}`));
  const knn = run.knn ? [bars(run.knn.rows.map((row, i) => (i ? row : { ...row, color })), run.knn.head), el("p", { class: "hint" }, run.knn.told ?? `${run.knn.judged}; ± is the standard error, balanced the mean over classes.`)]
    : [el("p", { class: "hint" }, "Not judged while it learned: no labelled photos were given (--labelled). vista knn and vista probe judge it afterwards.")];
  const more = el("div", {}, ...run.time.map(spent), warnings.length ? el("ul", {}, ...warnings) : el("p", { class: "hint" }, "No warning of a collapse."));
  return el("article", { class: "headline" }, ...(several ? [el("h3", {}, el("span", { class: `swatch c${color % colors}` }), names[color])] : []),
    el("p", { class: "lead" }, run.lead), el("div", { class: "halves" }, el("div", {}, ...knn), more),
    el("details", {}, el("summary", {}, "How it was made, and the command that repeats it"), table(run.facts), copied(run.command)));
}

const names = data.names;

function summary() {
  const compared = data.runs.flatMap((run, i) => (run.knn?.rows.slice(0, 1) ?? []).map((row) => ({ ...row, name: names[i], color: i })));
  const apart = el("p", { class: "warning" }, "These runs were judged on different photos: which is better can't be told from their accuracies, and each set has a chart of its own.");
  const all = several && compared.length ? [el("h2", {}, "The runs"), ...(data.apart ? [apart] : []), bars(compared, data.runs[0].knn?.head)] : [];
  const without = data.gallery.missing && !several ? [el("p", { class: "hint" }, data.gallery.missing)] : [];
  const open = id("summary").querySelector("details")?.open;
  id("summary").replaceChildren(...all, ...data.runs.map(headline), ...without);
  if (open) id("summary").querySelector("details").open = true;
  id("title").textContent = names.join(" · ");
}

/** What the run is doing: in the header, and of a live page in its title. */
function status() {
  const { word, told } = data.runs[0].state;
  id("status").textContent = several ? `${data.runs.length} runs` : told;
  id("status").className = several ? "" : word;
  if (data.live !== null) document.title = `${word}: ${names[0]} - Vista`;
}

function configuration() {
  const heading = el("h2", { id: "configuration-h" }, "Configuration");
  const whole = data.runs.map((run, i) => el("details", {}, el("summary", {}, several ? `All of ${names[i]}` : "All of config.toml"), copied(run.config)));
  const keys = [...new Set(data.runs.flatMap((run) => run.settings.map((s) => s[0])))];
  const of = (run, key) => run.settings.find((s) => s[0] === key)?.[1] ?? "-";
  const differ = keys.map((key) => [key, ...data.runs.map((run) => of(run, key))]).filter(([, ...v]) => new Set(v).size > 1);
  const text = differ.length ? table([["key", ...names], ...differ]) : el("p", {}, "All keys are equal.");
  id("configuration").replaceChildren(heading, ...(several ? [el("h3", {}, "Where the runs differ"), text] : []), ...whole);
}

/** What a detector found, or a segmenter said: charts, classes, the worst photos. */
function detections() {
  const found = data.gallery.detections;
  id("detections").hidden = !found;
  if (!found) return;
  id("detections-h").textContent = document.querySelector('nav a[href="#detections"]').textContent = found.title;
  id("precision").replaceChildren(el("div", { class: "charts" }, ...found.charts.map(chart)));
  id("classes").replaceChildren(table([found.head, ...found.classes]));
  // Made by the program, names escaped.
  id("worst").innerHTML = found.worst;
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
    status();
    if (version !== photos) {
      data.gallery = await (await fetch("/photos.json")).json();
      seen = version;
      document.dispatchEvent(new Event("photos"));
      summary();
    }
  } catch {
    id("status").textContent = "the server does not answer";
  }
  setTimeout(news, 3000, seen);
}

summary();
status();
charts();
detections();
configuration();
id("footer").textContent = `Vista ${data.vista}. This page needs no network.`;
if (data.live !== null) setTimeout(news, 1000, data.live);
