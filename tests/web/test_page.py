"""The page in a real browser: every panel does what it says."""

import base64
import io
import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from PIL import Image
from selenium.webdriver.common.keys import Keys

import ganvas
from ganvas.config import Config, NetworkConfig
from ganvas.latent import open_space
from ganvas.latent.directions import find, save
from ganvas.model import Model
from ganvas.networks import build_generator
from ganvas.training import Result
from ganvas.web.state import Recipe, State, Timeline, from_text, to_json
from tests.forked import server
from tools.browser import CHART, Browser, chromium

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def cache(common: Path) -> Path:
    """Sliders, the map and the thumbnails of the packaged model are found once for all tests."""
    found = common / "explored"
    found.mkdir(exist_ok=True)
    return found


@pytest.fixture(scope="module")
def url(cache: Path) -> Iterator[str]:
    with server(cache=cache) as (address, _):
        yield address


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explorer")


@pytest.fixture(scope="module")
def browser(place: Path) -> Iterator[Browser]:
    with chromium(downloads=place) as found:
        yield found


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Browser]:
    """A fresh page at its start, which must not have complained when the test is over."""
    browser.open(url)
    yield browser
    assert browser.errors() == []


def array(src: str) -> np.ndarray:
    """The pixels behind a data address."""
    with Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2]))) as image:
        return np.asarray(image)


def state_of(page: Browser) -> Recipe:
    """What the address holds."""
    return from_text(page.driver.current_url.partition("r=")[2])


def test_a_slider_moves_the_picture_and_undo_brings_it_back(page: Browser) -> None:
    before = page.pixels()
    page.drag("pca-0", [6] * 15)
    moved = page.differs(before)
    assert page.script("return ganvas.times.length") > 0
    page.click("do-undo")
    page.equals(before)
    page.settled()  # the picture comes first, then sliders and address
    assert float(page.slider("pca-0").get_property("value")) == 0  # type: ignore[arg-type]
    page.click("do-redo")
    page.equals(moved)
    page.tab("History")
    assert "pca-0 at +" in page.text("steps")


def test_sliders_can_be_kept_to_some_layers(page: Browser) -> None:
    page.drag("pca-0", [6] * 15)
    page.settled()
    everywhere, address = page.pixels(), page.driver.current_url
    page.click("move-layers")  # in its middle: the nearer end comes there
    page.differs(everywhere)
    page.settled()
    layers = state_of(page).state.moves[0].layers
    assert layers
    page.click("do-undo")
    page.equals(everywhere)
    page.settled()
    assert page.driver.current_url == address


def test_the_address_gives_the_same_pixels_in_python_and_in_the_browser(page: Browser, url: str) -> None:
    page.drag("pca-1", [5] * 20)
    page.drag("truncation", [-5] * 4)
    page.settled()
    pixels, address = page.pixels(), page.driver.current_url
    page.open(url)
    page.differs(pixels)
    page.open(address)
    page.equals(pixels)
    recipe = from_text(address.partition("r=")[2])
    assert recipe.state.truncation < 1
    assert np.array_equal(ganvas.replay(recipe, device="cpu")[0].numpy(), array(pixels))


