"""The live page in Chromium, from a file and without a network: Python's pixels, links that restore, names that stay names."""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from selenium.webdriver.common.keys import Keys
from torch import Tensor

from ganvas import geometry
from ganvas.cli import main
from ganvas.config import NetworkConfig
from ganvas.errors import GanvasError
from ganvas.export import page as live
from ganvas.latent.directions import Direction
from ganvas.latent.paths import pyramid, variation
from ganvas.model import Model, ModelInfo
from ganvas.networks import build_generator, families
from ganvas.web import landscape
from ganvas.web.opening import open_renderer
from ganvas.web.quality import Real
from ganvas.web.renderer import Renderer
from ganvas.web.state import Mix, State, move_of
from tests.export.test_onnx import model_of
from tests.web.test_hostile import HARMLESS, PAYLOADS
from tools.browser import Browser, chromium

LEVELS = 2
"""Grey levels of 255 that a pixel may be off."""
NAME = "@TITLE@ @FACTS@ @FILES@ " + PAYLOADS[3].replace("/", "")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    found = tmp_path_factory.mktemp("live")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(found / "cache"))
        yield found


@pytest.fixture(scope="module")
def fashion(place: Path) -> Renderer:
    """The packaged model, its page written by the command."""
    assert main(["explore", "--export", str(place / "fashion.html"), "--device", "cpu", "--json"]) == 0
    return open_renderer("fashion", device="cpu")


def hostile_renderer() -> Renderer:
    """A conditional BigGAN of 8 px with statistics for truncation, all of whose names want to be code."""
    options = {**families.get("biggan").tiny, "channels": 2, "rows": 51}
    config = NetworkConfig("biggan", latent_dim=6, conditional=True, generator=options)
    generator = build_generator(config, (3, 8, 8), len(PAYLOADS), seed=1).eval().requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part, weight in generator.named_buffers():
            if part.endswith("means"):
                weight.copy_(torch.randn(weight.shape, generator=random))
            elif part.endswith("variances"):
                weight.copy_(torch.rand(weight.shape, generator=random) + 0.5)
    info = ModelInfo.of(generator, "biggan", architecture=config, class_names=PAYLOADS)
    renderer = Renderer(Model(generator, None, info), NAME)
    vectors = torch.nn.functional.normalize(torch.randn(len(PAYLOADS), 6, generator=random), dim=1)
    renderer._found["pca"] = [
        Direction(name, vector, "z", renderer.hash, "random", 1.0)
        for name, vector in zip(PAYLOADS, vectors, strict=True)
    ]
    return renderer


@pytest.fixture(scope="module")
def hostile(place: Path) -> Renderer:
    renderer = hostile_renderer()
    (place / "hostile.html").write_bytes(live.page(renderer, webgpu=True))
    return renderer


@pytest.fixture(scope="module")
def browser(place: Path) -> Iterator[Browser]:
    with chromium(downloads=place) as found:
        yield found


def opened(browser: Browser, file: Path, address: str = "") -> None:
    browser.leave()
    browser.driver.get(file.as_uri() + address)
    browser.wait(
        lambda: browser.script("return document.body.dataset.complete || document.body.dataset.failed")
    )
    assert browser.script("return document.body.dataset.failed ?? null") is None


def change(browser: Browser, **state: Any) -> Tensor:
    """The canvas of a state: uint8 (3, H, W)."""
    browser.driver.execute_async_script(
        "const done = arguments[1]; ganvas.change(arguments[0]).then(() => done())", state
    )
    return canvas(browser)


def canvas(browser: Browser) -> Tensor:
    width, height, values = browser.script(
        "const c = document.getElementById('picture');"
        "return [c.width, c.height, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]"
    )
    return torch.tensor(values, dtype=torch.uint8).reshape(height, width, 4)[..., :3].permute(2, 0, 1)


def off(found: Tensor, wanted: Tensor) -> int:
    """The largest difference in grey levels."""
    return int((found.int() - wanted.expand(3, -1, -1).int()).abs().max())


def moves_of(renderer: Renderer, strengths: list[float]) -> tuple[Any, ...]:
    found = renderer.directions("pca")
    return tuple(move_of(d, s) for d, s in zip(found, strengths, strict=False) if s)


