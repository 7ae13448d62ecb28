"""The page in a real browser: it draws, responds to mouse and keys, and shows everything at its position in the patient."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from ambiseg.models.results.prediction_page import write_shared
from ambiseg.preprocessing.exports.segments import COLOURS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SOFTWARE = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PLANES = ("Axial", "Coronal", "Sagittal")

pytestmark = [
    pytest.mark.drawn,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


@pytest.fixture(scope="module")
def driver():
    with playwright.sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(driver):
    running = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *SOFTWARE])
    yield running
    running.close()


@pytest.fixture
def opened(browser, made, tmp_path):
    """A function that writes a page of a kind and opens it; the page may complain of nothing and ask for nothing."""
    said, pages = [], []

    def open_page(kind="block", *, unit="HU", width=1200, height=900, **other):
        path = made(kind, **other).write(tmp_path / "report.html", unit)
        page = browser.new_page(viewport={"width": width, "height": height})
        pages.append(page)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if request.url != path.as_uri() else None)
        page.goto(path.as_uri())
        page.wait_for_selector("#views[data-ready]", state="attached")
        page.evaluate("() => zoom(0)")  # out, as far as it goes
        settle(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not said


def settle(page):
    """Wait until the request is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)
    settle(page)


def seen(page):
    """The views as an array [Y, X, 3]."""
    return np.asarray(Image.open(io.BytesIO(page.locator("#views").screenshot())).convert("RGB")).astype(int)


def bare(page):
    """The views without masks, cross and words."""
    page.evaluate("() => { paintWords = () => {}; state.cross = false; showOnly('none') }")
    settle(page)
    return seen(page)


def tiles(page):
    """Left, top, width and height of each plane within the views."""
    found = page.evaluate("() => nv.screenSlices.map(tile => [tile.axCorSag, ...tile.leftTopWidthHeight])")
    return {PLANES[plane]: sides for plane, *sides in found}


def extent(marked):
    """First and last column and row [left, right, top, bottom] of what is marked [Y, X]."""
    y, x = np.nonzero(marked)
    return np.array([x.min(), x.max(), y.min(), y.max()])


def within(picture, sides):
    left, top, width, height = (round(side) for side in sides)
    return picture[top : top + height, left : left + width]


def near(picture, colour, tolerance=24):
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return (np.abs(picture - wanted) <= tolerance).all(-1)


def bright(picture):
    return picture.min(-1) > 150


@pytest.mark.parametrize("kind", ["block", "tilted"])
def test_everything_lies_where_it_is_in_the_patient(opened, made, kind):
    """The block lies towards the patient's left, front and head; the scan, the outlines and the millimetres say so."""
    page, volume = opened(kind), made(kind).volume
    marked = made(kind).results[0]
    page.evaluate("() => { state.shown = new Set([0]); state.cross = false; showHypotheses() }")
    settle(page)
    outlined = seen(page)
    plain = bare(page)
    sizes_mm = {"Axial": (10 * 0.8, 12 * 0.7), "Coronal": (10 * 0.8, 4 * 2.5), "Sagittal": (12 * 0.7, 4 * 2.5)}
    for plane, sides in tiles(page).items():
        scan, lines = within(plain, sides), within(outlined, sides)
        left, right, top, bottom = extent(bright(scan))
        height, width = scan.shape[:2]
        middle_x, middle_y = (left + right) / 2 / width, (top + bottom) / 2 / height
        assert middle_y < 0.5, "towards the front in axial slices, towards the head in the others: up"
        assert middle_x > 0.5 if plane != "Sagittal" else middle_x < 0.5, "left is right, the nose is left"
        pixels_a_mm = np.array([right - left + 1, bottom - top + 1]) / sizes_mm[plane]
        assert pixels_a_mm[0] == pytest.approx(pixels_a_mm[1], rel=0.12)
        around = extent(near(lines, COLOURS[0]))
        np.testing.assert_allclose(around, [left, right, top, bottom], atol=0.4 * pixels_a_mm.max() + 2)
    voxel = page.evaluate("() => state.at")
    shown = page.evaluate("() => millimetres(state.at)")
    by_niivue = page.evaluate("() => [...nv.frac2mm(nv.scene.crosshairPos, 0, true)].slice(0, 3)")
    z, y, x = (round(index) for index in volume.voxel(tuple(shown)))
    np.testing.assert_allclose(shown, volume.world((z, y, x)), atol=1e-3)
    np.testing.assert_allclose(by_niivue, shown, atol=1e-3)
    assert volume.array[z, y, x] == 60
    assert voxel[2] == z - page.evaluate("() => lesion.from")
    assert marked.hypotheses.masks[0][tuple(at - side.start for at, side in zip((z, y, x), marked.box, strict=True))]