def test_keys_work_without_a_mouse(page: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    before = page.pixels()
    bar = page.slider("pca-2")
    bar.send_keys(Keys.ARROW_RIGHT * 15)
    moved = page.differs(before)
    recipe = state_of(page)
    assert np.array_equal(ganvas.replay(recipe, device="cpu")[0].numpy(), array(moved)), "the last of fifteen"  # type: ignore[arg-type]
    assert recipe.state.moved("pca-2") == pytest.approx(1.5)  # type: ignore[attr-defined]
    page.script("document.activeElement.blur()")
    page.all("body")[0].send_keys("n")
    page.differs(moved)
    page.all("body")[0].send_keys("z")
    page.equals(moved)


def test_the_quality_is_read_while_one_moves(page: Browser) -> None:
    assert page.text("q-realism").startswith("99%")
    assert page.text("verdict") == "on the manifold"
    assert "images" in page.text("nearest")
    from selenium.webdriver.common.keys import Keys

    for name in ("pca-0", "pca-1", "pca-4"):
        page.slider(name).send_keys(Keys.END)
    page.settled()
    page.wait(lambda: page.text("verdict").startswith("off the manifold"))
    strange = page.pixels()
    page.click("do-repair")
    page.differs(strange)
    page.wait(lambda: page.text("verdict") == "on the manifold")


def test_the_map_is_drawn_and_clicked(page: Browser) -> None:
    page.wait(lambda: "click to go" in page.text("map-words"))
    before = page.pixels()
    page.click_map(123)
    page.differs(before)
    recipe = state_of(page)
    number = recipe.state.number  # type: ignore[attr-defined]
    wanted = ganvas.load("fashion", device="cpu").sample(number + 1, batch=1)[number, 0]
    assert np.array_equal(array(page.pixels()), wanted.numpy())


def test_a_is_kept_beside_b_and_swapped(page: Browser) -> None:
    a = page.pixels()
    page.click("do-pin")
    page.wait(lambda: page.text("pinned-words").startswith("A: realism 99%"))
    page.drag("pca-0", [6] * 15)
    page.settled()
    b = page.pixels()
    assert page.script("return document.querySelector('.stage img').src") == a != b
    page.click("do-swap")
    page.equals(a)
    page.wait(lambda: page.script("return document.querySelector('.stage img').src") == b)


def test_neighbours_and_bookmarks(page: Browser) -> None:
    tiles = page.all('[data-id="neighbours"] .tile')
    assert len(tiles) == 9
    page.wait(
        lambda: page.script("return document.querySelectorAll('[data-id=neighbours] img[src]').length") == 9
    )
    before = page.pixels()
    page.script("arguments[0].click()", tiles[0])
    page.differs(before)
    page.tab("History")
    page.click("do-bookmark")
    page.settled()
    assert "went to a neighbour" in page.text("bookmarks")


def test_marks_become_a_slider(page: Browser) -> None:
    page.tab("Label")
    tiles = page.wait(lambda: page.all('[data-id="marking"] .tile'))
    sources = page.script("return [...document.querySelectorAll('[data-id=marking] img')].map(i => i.src)")
    light = [array(src).mean() for src in sources]
    for tile, value in zip(tiles, light, strict=True):
        for _ in range(1 if value > np.median(light) else 2):
            page.script("arguments[0].click()", tile)
    page.wait(lambda: page.text("marks") == "25 good, 25 bad")
    page.click("do-learn")
    page.wait(lambda: "accuracy" in page.text("learned"))
    assert int(page.text("learned").partition("accuracy ")[2].partition("%")[0]) > 75
    page.settled()  # the tray is laid out anew with the slider in it
    before = array(page.pixels()).mean()
    page.drag("marked", [5] * 15)
    page.settled()
    assert array(page.pixels()).mean() > before


def test_a_mark_is_that_of_the_sample_that_was_seen(page: Browser) -> None:
    """What was marked while more samples were being drawn marked those that nobody had seen yet."""
    page.tab("Label")
    page.wait(lambda: page.all('[data-id="marking"] .tile'))
    seen = page.script("return document.querySelector('[data-id=marking] img').src")
    page.script(
        "document.querySelector('[data-id=do-more]').click();"
        "setTimeout(() => document.querySelector('[data-id=marking] .tile').click(), 10)"
    )
    page.wait(lambda: page.text("marks") == "1 good, 0 bad")
    page.wait(lambda: page.script("return document.querySelector('[data-id=marking] img').src") != seen)
    assert not page.all('[data-id="marking"] .tile.good')


def test_a_picture_is_uploaded_inverted_and_edited(page: Browser, tmp_path: Path) -> None:
    wanted = ganvas.load("fashion", device="cpu").sample(4, seed=8)[3, 0].numpy()
    Image.fromarray(wanted).save(tmp_path / "mine.png")
    page.tab("Image")
    page.script("document.querySelector('[data-id=upload] input[type=file]').style.display = 'block'")
    page.all('[data-id="upload"] input[type="file"]')[0].send_keys(str(tmp_path / "mine.png"))
    page.wait(lambda: "residual" in page.text("inverted"))
    page.settled()
    found = array(page.pixels()).astype(int)
    assert np.abs(found - wanted).mean() < 12
    page.drag("pca-0", [5] * 15)
    page.settled()
    assert not np.array_equal(array(page.pixels()), found)


def test_a_bad_upload_is_refused_in_words_and_the_page_lives_on(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture at all")
    page.tab("Image")
    before = page.pixels()
    page.all('[data-id="upload"] input[type="file"]')[0].send_keys(str(tmp_path / "bad.png"))
    page.told("cannot be read")
    page.drag("pca-0", [5] * 15)
    page.differs(before)


def test_a_film_and_a_recipe_are_downloaded(page: Browser, place: Path) -> None:
    page.tab("Timeline")
    page.click("do-key")
    page.settled()
    page.drag("pca-0", [6] * 15)
    page.settled()
    page.click("do-key")
    page.wait(lambda: len(page.all('[data-id="keys"] .tile')) == 2)
    page.click("do-preview")
    page.wait(lambda: page.script("return document.querySelector('[data-id=film]').naturalWidth") == 252)
    page.click("export-gif")
    film = page.wait(lambda: [path for path in place.glob("walk*.gif") if path.stat().st_size])[0]
    with Image.open(film) as image:
        assert getattr(image, "n_frames", 1) >= 40  # equal pictures in a row become one
    page.tab("Recipe")
    page.click("do-recipe")
    path = page.wait(lambda: [path for path in place.glob("recipe*.json") if path.stat().st_size])[0]
    assert len(json.loads(path.read_text())["timeline"]["keys"]) == 2
    assert np.array_equal(ganvas.replay(path, device="cpu")[0].numpy(), array(page.pixels()))


def test_what_is_copied_is_copied_where_there_is_no_clipboard(page: Browser) -> None:
    """A page that another machine has opened by http has none: both buttons did nothing."""
    page.script(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true});"
        "window.shown = []; document.execCommand = () => window.shown.push(document.activeElement.value)"
    )
    page.tab("Recipe")
    for words in ("Copy the address", "Copy as Python"):
        next(each for each in page.all("button") if words in each.text).click()
    shown = page.wait(lambda: found if len(found := page.script("return window.shown")) == 2 else None)
    assert "?r=" in shown[0]
    assert shown[1].startswith("import ganvas")
    assert page.errors() == []