@pytest.mark.browser
def test_the_packaged_model_draws_pythons_pixels(browser: Browser, place: Path, fashion: Renderer) -> None:
    file = place / "fashion.html"
    assert file.stat().st_size < 16 * 2**20
    opened(browser, file)
    assert browser.script("return ganvas.state.number") == fashion.start.number
    count = len(fashion.directions("pca"))
    for number, psi, strengths in ((0, 1.0, []), (999, 0.5, []), (40, 1.2, [2.0, 0, -1.5]), (7, 0.0, [-3.0])):
        moves = strengths + [0.0] * (count - len(strengths))
        found = change(browser, number=number, psi=psi, moves=moves)
        state = State(number=number, truncation=psi, moves=moves_of(fashion, strengths))
        assert off(found, fashion.draw([state])[0]) <= LEVELS
        said = browser.script("return document.getElementById('typicality').value")
        space, points = fashion.point(state)
        assert abs(said - float(space.typicality(points)[0])) < 0.02
    assert not torch.equal(change(browser, number=1, psi=1, moves=[0] * count), change(browser, number=2))
    assert browser.errors() == []


@pytest.mark.browser
def test_the_page_draws_where_no_worker_starts(browser: Browser, place: Path, fashion: Renderer) -> None:
    opened(browser, place / "fashion.html")
    before = "globalThis.Worker = class { constructor() { throw new Error('none here'); } }"
    added = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": before})
    opened(browser, place / "fashion.html", "#n=21")
    browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    assert off(canvas(browser), fashion.draw([State(number=21)])[0]) <= LEVELS
    assert browser.errors() == []


@pytest.mark.browser
@pytest.mark.slow
def test_a_graphics_card_draws_where_it_draws_the_same(place: Path, hostile: Renderer) -> None:
    """On the WebGPU that Chromium computes in software: right, never chosen by itself, and given up when it differs."""
    file = place / "hostile.html"

    def tried(browser: Browser, anyway: bool) -> str:
        script = "const done = arguments[1]; ganvas.tryGpu(arguments[0]).then(() => done(document.body.dataset.engine))"
        return str(browser.driver.execute_async_script(script, anyway))

    def words(browser: Browser) -> str:
        return browser.all("#engine-words")[0].text

    with chromium(flags=("--enable-unsafe-webgpu",)) as browser:
        browser.driver.set_script_timeout(120)  # computed in software, it takes its time on a busy machine
        opened(browser, file)
        assert "without a graphics card" in words(browser)
        assert tried(browser, True) == "webgpu"
        assert re.search(r"by WebGPU. It takes [\d.]+ ms a picture.* differ by [01] of 255", words(browser))
        found = change(browser, number=40, psi=0.7)
        assert off(found, hostile.draw([State(number=40, truncation=0.7)])[0]) <= LEVELS
        # A device that is lost in the middle: the picture comes all the same.
        browser.script("ganvas.engines.gpu.call = () => Promise.reject(new Error('the device was lost'))")
        found = change(browser, number=41)
        assert off(found, hostile.draw([State(number=41, truncation=0.7)])[0]) <= LEVELS
        assert "WebGPU stopped: the device was lost" in words(browser)
        # One whose picture is another, as it seems here, is not used; nor one that is slower.
        browser.script(
            "const { cpu } = ganvas.engines, { call } = cpu;"
            "cpu.call = async (...given) => (await call(...given)).map((value) => value ^ 8)"
        )
        assert tried(browser, True) == "wasm"
        assert "its picture is 8 grey levels off" in words(browser)
        browser.script("Object.defineProperty(navigator, 'gpu', { value: undefined })")
        assert tried(browser, False) == "wasm"
        assert "not there in this browser" in words(browser)
        assert browser.errors() == []


def styled_renderer(family: str) -> Renderer:
    """A conditional style-based model of 8 px with a direction for all layers, and one for the last two."""
    random = torch.Generator().manual_seed(0)
    renderer = Renderer(model_of(family), family)
    vectors = torch.nn.functional.normalize(torch.randn(2, *renderer.space.shape, generator=random), dim=1)
    last = (renderer.layers - 2, renderer.layers - 1)
    renderer._found["pca"] = [
        Direction(name, vector, "w", renderer.hash, "random", 1.0, layers=layers)
        for name, vector, layers in zip(("whole", "fine"), vectors, ((), last), strict=True)
    ]
    return renderer


