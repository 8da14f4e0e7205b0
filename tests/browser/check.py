#!/usr/bin/env python3
"""Opens a report in headless Chromium and uses it as a person does: by pointer, by keyboard, on a phone, light and dark.

    apt-get install chromium && pip install playwright
    vista report runs/mine && python tests/browser/check.py runs/mine/report.html --pictures /tmp/pictures
    vista watch runs/mine --port 8000 & python tests/browser/check.py http://127.0.0.1:8000/     # while the run goes on

Prints a line for each thing tried; exits with 1 if one fails, if the page logs an error, or if it asks the network for
anything.
"""

import argparse
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

failed = []


def expect(what, good, found=""):
    print(f"{'ok    ' if good else 'FAILED'} {what} {found}", flush=True)
    if not good:
        failed.append(what)


def median_ms(page, script, times=15):
    """Median milliseconds until the frame after `script` is painted."""
    return page.evaluate(
        """async ([script, times]) => {
            const run = new Function(script), all = [];
            for (let i = 0; i < times; i++) {
                const began = performance.now();
                run();
                await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
                all.push(performance.now() - began);
            }
            return all.sort((a, b) => a - b)[times >> 1];
        }""",
        [script, times],
    )


def photos(page, count):
    chosen = lambda: page.inner_text("#chosen .query small")
    expect("a photo is chosen and has neighbours with crops", page.locator("#chosen .tile .crop").count() >= 2)
    page.locator("#chosen button").first.click()
    expect("a neighbour can be chosen", chosen() != page.locator("#grid button").first.get_attribute("title"))

    grid = page.locator("#grid button")
    grid.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.title")
    page.keyboard.press("Enter")
    expect("the grid is used by arrow keys and Enter", chosen() == focused and focused != grid.first.get_attribute("title"))
    page.fill("#filter", focused[:12])
    expect("photos are found by name", 0 < page.locator("#grid button").count() <= 60)
    page.fill("#filter", "no such photo at all")
    expect("nothing found is said", page.inner_text("#page") == "none" and grid.count() == 0)
    page.fill("#filter", "")
    if count > 60:
        page.click("#later")
        expect("the grid has pages", page.inner_text("#page").startswith("61 to"), page.inner_text("#page"))
        page.click("#earlier")

    canvas = page.locator("#canvas")
    page.wait_for_timeout(1000)  # thumbnails are decoded
    pixels = lambda: page.evaluate("""() => {
        const canvas = document.getElementById('canvas');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let inked = 0;
        for (let i = 3; i < data.length; i += 4) inked += data[i] > 0;
        return inked;
    }""")
    thumbnails = pixels()
    page.click("#thumbnails")
    dots = pixels()
    page.click("#thumbnails")
    expect("the map has thumbnails, or dots alone", thumbnails > 3 * dots > 0, f"{thumbnails} and {dots} pixels")
    labels = page.locator("#legend button")
    if labels.count() > 1:
        labels.first.click()
        expect("one label of the map can be shown alone", labels.first.get_attribute("aria-pressed") == "true" and pixels() < thumbnails)
        labels.first.click()
    canvas.scroll_into_view_if_needed()
    canvas.focus()
    # Labelled photos that the run did not learn from have no neighbours to be shown.
    for key in ["ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"] * 5:
        page.keyboard.press(key)
        shown = page.inner_text("#hover figcaption")
        if shown != chosen() and page.evaluate("t => data.gallery.photos.some((p) => t.startsWith(p.name))", shown):
            break
    expect("the map is read by arrow keys", page.is_visible("#hover") and shown != chosen(), shown)
    page.keyboard.press("Enter")
    expect("Enter on the map chooses", chosen() == shown)
    page.evaluate("document.activeElement.blur()")
    box = canvas.bounding_box()
    for i in range(40):
        page.mouse.move(box["x"] + box["width"] * (0.3 + i / 100), box["y"] + box["height"] * (0.3 + i / 100))
        if page.is_visible("#hover"):
            break
    expect("pointing at the map shows a photo", page.is_visible("#hover img"))
    page.mouse.move(0, 0)
    for name in page.locator("#maps button").all_inner_texts():
        page.click(f"#maps button:text-is('{name}')")
        pressed = page.get_attribute(f"#maps button:text-is('{name}')", "aria-pressed")
        expect(f"the map {name} is shown", pressed == "true", page.inner_text("#map-note"))

    for what, script in [
        ("choosing a photo", "document.querySelectorAll('#grid button')[Math.floor(Math.random() * 40)].click()"),
        ("drawing the map", "document.dispatchEvent(new Event('theme'))"),
        ("filtering", "const f = document.getElementById('filter'); f.value = f.value ? '' : 'a'; f.dispatchEvent(new Event('input'))"),
    ]:
        ms = median_ms(page, script)
        expect(f"{what} among {count} photos takes less than 100 ms", ms < 100, f"{ms:.0f} ms")