def test_a_film_is_that_of_the_recipe_that_was_opened(page: Browser, place: Path, tmp_path: Path) -> None:
    """Its keys were, and its frames, pace and way those of the fields."""
    wanted = Timeline((State(1), State(2)), "spline", False, True, frames=7, fps=5.0)
    recipe = replace(state_of(page), timeline=wanted)
    (tmp_path / "recipe.json").write_text(json.dumps(to_json(recipe)))
    page.tab("Recipe")
    page.all('[data-id="open-recipe"] input[type="file"]')[0].send_keys(str(tmp_path / "recipe.json"))
    page.tab("Timeline")
    page.wait(lambda: len(page.all('[data-id="keys"] .tile')) == 2)
    before = {*place.glob("walk*.webp")}
    page.click("export-webp")
    film = page.wait(lambda: [each for each in {*place.glob("walk*.webp")} - before if each.stat().st_size])[
        0
    ]
    with Image.open(film) as image:
        assert getattr(image, "n_frames", 1) == 7
    page.settled()
    assert state_of(page).timeline == wanted


def test_what_is_locked_is_what_stands_there(page: Browser, tmp_path: Path) -> None:
    """After a step back attributes stood there as locked that the sliders changed again."""
    recipe = replace(state_of(page), state=State(locks=("brightness",)))
    (tmp_path / "locks.json").write_text(json.dumps(to_json(recipe)))
    page.tab("Recipe")
    page.all('[data-id="open-recipe"] input[type="file"]')[0].send_keys(str(tmp_path / "locks.json"))
    page.wait(lambda: any("brightness" in chip.text for chip in page.all(".q-chip")))
    assert "keep brightness" in page.text("directions-note")
    page.click("do-undo")
    page.wait(lambda: not page.all(".q-chip") and not page.text("directions-note"))
    page.settled()
    assert state_of(page).state.locks == ()