@pytest.mark.browser
@pytest.mark.parametrize("family", ["style", "stylegan3"])
@pytest.mark.slow
def test_layers_noise_places_classes_and_seeds(browser: Browser, place: Path, family: str) -> None:
    renderer = styled_renderer(family)
    file = place / f"{family}.html"
    file.write_bytes(live.page(renderer))
    opened(browser, file)
    plain = browser.script("return ganvas.state")
    top = renderer.layers - 1

    def drawn(state: State, moves: list[float], **said: Any) -> Tensor:
        """The page's picture, which is the explorer's."""
        found = change(browser, **{**plain, "moves": moves, **said})
        limited = tuple(range(said.get("first", 0), said.get("last", top) + 1))
        limited = () if len(limited) == top + 1 else limited
        made = [replace(m, layers=m.layers or limited) for m in moves_of(renderer, moves)]
        assert off(found, renderer.draw([replace(state, moves=tuple(made))])[0]) <= LEVELS
        return found

    first = drawn(State(), [0, 0], number=0)
    assert renderer.layers == top + 1 > 2
    for moved in (
        drawn(State(label=1), [0, 2.0], number=0, label=1),
        drawn(State(number=4), [1.5, -1.0], number=4, first=0, last=top - 1),
        drawn(State(seed=7, number=300), [0, 0], seed=7, number=300),
        drawn(State(number=1, mix=Mix(0, 5, 1, top)), [0, 0], number=1, mix=[5, 1, top]),
        drawn(State(label=1, other=0, share=0.3, truncation=0.6), [0, 0], number=0, label=1, other=0, share=0.3, psi=0.6),
    ):  # fmt: skip
        assert off(moved, first) > 2 * LEVELS
    if family == "style":
        assert off(drawn(State(noise=5), [0, 0], number=0, noise=5), first) > 2 * LEVELS
    else:
        at = [0.25, -0.1, 30]
        assert off(drawn(State(place=(0.25, -0.1, 30.0)), [0, 0], number=0, at=at), first) > 2 * LEVELS
    here = browser.script("return [ganvas.state, document.getElementById('first').max]")
    assert here[1] == str(top)
    browser.wait(lambda: ("z=5" if family == "style" else "at=0.25") in browser.driver.current_url)
    opened(browser, file, "#" + browser.driver.current_url.partition("#")[2])
    assert browser.script("return ganvas.state") == here[0]
    fields = {"seed": "3", "mix": "9", "last": "1"} | ({"noise": "8"} if family == "style" else {})
    for name, typed in fields.items():
        field = browser.driver.find_element("id", name)
        browser.show(field)
        field.send_keys(Keys.CONTROL + "a")
        field.send_keys(typed, Keys.TAB)
    found = browser.script("return ganvas.state")
    assert (found["seed"], found["mix"][0], found["last"]) == (3, 9, 1)
    assert found["noise"] == (8 if family == "style" else None)
    assert browser.errors() == []


@pytest.mark.browser
@pytest.mark.parametrize("prior", ["sphere", "uniform", "categorical 3 2", "truncated 0.4"])
@pytest.mark.slow
def test_seeds_of_every_prior_are_torchs(
    browser: Browser, place: Path, hostile: Renderer, prior: str
) -> None:
    opened(browser, place / "hostile.html")
    network = hostile.model.generator
    usual = network.prior
    network.prior = prior
    try:
        wanted = hostile.model.latents_at([3, 70_000], 2**31 - 1)
    finally:
        network.prior = usual
    script = (
        "ganvas.facts.prior = arguments[0]; return [3, 70000].map((n) => [...ganvas.latent(n, 2 ** 31 - 1)])"
    )
    found = torch.tensor(browser.script(script, prior))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.browser
def test_walks_have_equal_steps(browser: Browser, place: Path, fashion: Renderer) -> None:
    opened(browser, place / "fashion.html")
    a, b = fashion.space.at([3, 10])
    for time in (0.3, 1.0):  # without them, the straight line of w
        found = change(browser, number=3, to=10, place=time, equal=False)
        drawn = fashion.model.to_data(fashion.space.decode((a + time * (b - a))[None]))[0]
        assert off(found, drawn) <= LEVELS

    def uneven(equal: bool) -> float:
        frames = [change(browser, place=i / 12, equal=equal)[:1] for i in range(13)]
        looks = pyramid(torch.stack(frames).float() / 255)
        return variation((looks[1:] - looks[:-1]).norm(dim=1))

    assert uneven(True) < min(0.15, uneven(False) / 2)
    assert browser.errors() == []