def test_letters_stand_at_the_sides_that_they_name(opened):
    page = opened()
    page.evaluate(
        "() => { window.said = []; const real = write; write = (pen, frame, text, x, y, ...rest) => "
        "{ said.push([frame.plane.name, text, x, y]); real(pen, frame, text, x, y, ...rest) }; paint() }"
    )
    sides = tiles(page)
    found = {}
    for plane, text, x, y in page.evaluate("() => said"):
        if text in "LRAPHF":
            left, top, width, height = sides[plane]
            where = {(0, 1): "left", (2, 1): "right", (1, 0): "top", (1, 2): "bottom"}
            found[plane, where[round(2 * (x - left) / width), round(2 * (y - top) / height)]] = text
    assert (
        "".join(found[plane, side] for plane in PLANES for side in ("left", "right", "top", "bottom")) == "RLAPRLHFAPHF"
    )


def test_tilted_scans_say_both_sides(opened):
    page = opened("tilted")
    assert page.evaluate("() => [ends(0, true), ends(1, true), ends(2, true)]") == ["RA", "AL", "H"]


def test_the_scale_bar_is_as_long_as_it_says(opened):
    page = opened()
    drawn = page.evaluate(
        "() => { const lines = []; const real = CanvasRenderingContext2D.prototype.lineTo;"
        "const frame = frameOf(nv.screenSlices[0], 0); const pen = marks.getContext('2d');"
        "let from = 0; pen.moveTo = x => { from = x }; pen.lineTo = x => lines.push(x - from);"
        "let said = ''; const words = write; write = (a, b, text) => { said = text };"
        "paintScale(pen, frame); write = words; delete pen.moveTo; delete pen.lineTo;"
        "return [lines[0], said, Math.abs(frame.x.scale) / 0.8] }"
    )
    length, said, pixels_a_mm = drawn
    assert length == pytest.approx(int(said.removesuffix(" mm")) * pixels_a_mm, rel=1e-3)


def test_hypotheses_are_toggled(opened):
    page = opened()
    first = page.locator("[data-hypothesis='0']")
    assert first.get_attribute("aria-pressed") == "true"
    with_it = near(seen(page), COLOURS[0]).sum()
    first.click()
    settle(page)
    assert first.get_attribute("aria-pressed") == "false"
    assert near(seen(page), COLOURS[0]).sum() < 0.05 * with_it
    press(page, "1")
    assert first.get_attribute("aria-pressed") == "true"
    assert near(seen(page), COLOURS[0]).sum() == with_it
    press(page, "0")
    assert page.locator("[data-hypothesis][aria-pressed='true']").count() == 0
    assert not near(seen(page), COLOURS[1]).any()
    press(page, "a")
    assert page.locator("[data-hypothesis][aria-pressed='true']").count() == 3
    press(page, "9")  # there is no ninth
    page.click("[data-show='none']")
    assert page.locator("[data-hypothesis][aria-pressed='true']").count() == 0