def test_a_double_click_takes_one_away(page: Browser) -> None:
    """The second click comes before the list is drawn anew, and took the one that had moved up."""
    twice = "const b = document.querySelector(`[aria-label^='remove ${arguments[0]}']`); b.click(); b.click()"
    for tab, add, items, what in (
        ("Timeline", "do-key", '[data-id="keys"] .tile', "key frame"),
        ("History", "do-bookmark", '[data-id="bookmarks"] .g-line', "bookmark"),
    ):
        page.tab(tab)
        for strength in (6, 3, -3):
            page.drag("pca-0", [strength])
            page.settled()
            page.click(add)
            page.settled()
        page.wait(lambda items=items: len(page.all(items)) == 3)
        page.script(twice, what)
        page.wait(lambda items=items: len(page.all(items)) < 3)
        page.settled()
        assert len(page.all(items)) == 2


def test_a_broken_state_shows_its_error_in_place_and_the_page_lives_on(
    page: Browser, url: str, tmp_path: Path
) -> None:
    page.open(url)
    recipe = state_of(page)
    from dataclasses import replace

    from ganvas.web.state import pack, to_text

    state = replace(recipe.state, base=pack(torch.full((64,), 3e38)), space="w")  # type: ignore[attr-defined]
    page.driver.get(f"{url}?r={to_text(replace(recipe, state=state))}")  # type: ignore[type-var]
    page.wait(lambda: "NaN or infinity" in page.text("failure"))
    page.wait(lambda: page.text("verdict") or True)
    page.wait(lambda: "the red line is your way" in page.text("map-words"))  # of which nothing is to be seen
    page.settled()
    page.script("document.activeElement.blur()")
    page.wait(lambda: page.script("return document.body.dataset.ready === 'yes'"))
    page.all("body")[0].send_keys("n")
    page.wait(
        lambda: page.script("return document.querySelector('[data-id=failure]').hidden && ganvas.painted > 0")
    )
    page.tab("History")
    page.click("do-bookmark")
    page.wait(lambda: len(page.all("[data-id=steps] .step")) == 2 and page.all("[data-id=bookmarks] .step"))
    page.wait(lambda: not page.all(".q-notification"))
    page.click("do-new")
    page.wait(lambda: len(page.all("[data-id=steps] .step")) == 3)
    page.settled()
    assert not page.all(".q-notification")
    state = replace(recipe.state, base=pack(torch.ones(3)), space="w")  # type: ignore[attr-defined]
    (tmp_path / "recipe.json").write_text(json.dumps(to_json(replace(recipe, state=state))))  # type: ignore[type-var]
    page.tab("Recipe")
    page.all('[data-id="open-recipe"] input[type="file"]')[0].send_keys(str(tmp_path / "recipe.json"))
    page.told("Not opened: The recipe holds 3 numbers where 64 are expected")
    page.driver.get(f"{url}?r=nonsense")
    page.told("Not opened: The recipe in the address is damaged")
    page.settled()
    assert page.driver.current_url.endswith("?r=nonsense"), "until something is done"
    page.click("do-new")
    page.wait(lambda: "nonsense" not in page.driver.current_url)
    page.wait(lambda: page.script("return ganvas.painted > 0"))


def test_two_tabs_do_not_disturb_each_other(page: Browser, url: str) -> None:
    before, first = page.pixels(), page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.open(url)
    page.drag("pca-0", [6] * 15)
    page.differs(before)
    page.driver.close()
    page.driver.switch_to.window(first)
    page.equals(before)