@pytest.mark.browser
def test_a_link_leads_back_and_the_picture_is_saved(browser: Browser, place: Path, fashion: Renderer) -> None:
    file = place / "fashion.html"
    opened(browser, file, "#n=12&psi=0.7&d=1:2.5,99:1,x:y,length:1.5,map:1&to=5&t=nonsense&c=4")
    state = browser.script("return ganvas.state")
    assert (state["number"], state["psi"], state["to"], state["place"]) == (12, 0.7, 5, 0)
    assert (state["moves"][1], state["label"]) == (2.5, None)
    wanted = change(browser, number=33, psi=0.8, to=7, place=0.4)
    browser.wait(lambda: "n=33" in browser.driver.current_url)
    address = browser.driver.current_url
    opened(browser, file, "#n=1")
    assert not torch.equal(canvas(browser), wanted)
    opened(browser, file, "#" + address.partition("#")[2])
    assert torch.equal(canvas(browser), wanted)
    browser.script("document.getElementById('save').click()")
    saved = browser.wait(lambda: [each for each in place.glob("*.png") if each.stat().st_size])[0]
    with Image.open(saved) as image:
        assert torch.equal(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1), wanted)
    assert browser.errors() == []


@pytest.mark.browser
def test_keys_the_map_real_pictures_and_a_phone(browser: Browser, place: Path, fashion: Renderer) -> None:
    opened(browser, place / "fashion.html", "#n=5")

    def number() -> int:
        return int(browser.script("return ganvas.state.number"))

    chart = browser.driver.find_element("id", "map")
    chart.send_keys(Keys.ARROW_RIGHT)
    left = number()
    chart.send_keys(Keys.ARROW_LEFT)
    assert {5, left, number()} != {5}
    browser.show(chart)
    chart.click()
    places = browser.script("return ganvas.facts.numbers.places.shape[0]")
    middle = landscape.landscape(fashion).places[:places].square().sum(1).argmin()
    assert number() == int(middle)
    before = number()
    browser.driver.find_element("tag name", "body").send_keys("n")
    browser.wait(lambda: number() != before)
    bar = browser.all("#sliders input")[0]
    bar.send_keys(Keys.ARROW_RIGHT)
    assert browser.script("return ganvas.state.moves[0]") == pytest.approx(0.1)
    browser.wait(lambda: len(browser.all("#reals canvas")) == 6)
    with np.load(Path(fashion.model.path or "").with_name("real.npz")) as arrays:
        real = torch.from_numpy(arrays["images"])
    here = change(browser, number=5, moves=[0] * len(browser.all("#sliders input")))[:1]
    looks = pyramid(torch.cat([here[None], real]).float() / 255)
    nearest = real[(looks[1:] - looks[0]).norm(dim=1).argmin()]

    def shown() -> bool:
        values = browser.script(
            "return [...document.querySelector('#reals canvas').getContext('2d').getImageData(0, 0, 28, 28).data]"
        )
        return torch.equal(torch.tensor(values, dtype=torch.uint8).reshape(28, 28, 4)[..., 0], nearest[0])

    browser.wait(shown)
    for width in (390, 1280):
        metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False}
        browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        assert browser.cut() == []
    browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert browser.errors() == []


@pytest.mark.browser
def test_classes_truncation_and_names_that_want_to_be_code(
    browser: Browser, place: Path, hostile: Renderer
) -> None:
    file = place / "hostile.html"
    text = file.read_text(encoding="utf-8")
    assert len(re.findall(r"<script", text)) == len(re.findall(r"</script>", text)) == 9
    assert "<!--" not in text
    assert "://" not in text, "no address of anything"
    opened(browser, file)
    names = browser.script("return [...document.querySelectorAll('#sliders span')].map(e => e.textContent)")
    assert names == list(PAYLOADS)
    options = browser.script("return ganvas.facts.classes")
    assert options == list(PAYLOADS)
    assert len(browser.all("#class option")) == len(PAYLOADS)
    assert browser.all("#name")[0].text == " ".join(NAME.split())
    for number, label, psi in ((3, None, 1.0), (4, 17, 1.0), (4, 17, 0.4)):
        moves = [1.5] + [0.0] * (len(PAYLOADS) - 1)
        found = change(browser, number=number, label=label, psi=psi, moves=moves)
        state = State(number=number, label=label, truncation=psi, moves=moves_of(hostile, [1.5]))
        assert off(found, hostile.draw([state])[0]) <= LEVELS
    found = change(browser, number=2, label=1, psi=1, moves=[0] * len(PAYLOADS), to=9, place=0.3, equal=False)
    a, b = hostile.model.latents_at([2, 9], 0).split(1)
    on_way = geometry.slerp(a, b, torch.tensor([[0.3]]))
    assert off(found, hostile.pictures(hostile.space, on_way, State(label=1))[0]) <= LEVELS
    assert browser.script(f"return {HARMLESS}")
    assert browser.errors() == []
    # Neither scripts nor a network, whoever gets that far.
    tried = browser.driver.execute_async_script(
        "const done = arguments[0], script = document.createElement('script');"
        "script.textContent = 'window.pwned = 1'; document.body.append(script);"
        "fetch('http://127.0.0.1:9/').then(() => done('loaded'), () => done('refused'))"
    )
    assert tried == "refused"
    assert browser.script(f"return {HARMLESS}")
    assert all("Content Security Policy" in line or "127.0.0.1:9" in line for line in browser.errors())