def test_fill_and_opacity(opened):
    page = opened()
    press(page, "0", "1")
    left, _, top, _ = extent(near(within(seen(page), tiles(page)["Axial"]), COLOURS[0]))
    inside = (slice(top + 6, top + 20), slice(left + 6, left + 20))
    outline = within(seen(page), tiles(page)["Axial"])[inside]
    press(page, "f")
    assert page.locator("[data-style='fill']").get_attribute("aria-pressed") == "true"
    filled = within(seen(page), tiles(page)["Axial"])[inside]
    assert np.abs(filled - outline).max(-1).min() > 30
    page.locator("#opacity").fill("50")
    settle(page)
    half = within(seen(page), tiles(page)["Axial"])[inside]
    assert np.abs(half - outline).sum() < 0.7 * np.abs(filled - outline).sum()
    assert page.locator("output[for='opacity']").inner_text() == "50 %"


def said_slice(page, plane):
    return page.locator(f"output[for='slice-{plane}']").inner_text()


def test_slices_scroll_by_key_wheel_and_slider(opened):
    page = opened()
    before, at = seen(page), said_slice(page, "axial")
    count = page.evaluate("() => lesion.scan.counts[2]")
    number = int(at.split()[1])
    z = page.evaluate("() => millimetres(state.at)[2]")
    scan_slice = page.evaluate("() => lesion.from") + number
    assert at == f"slice {number} of {count}, z = −{abs(z):.1f} mm, {scan_slice} of 30 in the scan"
    press(page, "ArrowUp")
    assert said_slice(page, "axial").startswith(f"slice {number + 1} of {count}, z = −{abs(z + 2.5):.1f} mm")
    page.locator("#views").focus()
    press(page, "End")
    assert said_slice(page, "axial").startswith(f"slice {count} of {count}")
    assert np.abs(seen(page) - before).max() > 100
    press(page, "ArrowUp", "Home", "PageUp")
    assert said_slice(page, "axial").startswith("slice 6 ")
    left, top, width, height = tiles(page)["Coronal"]
    box = page.locator("#views").bounding_box()
    page.mouse.move(box["x"] + left + width / 2, box["y"] + top + height / 2)
    coronal = int(said_slice(page, "coronal").split()[1])
    page.mouse.wheel(0, -100)
    settle(page)
    page.wait_for_function(f"() => state.at[1] === {coronal}")
    assert said_slice(page, "axial").startswith("slice 6 ")
    page.locator("#slice-sagittal").fill("3")
    assert said_slice(page, "sagittal").startswith("slice 3 ")
    page.locator("#slice-sagittal").press("ArrowRight")
    assert said_slice(page, "sagittal").startswith("slice 4 ")
    assert said_slice(page, "axial").startswith("slice 6 ")
    page.keyboard.press("r")
    assert said_slice(page, "axial") == at


def test_a_click_moves_the_cross_in_all_planes(opened):
    page = opened()
    left, top, width, height = tiles(page)["Axial"]
    box = page.locator("#views").bounding_box()
    page.mouse.click(box["x"] + left + 0.25 * width, box["y"] + top + 0.25 * height)
    counts, at = page.evaluate("() => [lesion.scan.counts, state.at]")
    assert at[0] == pytest.approx(0.75 * counts[0], abs=1)  # the right is on the left
    assert at[1] == pytest.approx(0.75 * counts[1], abs=1)
    assert page.locator("#value").inner_text() == "−900 HU"
    assert page.locator("#marked").inner_text() == "no hypothesis"
    press(page, "r")
    assert page.locator("#value").inner_text() == "60 HU"
    assert page.locator("#marked").inner_text() == "1, 2"
    assert page.locator("#probability").inner_text() == "90 %"