@pytest.mark.parametrize("height", [1024, 600])
@pytest.mark.slow
def test_a_tablet_reaches_every_tab_without_scrolling(url: str, height: int) -> None:
    """At 768 px they lay below 2,000 px of sliders. Tabs and the picture are in sight, and nothing is cut at the right."""
    with chromium(768, height) as tablet:
        tablet.open(url)
        tablet.wait(lambda: "click to go" in tablet.text("map-words"))
        width, seen = tablet.script("return [innerWidth, innerHeight]")
        assert width == 768
        names = [each.text for each in tablet.all(".q-tab")]
        assert names == ["Map", "Label", "Timeline", "Image", "History", "Recipe"]
        for name in names:
            tablet.tab(name)
            assert tablet.script("return [scrollX, scrollY]") == [0, 0], (
                "a tab is clicked where the page opens"
            )
            assert tablet.cut() == []
            assert tablet.script("return document.documentElement.scrollWidth") <= width
            top = tablet.script(
                "return Math.max(...[...document.querySelectorAll('.q-tab-panel')].filter((e) => e.offsetParent)"
                ".map((e) => e.getBoundingClientRect().top))"
            )
            assert 0 < top < seen / 3, f"{name} begins at {top} px"
        tablet.tab("Map")
        assert tablet.script("return document.querySelector('.g-map').getBoundingClientRect().bottom") < seen
        before = tablet.pixels()
        tablet.click_map(123)
        tablet.differs(before)
        tablet.script("window.scrollTo(0, document.documentElement.scrollHeight)")
        tablet.settled()
        box = tablet.script("return arguments[0].getBoundingClientRect().toJSON()", tablet.one("canvas"))
        assert 0 <= box["top"] < box["bottom"] <= seen, "the picture stays in sight beside the last slider"
        assert tablet.errors() == []


@pytest.mark.slow
def test_on_a_phone_nothing_is_cut_and_the_map_is_clicked(url: str) -> None:
    with chromium(390, 844) as phone:
        phone.open(url)
        phone.wait(lambda: "click to go" in phone.text("map-words"))
        assert phone.script("return innerWidth") == 390
        for name in ("Label", "Timeline", "Image", "History", "Recipe", "Map"):
            phone.tab(name)
            assert phone.cut() == []
            assert phone.script("return document.documentElement.scrollWidth") == 390
        before = phone.pixels()
        phone.click_map(123)
        phone.differs(before)
        box = phone.script("return arguments[0].getBoundingClientRect().toJSON()", phone.one("canvas"))
        assert 0 <= box["top"] < box["bottom"] <= 844 / 2, "the picture stays in sight above the map"
        assert phone.errors() == []


def test_a_lost_connection_comes_back_where_it_was(page: Browser) -> None:
    page.drag("pca-0", [6] * 15)
    page.settled()
    moved = page.pixels()
    page.script("window.socket.io.engine.close()")
    time.sleep(0.3)
    page.wait(lambda: page.script("return window.socket.connected"))
    page.drag("pca-1", [6] * 15)
    page.differs(moved)
    page.click("do-undo")
    page.equals(moved)


def test_nothing_but_pictures_is_served(page: Browser, url: str) -> None:
    from urllib.error import HTTPError

    formatter = f"return {CHART}.getOption().tooltip[0].formatter({{value: [0, 0, 0, 3, arguments[0]]}})"
    page.tab("Map")
    page.wait(lambda: page.script(f"return Boolean(document.querySelector('.g-map canvas') && {CHART})"))
    keys = set()
    for kind, name in ((0, "thumb"), (1, "real")):
        found = re.search(f'src="/({name}/([\\w-]{{22}})/3.png)[?][0-9a-f]+"', page.script(formatter, kind))
        assert found
        keys.add(found[2])
        with urlopen(url + found[1]) as response:
            assert response.read().startswith(b"\x89PNG")
    (key,) = keys
    for path in (
        f"real/{key}/999999999.png", f"thumb/{key}/-1.png", "thumb/3.png", "real/3.png", f"real/{key[::-1]}/3.png",
        "thumb/..%2f..%2fpyproject.png", "etc/passwd", "../../etc/passwd", "docs", "openapi.json", "static/page.js",
        "_nicegui/../../../etc/passwd",
    ):  # fmt: skip
        with pytest.raises(HTTPError) as caught:
            urlopen(url + path)
        assert caught.value.code in (404, 422), path
        caught.value.close()


