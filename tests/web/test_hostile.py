"""Text from links, files, folders and people stays text: no place of the source makes code of it, and Chromium runs none."""

import ast
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganvas
import ganvas.web
from ganvas.latent.directions import Direction, save
from ganvas.web.opening import open_renderer
from ganvas.web.renderer import Renderer
from ganvas.web.state import LONGEST_WORDS, Recipe, State, Timeline, move_of, to_json, to_text
from tests.forked import server
from tools.browser import Browser, chromium

LANGUAGES = (
    "props", "style", "classes", "html", "run_javascript", "markdown", "add_head_html", "add_body_html", "add_css", "add_slot",
    "add_style", "js_handler",
)  # fmt: skip
"""What reads its argument as a language: the framework's properties, CSS, HTML, JavaScript, templates."""
KNOWN = {
    ("layout.py", "ui.add_body_html(SCRIPT)"),
    ("layout.py", "ui.add_css(STATIC / 'page.css')"),
    # Two whole numbers of the model's shape, which were checked when its file was opened.
    ("layout.py", "ui.add_css(f':root {{ --shape: {width} / {height}; }}')"),
    # The name is one of this package (below), what is given is JSON.
    (
        "page.py",
        "self.client.run_javascript(f\"ganvas.{name}({', '.join((json.dumps(each) for each in given))})\")",
    ),
}


def constant(node: ast.expr) -> bool:
    """Whether nothing but text of the source can stand there."""
    if isinstance(node, ast.IfExp):
        return constant(node.body) and constant(node.orelse)
    return isinstance(node, ast.Constant)


def complaints(name: str, source: str) -> list[str]:
    """Places where something that is not text of the source gets into a language."""
    found = []
    for node in ast.walk(ast.parse(source)):
        words = f"{name}:{getattr(node, 'lineno', 0)} "
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = [*node.args, *(k.value for k in node.keywords)]
            if (
                called in LANGUAGES
                and not all(map(constant, given))
                and (name, ast.unparse(node)) not in KNOWN
            ):
                found.append(words + ast.unparse(node))
            if called in ("call", "element", "run_method", "on") and not constant(node.args[0]):
                found.append(words + ast.unparse(node))
            if called == "format" and isinstance(node.func, ast.Attribute) and not constant(node.func.value):
                found.append(words + ast.unparse(node))
            found += [
                words + ast.unparse(node)
                for k in node.keywords
                if k.arg in ("js_handler", "html", "sanitize") and not constant(k.value)
            ]
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr in ("props", "_props")
        ) and (not isinstance(node.slice, ast.Constant) or str(node.slice.value).startswith(":")):
            found.append(words + ast.unparse(node))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("props.update"):
            keys = node.args[0].keys if isinstance(node.args[0], ast.Dict) else [None]
            if not all(isinstance(k, ast.Constant) and not str(k.value).startswith(":") for k in keys):
                found.append(words + ast.unparse(node))
    return found


