// The photos in the learned space: map, grid, neighbours, figures.

/** Photos on a page of the grid. */
const SHOWN = 60;
/** Side of a thumbnail on the map in pixels. */
const THUMB = 36;

(() => {
  /** `mapped`: the photos of the map, those that the run was judged on behind its own. */
  let gallery, mapped = [], chosen = 0, at = null, first = 0, found = [], map = 0, alone = null;

  const source = (photo) => "data:image/jpeg;base64," + photo.jpeg;
  const labels = (photo) => photo.labels.map((l) => gallery.classes[l]).join(", ");
  const title = (photo) => photo.name + (photo.labels.length ? ` (${labels(photo)})` : "");

  /** Colours of labels; those beyond them are rings. A photo without a label is grey, which is no label's colour. */
  const hues = [0, 1, 2, 3, 4, 6, 7, 8, 9];
  const ring = (label) => Math.floor(label / hues.length) % 2 === 1;
  const color = (label) => (label === undefined && gallery.classes.length ? "--soft" : `--c${hues[(label ?? 0) % hues.length]}`);
  /** Whether a photo is one of the label that is shown alone. */
  const lit = (row) => alone === null || mapped[row].labels[0] === alone;

  // ---- neighbours

  /** A square with a photo in its middle and the crop [x, y, width, height], in hundredths of it. */
  function framed({ jpeg, size: [width, height] }, [x, y, w, h]) {
    const [wide, high] = [width, height].map((side) => (100 * side) / Math.max(width, height));
    return el("span", { class: "square" }, el("span", { class: "framed", style: `width:${wide}%;height:${high}%` },
      el("img", { src: "data:image/jpeg;base64," + jpeg, alt: "" }),
      el("span", { class: "crop", style: `left:${x}%;top:${y}%;width:${w}%;height:${h}%` })));
  }

  /** Photos that are `photo` to the last pixel, but for itself. */
  const same = (photo) => gallery.photos.filter((p) => p !== photo && p.pixels === photo.pixels && p.jpeg === photo.jpeg);

  /** A neighbour of a photo, with its cosine. */
  function neighbour(photo, [key, cosine]) {
    const other = gallery.photos[key], alike = other.labels.some((l) => photo.labels.includes(l));
    const word = same(photo).includes(other) ? " identical" : alike ? " same label" : "";
    return el("button", { type: "button", class: "tile", title: title(other), click: () => { choose(key); focusChosen(); } },
      framed(other, other.key), el("b", {}, cosine.toFixed(3), el("i", {}, word)), el("small", {}, title(other)));
  }

  function choose(row) {
    chosen = row;
    const photo = gallery.photos[row];
    const query = el("div", { class: "tile query", title: title(photo) }, framed(photo, photo.query), el("b", {}, "chosen"), el("small", {}, title(photo)));
    id("chosen").replaceChildren(query, ...photo.near.map((near) => neighbour(photo, near)));
    const names = same(photo).map((other) => other.name);
    id("same").textContent = names.length ? `${photo.name} is identical, pixel by pixel, to ${names.join(", ")}.` : "";
    id("same").hidden = !names.length;
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
    }, el("img", { src: source(gallery.photos[row]), alt: "" }))));
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
    const edge = THUMB + 12, side = Math.min(box.width, box.height) - edge, [x, y] = gallery.maps[map].at[row];
    // A wide canvas is used in all its width.
    const wide = Math.min(box.width - edge, 2 * side);
    return [box.width / 2 + (x - 0.5) * wide, box.height / 2 - (y - 0.5) * side];
  }

  /** The photos whose thumbnails have room in the plane, from the first on. */
  function roomy() {
    const taken = new Map(), cell = (v) => Math.floor(v / THUMB);
    // What has a label has the first choice.
    const order = mapped.map((_, row) => row), labelled = (row) => mapped[row].labels.length > 0;
    return [...order.filter(labelled), ...order.filter((row) => !labelled(row))].filter((row) => {
      if (!lit(row)) return false;
      const [x, y] = place(row);
      for (let i = -1; i <= 1; i++) for (let j = -1; j <= 1; j++) {
        const there = taken.get(`${cell(x) + i} ${cell(y) + j}`);
        if (there && Math.abs(there[0] - x) < THUMB && Math.abs(there[1] - y) < THUMB) return false;
      }
      taken.set(`${cell(x)} ${cell(y)}`, [x, y]);
      return true;
    });
  }

  /** Decoded thumbnails by their data. */
  const pictures = new Map();
  function picture(photo) {
    let image = pictures.get(photo.jpeg);
    if (!image) {
      image = new Image();
      image.onload = () => { fresh = false; soon(); };
      image.src = source(photo);
      pictures.set(photo.jpeg, image);
    }
    return image.complete && image.naturalWidth ? image : null;
  }

  /** All photos without what is chosen, drawn anew when they changed: pointing at one is then quick among thousands. */
  const plane = document.createElement("canvas");
  let fresh = false, waits = false;
  function soon() {
    if (!waits) requestAnimationFrame(() => { waits = false; draw(); });
    waits = true;
  }

  function drawPlane(scale, style) {
    [plane.width, plane.height] = [box.width * scale, box.height * scale];
    const pen = plane.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.lineWidth = 1.5;
    mapped.forEach((photo, row) => {
      const [x, y] = place(row), label = photo.labels[0];
      pen.globalAlpha = lit(row) ? 0.75 : 0.1;
      pen.fillStyle = pen.strokeStyle = style.getPropertyValue(color(label));
      pen.beginPath();
      pen.arc(x, y, 3.5, 0, 7);
      if (ring(label ?? 0)) pen.stroke(); else pen.fill();
    });
    pen.globalAlpha = 1;
    if (id("thumbnails").getAttribute("aria-pressed") !== "true") return;
    pen.lineWidth = 3;
    for (const row of roomy()) {
      const photo = mapped[row], image = picture(photo), [x, y] = place(row), half = THUMB / 2 - 2;
      if (!image) continue;
      const side = Math.min(image.naturalWidth, image.naturalHeight);
      pen.drawImage(image, (image.naturalWidth - side) / 2, (image.naturalHeight - side) / 2, side, side, x - half, y - half, 2 * half, 2 * half);
      pen.strokeStyle = style.getPropertyValue(color(photo.labels[0]));
      pen.setLineDash(ring(photo.labels[0] ?? 0) ? [3, 2] : []);
      pen.strokeRect(x - half, y - half, 2 * half, 2 * half);
    }
  }

  function draw() {
    if (!gallery?.maps?.length) return;
    const scale = devicePixelRatio || 1, pen = canvas.getContext("2d");
    const now = canvas.getBoundingClientRect();
    fresh &&= now.width === box.width && now.height === box.height;
    box = now;
    if (!box.width) return;
    const style = getComputedStyle(document.documentElement);
    if (!fresh) drawPlane(scale, style);
    fresh = true;
    [canvas.width, canvas.height] = [plane.width, plane.height];
    pen.drawImage(plane, 0, 0);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const around = (row, stroke, radius, width) => {
      const [x, y] = place(row);
      [pen.strokeStyle, pen.lineWidth] = [stroke, width];
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
      pen.stroke();
    };
    gallery.photos[chosen].near.forEach(([key]) => { around(key, "#000a", 8, 4); around(key, "#ffd400", 8, 2); });
    around(chosen, "#fffa", 9, 5);
    around(chosen, "#e02020", 9, 3);
    if (at !== null) around(at, style.getPropertyValue("--ink"), 12, 2);
  }

  /** Draws the photos anew. */
  function redraw() {
    fresh = false;
    draw();
  }

  function point(row) {
    at = row;
    draw();
    hover.hidden = row === null;
    if (row === null) return;
    const photo = mapped[row], [x, y] = place(row), image = hover.querySelector("img");
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
    mapped.forEach((_, row) => {
      const [px, py] = place(row), distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least && fits(px - x, py - y, row)) [best, least] = [row, distance];
    });
    return best;
  }

  const follow = (event) => {
    if (!gallery) return;
    const inside = canvas.getBoundingClientRect();
    const row = nearest(event.clientX - inside.left, event.clientY - inside.top, (dx, dy) => dx * dx + dy * dy < 400);
    if (row !== at) point(row);
  };
  ["pointermove", "pointerdown"].forEach((what) => canvas.addEventListener(what, follow));
  canvas.addEventListener("pointerleave", () => gallery && point(null));
  canvas.addEventListener("blur", () => gallery && point(null));
  canvas.addEventListener("focus", () => gallery && at === null && canvas.matches(":focus-visible") && point(chosen));
  /** Only photos that the run learned from have neighbours here. */
  const take = (row) => { if (row !== null && row < gallery.photos.length) choose(row); };
  canvas.addEventListener("click", () => gallery && take(at));
  canvas.addEventListener("keydown", (event) => {
    if (!gallery) return;
    if (event.key === "Enter") { event.preventDefault(); take(at); }
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
  document.addEventListener("theme", redraw);
  id("thumbnails").addEventListener("click", (event) => {
    event.target.setAttribute("aria-pressed", event.target.getAttribute("aria-pressed") !== "true");
    redraw();
  });

  function maps() {
    id("maps").replaceChildren(...gallery.maps.map((one, i) => el("button", {
      type: "button", "aria-pressed": i === map, click: () => { map = i; maps(); point(null); redraw(); },
    }, one.name)));
    const judged = gallery.labelled.length ? ` Those with a label are ${gallery.labelled.length} that the run is judged on.` : "";
    id("map-note").textContent = gallery.maps[map].note + judged;
    const used = [...new Set(mapped.flatMap((p) => p.labels.slice(0, 1)))].sort((a, b) => a - b);
    id("legend").replaceChildren(...used.map((label) => el("button", {
      type: "button", "aria-pressed": label === alone, click: () => { alone = label === alone ? null : label; maps(); redraw(); },
    }, el("span", { class: ring(label) ? "swatch dot ring" : "swatch dot", style: `--it: var(${color(label)})` }), gallery.classes[label])));
    const bare = used.length > 0 && mapped.some((p) => !p.labels.length);
    if (bare) id("legend").append(el("span", {}, el("span", { class: "swatch dot", style: "--it: var(--soft)" }), "no label"));
  }

  // ---- figures

  /** Rows of Fig. 4: a query, then its nearest; the last is the worst. */
  function rows(all) {
    return el("div", { class: "rows" }, ...all.flatMap(([query, near], i) => {
      const photo = gallery.photos[query];
      const tile = el("div", { class: "tile query", title: title(photo) }, framed(photo, photo.query), el("b", {}, i + 1 < all.length ? "query" : "worst"));
      return [tile, ...near.map(([key, cosine]) => {
        const other = gallery.photos[key], alike = other.labels.some((l) => photo.labels.includes(l));
        return el("div", { class: "tile", title: title(other) }, framed(other, other.key), el("b", { class: alike ? "alike" : null }, cosine.toFixed(3)));
      })];
    }));
  }

  // ---- all of it

  function show() {
    const there = Boolean(data.gallery.photos);
    ["photos", "figures", "map"].forEach((name) => { id(name).hidden = !there; });
    if (!there) return;
    gallery = data.gallery;
    mapped = [...gallery.photos, ...gallery.labelled];
    fresh = false;
    [chosen, map, alone] = [Math.min(chosen, gallery.photos.length - 1), Math.min(map, Math.max(0, gallery.maps.length - 1)), null];
    if (gallery.maps.length) maps();
    id("map").hidden = !gallery.maps.length;
    const some = gallery.photos.length < gallery.of ? `${gallery.photos.length} of the ${gallery.of} photos` : `All ${gallery.of} photos`;
    id("count").textContent = `${some} of ${gallery.place}.`;
    // News leave a person where they were.
    const kept = first;
    filter();
    turn(kept);
    choose(chosen);
    id("drawings").replaceChildren(...gallery.figures.map((f) => el("figure", {},
      f.rows ? rows(f.rows) : el("div", { class: "charts" }, ...f.charts.map(chart)), el("figcaption", {}, f.caption + "."))));
  }
  /** All of it, and no link to a section that is not shown. */
  function all() {
    show();
    document.querySelectorAll("nav a").forEach((link) => { link.hidden = document.querySelector(link.hash).hidden; });
  }
  document.addEventListener("photos", all);
  all();
})();