def test_the_static_page_works_without_a_server(
    browser: Browser, cache: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    from ganvas.cli import main
    from ganvas.web import export

    monkeypatch.setenv("GANVAS_CACHE", str(cache))  # the map is there already
    for constant, value in {"FIRST": 8, "STARTS": 3, "DIRECTIONS": 2, "DOTS": 60}.items():
        monkeypatch.setattr(export, constant, value)
    path = place / "page.html"
    assert main(["explore", "--static", str(path), "--device", "cpu"]) == 0
    content = path.read_bytes()
    assert b"http://" not in content.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https://" not in content
    assert b"@DATA@" not in content
    browser.leave()
    browser.driver.get(path.as_uri())
    browser.wait(lambda: browser.script("return document.body.dataset.ready"))
    assert len(browser.all("#starts button")) == 3
    assert len(browser.all("#map circle")) == 60
    picture = "return document.getElementById('big').toDataURL()"
    before, said = browser.script(picture), browser.all("#meters")[0].text
    bar = browser.all("#sliders input")[0]
    browser.script("arguments[0].value = 12; arguments[0].dispatchEvent(new Event('input'))", bar)
    moved = browser.script(picture)
    assert moved != before
    assert browser.all("#meters")[0].text != said
    browser.script("document.querySelectorAll('#map circle')[40].dispatchEvent(new Event('click'))")
    assert browser.script(picture) != moved
    assert browser.errors() == []


def test_outside_of_loopback_a_token_is_needed_and_ctrl_c_stops_cleanly(
    browser: Browser, cache: Path
) -> None:
    from urllib.error import HTTPError

    with server("--host", "0.0.0.0", cache=cache) as (url, process):
        bare, _, token = url.partition("?token=")
        assert len(token) > 20
        with pytest.raises(HTTPError) as caught:
            urlopen(bare)
        assert caught.value.code == 403
        caught.value.close()
        browser.open(url)
        browser.settled()
        assert "token" not in browser.driver.current_url
        before = browser.pixels()
        browser.drag("pca-0", [6] * 15)
        browser.differs(before)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[0]
        assert process.returncode == 0
        assert "Traceback" not in said


def test_of_very_many_classes_one_is_chosen_by_its_number(
    browser: Browser, cache: Path, tmp_path: Path
) -> None:
    """As lists of names they made a page of 17 MB, for whose seconds all other pages waited."""
    network = NetworkConfig("style", latent_dim=8, conditional=True, generator={"channels": 4})
    generator = build_generator(network, (1, 16, 16), 2000).eval()
    names = tuple(f"kind {i}" for i in range(2000))
    model = Model.of_run(generator, None, Config(network=network), {"class_names": names})
    model.save(tmp_path / "many.safetensors")
    with server(str(tmp_path / "many.safetensors"), cache=cache) as (url, _):
        assert len(urlopen(url).read()) < 200_000
        browser.open(url)
        for label, chosen in (("class", 1234), ("mixed with", 1999)):
            field = browser.all(f'input[aria-label="{label}"]')[0]
            field.send_keys(Keys.CONTROL, "a")
            field.send_keys(str(chosen))
            browser.wait(lambda: chosen in (state_of(browser).state.label, state_of(browser).state.other))  # noqa: B023
        browser.settled()
        assert (state_of(browser).state.label, state_of(browser).state.other) == (1234, 1999)
        browser.tab("History")
        browser.wait(lambda: "mixed with class kind 1999" in browser.all("[data-id=steps]")[0].text)
        assert browser.errors() == []


def test_a_direction_may_be_called_like_another_slider(browser: Browser, cache: Path, tmp_path: Path) -> None:
    """Its thumb stood at an end without a number: the place went to the first slider of the name."""
    model = ganvas.load("fashion", device="cpu")
    (found,) = find(open_space(model), "random", 1)
    # What another method found leaves the tray once the page has chosen its own.
    save(tmp_path / "d.safetensors", [replace(found, name="truncation", method="attribute")])
    with server("--directions", str(tmp_path / "d.safetensors"), cache=cache) as (url, _):
        browser.open(url)
        places = "return [...document.querySelectorAll('[data-name=truncation]')].map(e => +e.value).sort()"
        browser.wait(lambda: browser.script(places) == [0, 1])
        assert browser.errors() == []


def test_a_run_in_progress_is_followed(
    browser: Browser, cache: Path, tmp_path: Path, tiny_train: Callable[..., Result]
) -> None:  # fmt: skip
    run = tiny_train(kimg=0.512).run
    with server(str(run.path), cache=cache) as (url, _):
        browser.open(url)
        browser.tab("Training")
        browser.wait(lambda: "0.512 kimg" in browser.text("training-words"))
        number = state_of(browser).state.number
        # The last is written again under the name of the one before: both are of the second thousand images.
        for kimg in (1.024, 1.536):
            before = browser.pixels()
            ganvas.train(resume=run.path, kimg=kimg, device="cpu", quiet=True, report=False)
            assert [path.name for path in run.snapshots] == ["000000", "000001"]
            browser.wait(lambda: f"{kimg:g} kimg" in browser.text("training-words"))  # noqa: B023
            browser.wait(lambda: browser.pixels() != before)  # noqa: B023
            browser.wait(lambda: run.snapshots[-1].name in browser.text("model"))
            wanted = ganvas.load(run.path, device="cpu").sample(1, first=number)[0, 0].int().numpy()
            # The page draws alone what `sample` draws in a batch: a pixel between two values may be rounded to either.
            browser.wait(lambda: np.abs(array(browser.pixels()) - wanted).max() <= 1)  # noqa: B023
        browser.settled()
        assert browser.script("return document.querySelector('[data-id=curves]').naturalWidth") > 100
        browser.drag("pca-0", [6] * 10)
        browser.settled()
        browser.tab("History")
        browser.click("do-bookmark")
        browser.wait(lambda: state_of(browser).bookmarks)
        kept = state_of(browser)
        assert kept.bookmarks[0][1].moves
        ganvas.train(resume=run.path, kimg=2.048, device="cpu", quiet=True, report=False)
        browser.told("Snapshot 000002 is there. This page stays with its own: 1 bookmark would be lost")
        assert "000001" in browser.text("model")
        assert state_of(browser) == kept
        browser.tab("Training")
        next(each for each in browser.all(".q-toggle") if "follow" in each.text).click()
        browser.wait(lambda: "000002" in browser.text("model"))
        browser.settled()
        assert not state_of(browser).bookmarks
        assert browser.errors() == []
        browser.open(url)  # a page that has known the newest alone
        browser.wait(lambda: browser.text("map-words") == "the map is of an older snapshot")
        # Another run of its number and name: the page went on with that one, whatever it was of, without a word.
        shutil.copytree(run.path, tmp_path / "other")
        config = json.loads((tmp_path / "other" / "config.json").read_text())
        (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "id": "another"}))
        browser.tab("Training")
        run.path.rename(tmp_path / "moved")
        browser.wait(lambda: "was moved or removed" in browser.text("training-words"))
        (tmp_path / "other").rename(run.path)
        browser.wait(lambda: "Another run lies at" in browser.text("training-words"))
        run.path.rename(tmp_path / "other")
        (tmp_path / "moved").rename(run.path)
        browser.wait(lambda: "2.048 kimg" in browser.text("training-words"))