def test_no_text_from_outside_gets_into_a_language() -> None:
    folder = Path(ganvas.web.__file__).parent
    files = sorted(folder.rglob("*.py"))
    assert len(files) > 20
    assert [each for path in files for each in complaints(path.name, path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "line",
    [
        "ui.element('input').props(f'aria-label=\"{name}\"')", "row.style('left: ' + place)", "row.classes('step%s' % here)",
        "ui.html(name)", "client.run_javascript(f'ganvas.set({name})')", "ui.markdown('# {}'.format(name))", "page.call(name)",
        "ui.add_head_html(f'<title>{name}</title>')", "what.format(value)", "bar.props[name] = 1", "bar.props[':title'] = name",
        "bar.props.update({name: 1})", "bar.on('x', f, js_handler=code)", "h.add_slot('default', name)", "ui.element(name)",
        "(name + ' at {:g}').format(1)", "ui.notify(name, html=yes)", "bar.props(add=name)",
    ],
)  # fmt: skip
def test_the_search_for_such_places_finds_them(line: str) -> None:
    assert complaints("page.py", line)


JS = "window.pwned=1"
PAYLOADS = (
    f'" :title="{JS}"', f'" :innerHTML="{JS}" x="', f"' @click=\"{JS}\" onmouseover=\"{JS}\" '",
    f"<script>{JS}</script>", f"</script><script>{JS}</script>", f"<img src=x onerror={JS}>", f"<svg onload={JS}></svg>",
    f'"><iframe srcdoc="<script>parent.{JS}</script>">', f"javascript:{JS}", f"[go](javascript:{JS})",
    f"{{{{constructor.constructor('{JS}')()}}}}", f"${{{JS}}}", f"`+({JS})+`", f"');{JS};//", f'");{JS};//',
    f"\\'-({JS})-\\'", f"\u2028{JS}\u2029", f'"]{{}}</style><style onload={JS}>', f"<!--<script>{JS}",
    f"--!><details open ontoggle={JS}>",
    "{0.__class__} {name!r:{width}} {", "%n%s%(x)s", f"\x00\x1b]0;{JS}\x07", f"\u202e{JS}", f":href=javascript:{JS}",
)  # fmt: skip
FOLDERS = tuple(each for each in PAYLOADS if "/" not in each and "\x00" not in each)
HARMLESS = "window.pwned === undefined && document.title !== 'pwned'"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """A conditional model trained on classes with hostile names, in a folder with one."""
    rng = np.random.default_rng(0)
    for name in FOLDERS[:8]:
        folder = place / "pictures" / name
        folder.mkdir(parents=True)
        for i in range(6):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    done = ganvas.train(
        str(place / "pictures"), kimg=0.064, batch=16, device="cpu", out=place / "runs", quiet=True, report=False,
        settings={
            "network.name": "style", "network.latent_dim": 8, "network.conditional": True, "network.generator": {"channels": 4},
            "network.critic": {"channels": 4},
        },
    )  # fmt: skip
    found = place / f'runs "><img src=x onerror={JS}> {{{{{JS}}}}}'
    shutil.move(done.run.path, found)
    return found


@pytest.fixture(scope="module")
def renderer(run: Path) -> Renderer:
    return open_renderer(run, device="cpu")


def direction(renderer: Renderer, name: str) -> Direction:
    known = renderer.directions("random")[0]
    return replace(known, name=name, vector=known.vector.clone())


@pytest.fixture(scope="module")
def recipe(renderer: Renderer) -> Recipe:
    """Hostile names wherever a recipe has names."""
    state = State(0, 0, locks=PAYLOADS)
    for i, name in enumerate(PAYLOADS):
        state = state.to(move_of(direction(renderer, name), 0.1 + i / 100))
    marks = tuple((name, State(1, i)) for i, name in enumerate(PAYLOADS))
    return Recipe(
        PAYLOADS[5], renderer.hash, state, Timeline((state, State(2))), marks, {PAYLOADS[0]: PAYLOADS[3]}
    )


@pytest.fixture(scope="module")
def browser(place: Path) -> Iterator[Browser]:
    with chromium(downloads=place) as found:
        yield found


@pytest.mark.browser
def test_chromium_runs_nothing_of_it(
    run: Path, renderer: Renderer, recipe: Recipe, browser: Browser, place: Path
) -> None:
    assert len(PAYLOADS) >= 20
    files = [place / f"directions {i}.safetensors" for i in range(3)]
    for i, path in enumerate(files):
        save(path, [direction(renderer, name) for name in PAYLOADS[9 * i : 9 * i + 9]])
    uploaded = place / f"recipe {FOLDERS[0]}.json"
    uploaded.write_text(json.dumps(to_json(recipe)), encoding="utf-8")
    stats = run / "stats.jsonl"
    stats.write_text(
        json.dumps({"kimg": PAYLOADS[5], "seconds": PAYLOADS[3], PAYLOADS[4]: 1}) + "\n", encoding="utf-8"
    )
    with server(str(run), "--directions", str(files[0]), cache=place / "cache") as (url, _):

        def shown() -> set[str]:
            """The names of the sliders."""
            found = browser.script(
                "return [...document.querySelectorAll('.slide .name')].map(e => e.textContent)"
            )
            return set(found)

        def click_through() -> None:
            """Everything that shows a name, moves it, or goes to it."""
            for tab in ("Map", "Label", "Timeline", "Image", "History", "Recipe", "Training"):
                browser.tab(tab)
                for each in browser.all("[data-id=bookmarks] button.step, [data-id=steps] button.step")[
                    :30:7
                ]:
                    if each.is_displayed():
                        browser.script("arguments[0].click()", each)
            for name in browser.script(
                "return [...document.querySelectorAll('input[type=range]')].map(e => e.dataset.name)"
            )[:6]:
                browser.script(
                    "const bar = [...document.querySelectorAll('input[type=range]')].find(e => e.dataset.name === arguments[0]);"
                    "bar.value = 0.6; for (const kind of ['mouseover', 'focus', 'input', 'change'])"
                    "bar.dispatchEvent(new Event(kind, {bubbles: true}))", name,
                )  # fmt: skip
            browser.settled()
            for select in browser.all(".q-select"):
                if select.is_displayed():
                    browser.script("arguments[0].querySelector('input')?.click()", select)
            browser.settled()
            assert browser.script(f"return {HARMLESS}")
            assert browser.errors() == []

        browser.open(f"{url}?r={to_text(recipe)}")
        assert browser.script(f"return {HARMLESS}")
        browser.wait(lambda: set(PAYLOADS) <= shown())  # every name as it is
        browser.tab("History")
        browser.wait(lambda: browser.all("[data-id=bookmarks] .step"))
        marks = browser.script(
            "return [...document.querySelectorAll('[data-id=bookmarks] .step')].map(e => e.textContent)"
        )
        assert marks == list(PAYLOADS)
        labels = browser.script(
            "return [...document.querySelectorAll('[data-id=bookmarks] [aria-label]')].map(e => e.ariaLabel)"
        )
        assert labels == [f"remove bookmark {each}" for each in PAYLOADS]
        click_through()

        browser.open(url)
        for path in files[1:]:  # by upload
            browser.wait(lambda: browser.all(".q-uploader input[type=file]"))[0].send_keys(str(path))
            browser.settled()
        browser.wait(lambda: set(PAYLOADS[18:]) <= shown())
        browser.tab("Recipe")
        browser.wait(lambda: browser.all("[data-id=open-recipe] input[type=file]"))[0].send_keys(
            str(uploaded)
        )
        browser.tab("History")
        browser.wait(lambda: "opened a recipe" in browser.text("steps"))
        browser.wait(lambda: len(browser.all("[data-id=bookmarks] .step")) == len(PAYLOADS))
        name = browser.wait(lambda: browser.all("input[aria-label='name of a bookmark']"))[0]
        browser.script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
            name,
            PAYLOADS[0],
        )
        browser.click("do-bookmark")
        browser.wait(lambda: len(browser.all("[data-id=bookmarks] .step")) == len(PAYLOADS) + 1)
        assert browser.all("[data-id=bookmarks] .step")[-1].text == PAYLOADS[0]
        click_through()