def test_windows_change_by_preset_key_and_mouse(opened):
    page = opened()
    lung = page.locator("#windows button", has_text="Lung")
    assert lung.get_attribute("aria-pressed") == "true"
    assert page.locator("#window").inner_text() == "level −300, width 1400 HU"
    press(page, "0")
    before = seen(page)
    page.locator("#windows button", has_text="Soft tissue").click()
    settle(page)
    assert lung.get_attribute("aria-pressed") == "false"
    assert np.abs(seen(page) - before).max() > 20
    assert page.locator("#window").inner_text() == "level 40, width 400 HU"
    press(page, "w")
    assert page.locator("#window").inner_text() == "level 400, width 1800 HU"
    press(page, "w", "]")
    assert page.locator("#window").inner_text() == "level −265, width 1400 HU"
    press(page, "[", "{")
    assert page.locator("#window").inner_text() == "level −300, width 1330 HU"
    box = page.locator("#views").bounding_box()
    at = (box["x"] + 150, box["y"] + 150)
    page.mouse.move(*at)
    page.mouse.down(button="right")
    page.mouse.move(at[0] + 60, at[1], steps=4)
    page.mouse.up(button="right")
    assert int(page.locator("#window").inner_text().split()[3]) > 1400


@pytest.mark.parametrize(("name", "ends"), [("probability", ["0", "100 %"]), ("entropy", ["0", "0.69 nats"])])
def test_maps_are_shown_with_their_legend(opened, name, ends):
    page = opened()
    before = within(bare(page), tiles(page)["Coronal"])
    assert page.locator("#legend").is_hidden()
    page.click(f"[data-map='{name}']")
    settle(page)
    changed = np.abs(within(seen(page), tiles(page)["Coronal"]) - before).max(-1) > 20
    block = extent(bright(before))
    np.testing.assert_allclose(extent(changed), block, atol=12)
    assert page.locator("#legend span").all_inner_texts() == ends
    press(page, *("m" * (1 if name == "entropy" else 2)))
    assert page.locator("#legend").is_hidden()


def test_zoom_stays_within_the_region(opened):
    page = opened()
    press(page, "r")
    assert page.evaluate("() => state.zoom") == pytest.approx(63 / 32, abs=0.05)
    whole = extent(bright(within(bare(page), tiles(page)["Axial"])))
    press(page, *["+"] * 4)
    zoomed = extent(bright(within(seen(page), tiles(page)["Axial"])))
    assert zoomed[1] - zoomed[0] == pytest.approx(1.25**4 * (whole[1] - whole[0]), rel=0.05)
    press(page, *["-"] * 8)
    assert page.evaluate("() => [state.zoom, ...state.pan]") == [1, 0, 0, 0]


def test_another_lesion_is_chosen(opened):
    page = opened("two")
    assert page.locator("article.lesion:visible h2").all_inner_texts() == ["Lesion 1"]
    first = page.locator("#at").inner_text()
    page.locator(".choose button", has_text="apex").click()
    page.wait_for_selector("#views[data-ready='1']", state="attached")
    assert page.locator("article.lesion:visible h2").all_inner_texts() == ["apex"]
    assert page.locator("#at").inner_text() != first
    settle(page)
    assert near(seen(page), COLOURS[0]).sum() > 20
    assert not near(seen(page), COLOURS[1]).any()
    press(page, "n")
    page.wait_for_selector("#views[data-ready='0']", state="attached")
    assert page.locator("#at").inner_text() == first
    assert page.evaluate("() => nv.volumes.length") == 1


def test_a_lesion_without_voxels_has_its_picture(opened, monkeypatch):
    monkeypatch.setattr("ambiseg.models.results.prediction_page.LIVE", 1)
    page = opened("two")
    press(page, "n", "1", "ArrowUp", "w", "r")
    assert page.locator("article.lesion:visible h2").all_inner_texts() == ["apex"]
    assert page.locator(".still img:visible").count() == 1
    assert page.locator("canvas:visible").count() == 0
    page.locator(".choose button").first.click()
    page.wait_for_function("() => lesion !== null")
    settle(page)
    assert page.locator(".still img:visible").count() == 0
    assert near(seen(page), COLOURS[0]).sum() > 100