def test_what_is_of_one_snapshot_stays_with_it(
    browser: Browser, cache: Path, tmp_path: Path, tiny_train: Callable[..., Result]
) -> None:
    """A page opened after another had followed moved the new model along the directions that were given for the old one; one that
    had stayed with the old one lost its bookmarks when it was loaded again."""
    run = tiny_train(kimg=0.512).run
    model = ganvas.load(run.path, device="cpu")
    (direction, *_) = find(open_space(model, "z"), "random")
    save(tmp_path / "d.safetensors", [replace(direction, name="given")])

    def follow() -> None:
        browser.tab("Training")
        next(each for each in browser.all(".q-toggle") if "follow" in each.text).click()
        browser.wait(lambda: "000001" in browser.text("model"))
        browser.settled()

    with server(str(run.path), "--directions", str(tmp_path / "d.safetensors"), cache=cache) as (url, _):
        browser.open(url)
        browser.drag("given", [6] * 10)
        browser.settled()
        browser.tab("History")
        browser.click("do-bookmark")
        browser.settled()
        kept, first = state_of(browser), browser.driver.current_window_handle
        assert kept.bookmarks
        assert kept.state.moved("given")
        ganvas.train(resume=run.path, kimg=1.024, device="cpu", quiet=True, report=False)
        browser.told("1 direction would be lost")
        browser.driver.switch_to.new_window("tab")
        browser.open(url)
        browser.told("1 direction would be lost")
        follow()
        assert not browser.all('input[data-name="given"]')
        browser.open(url)
        browser.told("they are left out")
        assert not browser.all('input[data-name="given"]')
        assert "000001" in browser.text("model")
        browser.driver.close()
        browser.driver.switch_to.window(first)
        browser.open(browser.driver.current_url)
        browser.settled()
        assert state_of(browser) == kept
        assert "000000" in browser.text("model")
        browser.told("This page stays with its own")
        follow()
        assert not state_of(browser).bookmarks
        assert browser.errors() == []