@pytest.mark.browser
def test_the_static_page_is_as_careful(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch, browser: Browser, place: Path
) -> None:
    from ganvas.web import export

    # One page with all names; how many pictures stand behind each is no matter of names.
    for constant, value in {
        "DIRECTIONS": len(PAYLOADS),
        "STARTS": 2,
        "DOTS": 30,
        "STRENGTHS": (-1.0, 1.0),
    }.items():
        monkeypatch.setattr(export, constant, value)
    found = [direction(renderer, name) for name in PAYLOADS]
    monkeypatch.setattr(renderer, "directions", lambda method: found)
    monkeypatch.setattr(renderer, "name", "/home/somebody/" + '@TITLE@ "@DATA@" ' + "".join(PAYLOADS))
    content = export.page(renderer)
    text = content.decode()
    assert "somebody" not in text, "the page is made to be given away"
    assert len(re.findall(r"<(?:/?script|!--)", text)) == 2, (
        "its own script begins and ends, nothing else does"
    )
    path = place / "page.html"
    path.write_bytes(content)
    browser.leave()
    browser.driver.get(path.as_uri())
    browser.wait(lambda: browser.script("return document.body.dataset.ready"))
    names = browser.script(
        "return [...document.querySelectorAll('#sliders label > span:first-child')].map(e => e.textContent)"
    )
    assert names == list(PAYLOADS)
    assert browser.script(f"return {HARMLESS}")
    assert browser.errors() == []


def test_names_that_no_page_could_show_are_refused_in_words(renderer: Renderer) -> None:
    for name, words in (("\ud800", "surrogates"), ("x" * (LONGEST_WORDS + 1), "characters")):
        value: Any = to_json(Recipe("m", "h", State().to(move_of(direction(renderer, name), 1.0))))
        with pytest.raises(ganvas.GanvasError, match=words):
            ganvas.web.state.from_json(value)
    assert Renderer(renderer.model, "runs/\udcff").name == "runs/?"
    assert torch.is_tensor(renderer.draw([State()]))