def even(page, what, tiles):
    """Tiles of one row have one height, and all one width."""
    boxes = page.locator(tiles).evaluate_all("all => all.map(t => t.getBoundingClientRect()).map(b => [b.top, b.width, b.height].map(Math.round))")
    rows = {}
    for top, _, height in boxes:
        rows.setdefault(top, set()).add(height)
    same = lambda all: max(all) - min(all) <= 1
    expect(f"{what} are even", same([width for _, width, _ in boxes]) and all(map(same, rows.values())), f"{len(boxes)} tiles")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", help="file or address")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    args = parser.parse_args()
    local = not args.report.startswith("http")
    address = Path(args.report).resolve().as_uri() if local else args.report
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        said, asked = [], []
        for scheme, width, height in [("light", 1280, 900), ("dark", 1280, 900), ("light", 390, 844), ("dark", 390, 844)]:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme,
                                          has_touch=width < 500, is_mobile=width < 500, device_scale_factor=1)
            page = context.new_page()
            page.on("console", lambda m: said.append(m.text) 
                    # The map's pixels are read back by this program alone.
                    if m.type in ("error", "warning") and "willReadFrequently" not in m.text else None)
            page.on("pageerror", lambda e: said.append(str(e)))
            page.on("request", lambda r: None if r.url == address or r.url.startswith("data:") or not local else asked.append(r.url))
            began = time.monotonic()
            page.goto(address)
            page.wait_for_selector("#charts .chart")
            print(f"-- {scheme}, {width} px: opened in {time.monotonic() - began:.2f} s")
            wide = page.evaluate("document.documentElement.scrollWidth")
            expect("nothing is wider than the screen", wide <= width, f"{wide} of {width}")
            theme = page.evaluate("document.documentElement.dataset.theme")
            expect("the system's theme is taken", theme == scheme)
            leads = page.locator("nav a:visible").evaluate_all(
                "all => all.filter(a => document.querySelector(a.hash).checkVisibility()).length / all.length")
            expect("every link leads to a section that is shown", leads == 1, f"{leads:.0%}")
            count = page.evaluate("data.gallery.photos?.length ?? 0")
            several = page.evaluate("data.runs.length > 1")
            empty = page.evaluate("""[...document.querySelectorAll('main section, main article, main figure')].filter(box =>
                box.checkVisibility() && !box.textContent.trim() && !box.querySelector('img, canvas, svg')).length""")
            expect("no section or box is empty", empty == 0, empty)
            fonts = page.evaluate("[...new Set([...document.querySelectorAll('body, body *')].map(e => getComputedStyle(e).fontFamily))]")
            expect("there is one font", len(fonts) == 1, fonts)
            small = page.evaluate("""Math.min(...[...document.querySelectorAll('svg text')].map(t =>
                parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getBoundingClientRect().width / t.ownerSVGElement.viewBox.baseVal.width))""")
            expect("text in charts is 10 px high or more", small >= 10, f"{small:.1f} px")
            clipped = page.evaluate("""[...document.querySelectorAll('svg text')].filter(t => {
                const box = t.getBoundingClientRect(), around = t.ownerSVGElement.getBoundingClientRect();
                return box.left < around.left - 1 || box.right > around.right + 1;
            }).map(t => t.textContent)""")
            expect("no text in a chart is clipped", not clipped, clipped)
            if width < 500:
                low = page.evaluate("""[...document.querySelectorAll('button, input, nav a, summary')].filter(e =>
                    e.checkVisibility() && e.getBoundingClientRect().height < 43.5).map(e => e.textContent)""")
                expect("what is touched is 44 px high", not low, low[:5])
            titled = page.evaluate("data.charts.every(c => c.title && /views seen/.test(c.svg))")
            expect("every chart has titled axes", titled)
            lead = page.inner_text("#summary .lead >> nth=0")
            expect("the headline says what was trained, on what, for how long", "trained" in lead and "photos" in lead and "minutes" in lead, lead)
            if page.evaluate("data.runs.some(run => run.knn)"):
                figures = page.inner_text("#summary .bars >> nth=0")
                expect("accuracy stands beside its floors with errors", "±" in figures and (several or "untrained" in figures or "start" in figures))
            if count:
                even(page, "photos", "#grid button")
                even(page, "neighbours", "#chosen > *")
                even(page, "rows of Fig. 4", "#drawings .rows > *")
            if args.pictures:
                args.pictures.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=args.pictures / f"{scheme}-{width}.png", full_page=True)
            if scheme == "light" and width == 1280:
                chart = page.locator("#charts .chart").first
                before = chart.locator(".keys").inner_text()
                chart.locator("svg").focus()
                page.keyboard.press("Home")
                expect("a chart is read by arrow keys", "views" in chart.locator(".note").inner_text(),
                       f"{chart.locator('.keys').inner_text()} / {before}")
                page.keyboard.press("Tab")
                note = chart.locator(".note").inner_text()
                box = chart.locator("svg").bounding_box()
                page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
                read = chart.locator(".note").inner_text()
                expect("a chart is read by pointer", "views" in read and read != note, f"{chart.locator('.keys').inner_text()} / {read}")
                inked = page.evaluate("[...document.querySelectorAll('#charts svg path')].every(p => getComputedStyle(p).stroke !== 'none')")
                expect("every line of a chart has a colour", inked)
                labels = page.eval_on_selector_all("img", "all => all.filter(i => i.getAttribute('alt') === null).length")
                expect("every picture has a text or is marked as decoration", labels == 0)
                if count:
                    photos(page, count)
            if not local and width == 1280 and scheme == "light":
                before = page.inner_text("#status")
                page.wait_for_function("old => document.getElementById('status').textContent !== old", arg=before, timeout=90_000)
                after = page.inner_text("#status")
                expect("a page that is served follows its run", "steps" in after, f"{before} / {after}")
            page.click("#theme")
            expect("the theme is switched", page.evaluate("document.documentElement.dataset.theme") != scheme)
            context.close()
        expect("the page logs no error", not said, said[:3])
        expect("nothing is asked of the network", not asked, asked[:3])
        browser.close()
    if failed:
        sys.exit(f"{len(failed)} failed")
    print("all good")


if __name__ == "__main__":
    main()