def test_a_page_that_stays_with_a_snapshot_keeps_its_map(
    browser: Browser, cache: Path, tmp_path: Path, tiny_train: Callable[..., Result]
) -> None:  # fmt: skip
    """Its dots and their pictures became those of the newest snapshot, which another page followed."""
    run = tiny_train(kimg=0.512).run
    formatter = f"return {CHART}.getOption().tooltip[0].formatter({{value: [0, 0, 0, 3, 0]}})"

    def places() -> Any:
        browser.wait(
            lambda: browser.script(f"return Boolean(document.querySelector('.g-map canvas') && {CHART})")
        )
        rows = browser.script(f"return {CHART}.getOption().series.flatMap((each) => each.data)")
        samples = [row for row in rows if isinstance(row, list) and row[4] == 0]
        return sorted((row[3], *row[:2]) for row in samples)  # of each class apart where it is the colour

    def third() -> bytes:
        with urlopen(url + re.search('src="/([^"]+)"', browser.script(formatter))[1]) as response:  # type: ignore[index]
            return bytes(response.read())

    with server(str(run.path), cache=cache) as (url, _):
        browser.open(url)
        browser.wait(lambda: "click to go" in browser.text("map-words"))
        before, first = (places(), third()), browser.driver.current_window_handle
        browser.tab("Training")
        next(each for each in browser.all(".q-toggle") if "follow" in each.text).click()
        ganvas.train(resume=run.path, kimg=1.024, device="cpu", quiet=True, report=False)
        browser.driver.switch_to.new_window("tab")
        browser.driver.get(url)
        browser.wait(lambda: run.snapshots[-1].name in browser.text("model"))
        browser.wait(lambda: browser.text("map-words") == "the map is of an older snapshot")
        next(each for each in browser.all("button") if "Redraw" in each.text).click()
        browser.wait(lambda: "click to go" in browser.text("map-words"))
        assert (places(), third()) != before
        browser.driver.close()
        browser.driver.switch_to.window(first)
        assert run.snapshots[-1].name not in browser.text("model")
        browser.tab("Map")
        next(each for each in browser.all(".q-field") if "colour" in each.text).click()
        browser.wait(lambda: browser.all(".q-menu .q-item"))
        next(each for each in browser.all(".q-menu .q-item") if each.text == "class").click()
        browser.wait(lambda: browser.script(f"return {CHART}?.getOption().legend?.length"))
        assert (places(), third()) == before