def test_a_single_slice_is_shown_in_its_plane_alone(opened):
    page = opened("flat", unit="relative")
    assert list(tiles(page)) == ["Axial"]
    assert page.locator("#slice-coronal").is_hidden()
    assert page.locator("#slice-axial").is_disabled()
    assert near(seen(page), COLOURS[0]).sum() > 100
    assert page.locator("#windows button").all_inner_texts() == ["Auto", "Full range"]
    assert page.locator("#value").inner_text() == "60"
    press(page, "ArrowUp", "p", "p", "w", "m", "f", "+", "-")
    assert list(tiles(page)) == ["Axial"]


def test_classes_are_numbered_and_named(opened):
    page = opened("classes")
    assert page.locator("#marked").inner_text() == "1 (core), 2 (rim)"


@pytest.mark.parametrize("width", [700, 1000, 1400])
def test_nothing_is_wider_than_the_window(opened, width):
    page = opened("two", width=width)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 1100, "height": 700})
    settle(page)
    page.wait_for_function("() => marks.width === scan.width && scan.width === views.clientWidth")


def test_a_page_that_shares_its_viewer_works_from_a_disk_and_says_what_it_lacks_alone(browser, made, tmp_path):
    for folder in ("batch/report-files", "batch/case", "alone"):
        (tmp_path / folder).mkdir(parents=True)
    write_shared(tmp_path / "batch" / "report-files")
    page = browser.new_page()
    page.goto(made().write(tmp_path / "batch" / "case" / "report.html", shared="../report-files").as_uri())
    page.wait_for_selector("#views[data-ready]", state="attached")
    assert page.locator(".apart").is_hidden()
    page.goto(made().write(tmp_path / "alone" / "report.html", shared="../report-files").as_uri())
    assert page.locator("text=This page lacks its style and its viewer").is_visible()
    assert page.locator(".still img:visible").count() == 1
    assert page.locator("canvas:visible").count() == 0
    page.close()


@pytest.mark.parametrize("kind", ["block", "two"])
def test_without_scripts_there_are_pictures_and_figures(browser, made, tmp_path, kind):
    path = made(kind).write(tmp_path / "report.html")
    page = browser.new_page(java_script_enabled=False)
    page.goto(path.as_uri())
    lesions = len(made(kind).results)
    assert page.locator("article.lesion:visible").count() == page.locator(".still img:visible").count() == lesions
    assert page.locator("text=agreement with 1").first.is_visible()
    assert page.locator("canvas:visible").count() == 0
    page.close()


def test_without_webgl_there_are_pictures_and_a_sentence(driver, made, tmp_path):
    path = made("two").write(tmp_path / "report.html")
    plain = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-3d-apis"])
    page = plain.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("#stopped:visible")
    assert "Pictures are shown instead" in page.locator("#stopped").inner_text()
    assert page.locator(".still img:visible").count() == 2
    assert page.locator("canvas:visible").count() == 0
    assert page.locator(".hypothesis:enabled").count() == 0
    plain.close()


@pytest.mark.parametrize("kind", ["block", "two", "flat"])
def test_axe_finds_nothing_serious_in_light_or_dark(opened, kind):
    """Deque's axe-core: WCAG 2.1 A and AA and best practices."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    page = opened(kind)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(page).response
        assert len(found["passes"]) > 20
        assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []


@pytest.mark.parametrize("width", [390, 1400])
def test_the_summary_comes_first_and_nothing_is_wider_than_the_page(opened, width):
    page = opened("two", width=width)
    summary, views = (page.locator(name).bounding_box() for name in (".sheets", "#views"))
    assert summary["y"] + summary["height"] <= views["y"]
    assert page.locator(".sheet").count() == 2
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


@pytest.mark.exhaustive
def test_on_paper_the_summary_has_the_first_page(opened):
    page = opened("block")
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.locator(".viewer").is_hidden()
    assert page.locator(".sheet").is_visible()
    assert page.locator(".desk").evaluate("desk => getComputedStyle(desk).breakBefore") == "page"
    tall = page.locator(".sheets").bounding_box()
    assert tall["y"] + tall["height"] < 1123  # an A4 page in CSS pixels