def facts_of(content: bytes) -> Any:
    found = re.search(r'id="facts">(.*?)</script>', content.decode())
    assert found is not None
    return json.loads(found[1])


def test_real_pictures_are_inside_only_where_that_was_asked_for(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "to_onnx", lambda *_, **__: b"no matter here")
    renderer = hostile_renderer()
    with pytest.raises(GanvasError, match=r"no real pictures to share.*--data"):
        live.page(renderer, share_data=True)
    images = torch.arange(8 * 3 * 8 * 8).reshape(8, 3, 8, 8).to(torch.uint8)
    renderer.real = Real(images, "private")
    assert "reals" not in facts_of(live.page(renderer))["numbers"]
    assert facts_of(live.page(renderer, share_data=True))["numbers"]["reals"]["shape"] == [8, 3, 8, 8]
    monkeypatch.setattr(live, "MOST_BYTES", 1000)
    with pytest.raises(GanvasError, match="a page holds at most"):
        live.page(renderer)
    numbers = sum(each.numel() for each in renderer.model.generator.state_dict().values())
    monkeypatch.setattr(live, "MOST_BYTES", 4 * numbers - 1)
    with pytest.raises(GanvasError, match="Give --half"):
        live.page(renderer)
    assert facts_of(live.page(renderer, half=True))["hash"] == renderer.hash


@pytest.mark.slow
def test_both_commands_write_the_same_page(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live, "to_onnx", lambda *_, **__: b"no matter here")
    np.save(place / "data.npy", np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8))
    given = ["--data", str(place / "data.npy"), "--share-data", "--webgpu", "yes", "--json"]
    said = []
    for command in (["explore", "fashion", "--export"], ["export", "fashion", "--to", "page", "--out"]):
        assert main([*command, str(place / f"{command[0]}.html"), *given]) == 0
        said.append(json.loads(capsys.readouterr().out))
    first, second = ((place / f"{name}.html").read_bytes() for name in ("explore", "export"))
    assert first == second
    assert facts_of(first)["numbers"]["reals"]["shape"] == [20, 1, 28, 28]
    for each, name in zip(said, ("explore", "export"), strict=True):
        assert each["to"] == "page"
        assert each["files"] == {str(place / f"{name}.html"): len(first)}
        assert each["hash"] == facts_of(first)["hash"]
    for flags in (["--share-data"], ["--webgpu", "yes"]):
        assert main(["explore", "fashion", *flags]) == 2
        assert "for the file of --export" in capsys.readouterr().err
    assert main(["export", "fashion", "--webgpu", "yes"]) == 2


def test_folders_of_this_machine_are_not_inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "to_onnx", lambda *_, **__: b"no matter here")
    renderer = hostile_renderer()
    renderer.name = "/home/somebody/secret/model.safetensors"
    content = live.page(renderer)
    assert b"somebody" not in content
    assert facts_of(content)["name"] == "model.safetensors"


def test_what_is_bundled_is_what_was_pinned() -> None:
    lines = (live.RUNTIME / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert set(sums) == {p.name.removesuffix(".gz") for p in live.RUNTIME.iterdir()} - {
        "SHA256SUMS",
        "README.md",
    }
    for name, digest in sums.items():
        plain, packed = live.RUNTIME / name, live.RUNTIME / f"{name}.gz"
        content = plain.read_bytes() if plain.is_file() else gzip.decompress(packed.read_bytes())
        assert hashlib.sha256(content).hexdigest() == digest, name
    # Those of the published package, as its registry and its own files have them.
    assert sums["ort-wasm-simd-threaded.asyncify.wasm"].startswith("39f9f0894d478800")
    assert sums["ort.webgpu.bundle.min.mjs"].startswith("0730816731ce2cdf")
    assert sums["ort-wasm-simd-threaded.wasm"].startswith("3398c10d07d229bd")
    assert sums["ort.wasm.bundle.min.mjs"].startswith("11e64bd8ffe11bd1")
