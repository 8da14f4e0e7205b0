// The photos in the learned space: map, grid, neighbours, figures.

/** Photos on a page of the grid. */
const SHOWN = 60;
const colors = 6;

(() => {
  let gallery, chosen = 0, at = null, first = 0, found = [], map = 0;

  const source = (photo) => "data:image/jpeg;base64," + photo.jpeg;
  const labels = (photo) => photo.labels.map((l) => gallery.classes[l]).join(", ");
  const title = (photo) => photo.name + (photo.labels.length ? ` (${labels(photo)})` : "");

  /** Classes beyond the colours are rings. */
  const ring = (label) => Math.floor(label / colors) % 2 === 1;

  // ---- neighbours

  /** A thumbnail with the crop [x, y, width, height] in hundredths of it. */
  function framed(photo, crop) {
    const [x, y, w, h] = crop, width = 100 * Math.min(1, photo.size[0] / photo.size[1]);
    return el("span", { class: "framed", style: `width:${width}%` }, el("img", { src: source(photo), alt: "", width: photo.size[0], height: photo.size[1] }),
      el("span", { class: "crop", style: `left:${x}%;top:${y}%;width:${w}%;height:${h}%` }));
  }

  function choose(row) {
    chosen = row;
    const photo = gallery.photos[row];
    const query = el("div", { class: "tile query" }, framed(photo, photo.query), el("b", {}, "chosen"), el("small", {}, title(photo)));
    const near = photo.near.map(([key, cosine]) => {
      const other = gallery.photos[key];
      const alike = other.labels.some((l) => photo.labels.includes(l));
      return el("button", { type: "button", class: alike ? "tile alike" : "tile", click: () => { choose(key); focusChosen(); } },
        framed(other, other.key), el("b", {}, cosine.toFixed(3)), el("small", {}, title(other)));
    });
    id("chosen").replaceChildren(query, ...near);
    for (const button of id("grid").children) button.setAttribute("aria-pressed", Number(button.dataset.row) === row);
    draw();
  }

  /** The first neighbour, so that a person on the keyboard can go on. */
  function focusChosen() {
    id("chosen").querySelector("button")?.focus();
  }

  // ---- grid

  function filter() {
    const text = id("filter").value.trim().toLowerCase();
    found = gallery.photos.map((_, row) => row).filter((row) => title(gallery.photos[row]).toLowerCase().includes(text));
    first = 0;
    grid();
  }

  function grid() {
    const rows = found.slice(first, first + SHOWN);
    id("grid").replaceChildren(...rows.map((row, i) => el("button", {
      type: "button", class: "photo", "data-row": row, title: title(gallery.photos[row]), tabindex: i ? -1 : 0,
      "aria-label": title(gallery.photos[row]), "aria-pressed": row === chosen, click: () => choose(row),
    }, el("img", { src: source(gallery.photos[row]), alt: "", width: gallery.photos[row].size[0], height: gallery.photos[row].size[1] }))));
    const last = Math.min(first + SHOWN, found.length);
    id("page").textContent = found.length ? `${first + 1} to ${last} of ${found.length}` : "none";
    id("earlier").disabled = first === 0;
    id("later").disabled = last >= found.length;
  }

  function turn(by) {
    first = Math.max(0, Math.min(first + by, Math.floor((found.length - 1) / SHOWN) * SHOWN));
    grid();
  }

  id("grid").addEventListener("keydown", (event) => {
    const all = [...id("grid").children], now = all.indexOf(document.activeElement);
    if (now < 0) return;
    const top = all[0].offsetTop, columns = all.filter((b) => b.offsetTop === top).length;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -now, End: all.length - 1 - now }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const next = all[Math.max(0, Math.min(all.length - 1, now + by))];
    all.forEach((b) => { b.tabIndex = b === next ? 0 : -1; });
    next.focus();
  });
  id("filter").addEventListener("input", filter);
  id("earlier").addEventListener("click", () => turn(-SHOWN));
  id("later").addEventListener("click", () => turn(SHOWN));

  // ---- map

  const canvas = id("canvas"), hover = id("hover");
  let box = { width: 0, height: 0 };

  /** Where photo `row` is on the canvas. */
  function place(row) {
    const side = Math.min(box.width, box.height) - 28, [x, y] = gallery.maps[map].at[row];
    // A wide canvas is used in all its width.
    const wide = Math.min(box.width - 28, 2 * side);
    return [box.width / 2 + (x - 0.5) * wide, box.height / 2 - (y - 0.5) * side];
  }

  function draw() {
    if (!gallery?.maps?.length) return;
    const scale = devicePixelRatio || 1, pen = canvas.getContext("2d");
    box = canvas.getBoundingClientRect();
    [canvas.width, canvas.height] = [box.width * scale, box.height * scale];
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const style = getComputedStyle(document.documentElement);
    const color = Array.from({ length: colors }, (_, i) => style.getPropertyValue(`--c${i}`));
    const dot = (row, radius) => { const [x, y] = place(row); pen.beginPath(); pen.arc(x, y, radius, 0, 7); };
    pen.globalAlpha = 0.75;
    pen.lineWidth = 1.5;
    gallery.photos.forEach((photo, row) => {
      const label = photo.labels[0] ?? 0;
      pen.fillStyle = pen.strokeStyle = color[label % colors];
      dot(row, 3.5);
      if (ring(label)) pen.stroke(); else pen.fill();
    });
    pen.globalAlpha = 1;
    pen.lineWidth = 2;
    pen.strokeStyle = style.getPropertyValue("--c4");
    gallery.photos[chosen].near.forEach(([key]) => { dot(key, 6); pen.stroke(); });
    pen.strokeStyle = "#f22";
    dot(chosen, 7);
    pen.stroke();
    if (at !== null) {
      pen.strokeStyle = style.getPropertyValue("--ink");
      dot(at, 9);
      pen.stroke();
    }
  }

  function point(row) {
    at = row;
    draw();
    hover.hidden = row === null;
    if (row === null) return;
    const photo = gallery.photos[row], [x, y] = place(row), image = hover.querySelector("img");
    image.src = source(photo);
    [image.width, image.height] = photo.size;
    hover.querySelector("figcaption").textContent = title(photo);
    // Beside the point, inside the canvas.
    hover.style.left = Math.max(0, x + 14 + 170 > box.width ? x - 14 - hover.offsetWidth : x + 14) + "px";
    hover.style.top = Math.max(0, Math.min(y - 20, box.height - hover.offsetHeight - 4)) + "px";
  }

  /** The photo nearest to a place among those that `fits`, or null. */
  function nearest(x, y, fits) {
    let best = null, least = Infinity;
    gallery.photos.forEach((_, row) => {
      const [px, py] = place(row), distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least && fits(px - x, py - y, row)) [best, least] = [row, distance];
    });
    return best;
  }

  canvas.addEventListener("pointermove", (event) => {
    if (!gallery) return;
    const inside = canvas.getBoundingClientRect();
    const row = nearest(event.clientX - inside.left, event.clientY - inside.top, (dx, dy) => dx * dx + dy * dy < 400);
    if (row !== at) point(row);
  });
  canvas.addEventListener("pointerleave", () => gallery && point(null));
  canvas.addEventListener("blur", () => gallery && point(null));
  canvas.addEventListener("focus", () => gallery && at === null && canvas.matches(":focus-visible") && point(chosen));
  canvas.addEventListener("click", () => { if (gallery && at !== null) choose(at); });
  canvas.addEventListener("keydown", (event) => {
    if (!gallery) return;
    if (event.key === "Enter" && at !== null) { event.preventDefault(); choose(at); }
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const from = at ?? chosen, [x, y] = place(from);
    // In a quadrant around the arrow's direction.
    const next = nearest(x, y, (dx, dy, row) => {
      const along = dx * way[0] + dy * way[1];
      return row !== from && along > 0 && along >= Math.abs(dx * way[1] + dy * way[0]);
    });
    if (next !== null) point(next);
  });
  new ResizeObserver(() => draw()).observe(canvas);
  document.addEventListener("theme", draw);

  function maps() {
    id("maps").replaceChildren(...gallery.maps.map((one, i) => el("button", {
      type: "button", "aria-pressed": i === map, click: () => { map = i; maps(); point(null); },
    }, one.name)));
    id("map-note").textContent = gallery.maps[map].note;
    const used = [...new Set(gallery.photos.flatMap((p) => p.labels.slice(0, 1)))].sort((a, b) => a - b);
    id("legend").replaceChildren(...used.slice(0, 12).map((l) =>
      el("span", {}, el("span", { class: ring(l) ? "swatch ring" : "swatch", style: `--it: var(--c${l % colors})` }), gallery.classes[l])));
  }

  // ---- all of it

  function show() {
    const there = Boolean(data.gallery.photos);
    ["plane", "grid", "chosen", "filter", "earlier", "later"].forEach((name) => { id(name).hidden = !there; });
    document.querySelectorAll("#photos .bar, #photos .hint, #map .bar").forEach((node) => { node.hidden = !there; });
    if (!there) {
      id("map-note").textContent = data.gallery.missing;
      id("drawings").replaceChildren(el("p", { class: "hint" }, data.gallery.missing));
      ["photos", "figures", "map"].forEach((name) => { id(name).hidden = name !== "map"; });
      return;
    }
    ["photos", "figures"].forEach((name) => { id(name).hidden = false; });
    gallery = data.gallery;
    [chosen, map] = [Math.min(chosen, gallery.photos.length - 1), Math.min(map, Math.max(0, gallery.maps.length - 1))];
    if (gallery.maps.length) maps();
    id("map").hidden = !gallery.maps.length;
    const some = gallery.photos.length < gallery.of ? `${gallery.photos.length} of the ${gallery.of} photos` : `All ${gallery.of} photos`;
    document.querySelector("#photos .hint").dataset.count ??= document.querySelector("#photos .hint").textContent;
    document.querySelector("#photos .hint").textContent = `${some} of ${gallery.place}. ` + document.querySelector("#photos .hint").dataset.count;
    // News leave a person where they were.
    const kept = first;
    filter();
    turn(kept);
    choose(chosen);
    id("drawings").replaceChildren(...gallery.figures.map((f) => {
      const figure = el("figure");
      if (f.svg) figure.insertAdjacentHTML("beforeend", f.svg);
      else figure.append(el("img", { src: f.source, alt: f.caption }));
      figure.append(el("figcaption", {}, f.caption + "."));
      return figure;
    }));
  }
  /** All of it, and no link to a section that is not shown. */
  function all() {
    show();
    document.querySelectorAll("nav a").forEach((link) => { link.hidden = document.querySelector(link.hash).hidden; });
  }
  document.addEventListener("photos", all);
  all();
})();
