"""What one page keeps: sliders, locks, marks, key frames."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from ganvas.errors import GanvasError
from ganvas.web import state
from ganvas.web.page import Gone, Page
from ganvas.web.panels.directions import _move, locked
from ganvas.web.renderer import SLIDERS, Renderer
from ganvas.web.session import Session, check_directions
from ganvas.web.state import (
    MOST,
    Recipe,
    State,
    Timeline,
    from_bytes,
    from_text,
    move_of,
    pack,
    to_json,
    to_text,
)


def test_sliders_in_use_stay_when_the_method_changes(fashion: Renderer) -> None:
    session = Session(fashion)
    session.choose("random", session.renderer.directions("random"))
    session.show(session.dragged("random-3", 1.5))
    assert session.commit("a slider")
    session.choose("pca", session.renderer.directions("pca"))
    assert len(session.tray) == SLIDERS
    assert "random-3" in session.tray
    assert "random-1" not in session.tray
    assert session.move("random-3", 0.5).strength == 0.5
    with pytest.raises(GanvasError, match="no direction 'random-1'"):
        session.move("random-1", 1.0)


def test_directions_of_a_file_stay_when_the_method_changes(fashion: Renderer) -> None:
    """Those of `explore --directions` left the tray as soon as the page had found its own."""
    session = Session(fashion)
    given = [replace(each, name=f"mine {i}") for i, each in enumerate(fashion.directions("pca") * 2)]
    session.load(given)
    session.choose("random", fashion.directions("random"))
    names = [each.name for each in given]
    assert list(session.tray) == [*names, *(f"random-{i}" for i in range(SLIDERS))]
    session.add([replace(given[0], name="clicked")])
    assert list(session.tray) == ["clicked", *names, *(f"random-{i}" for i in range(SLIDERS - 1))]


def test_a_recipe_brings_its_sliders_along(fashion: Renderer) -> None:
    session = Session(fashion)
    session.choose("random", session.renderer.directions("random"))
    session.commit("slider", session.dragged("random-2", 2.0))
    session.add_key()
    session.bookmarks.append(("here", session.state))
    other = Session(fashion, from_text(to_text(session.recipe)))
    assert other.state == session.state
    assert other.timeline == session.timeline
    assert other.bookmarks == session.bookmarks
    assert other.dragged("random-2", 1.0) == session.dragged("random-2", 1.0)
    assert other.dragged("random-2", 0.0) == State()
    with pytest.raises(GanvasError, match="weights other"):
        Session(fashion, Recipe("x", "other"))


def test_locks_make_every_slider_anew_and_come_off_again(fashion: Renderer) -> None:
    session = Session(fashion)
    session.choose("random", session.renderer.directions("random"))
    session.commit("slider", session.dragged("random-0", 2.0))
    free = session.state
    locked = session.lock(["brightness"])
    assert locked.locks == ("brightness",)
    assert locked.moves[0].vector != free.moves[0].vector
    assert locked.moves[0].strength == 2.0
    session.commit("locked", locked)
    assert session.dragged("random-0", 2.0) == locked
    assert session.lock([]) == free


def test_what_is_moved_while_a_lock_is_measured_stays_moved(fashion: Renderer) -> None:
    """The state from when the lock was chosen came back with it, seconds later."""
    session = Session(fashion)
    session.choose("random", session.renderer.directions("random"))
    session.commit("slider", session.dragged("random-0", 2.0))

    async def work(what: str, job: Callable[..., State], *given: object) -> State:
        found = job(*given)
        if session.state.number == 0:
            session.commit("another", replace(session.dragged("random-1", 1.5), number=7))
        return found

    page = cast(Page, SimpleNamespace(session=session, work=work))
    found = asyncio.run(locked(page, ("brightness",)))
    assert found is not None
    assert (found.number, found.locks) == (7, ("brightness",))
    assert [(move.name, move.strength) for move in found.moves] == [("random-0", 2.0), ("random-1", 1.5)]
    session.commit("locked", found)
    assert session.dragged("random-1", 1.5) == found, "made anew as well"


def test_locks_hold_for_a_slider_that_came_with_a_recipe_too(fashion: Renderer) -> None:
    """A page that was loaded again said that all its sliders kept what was locked, and those in use did not."""
    first = Session(fashion)
    first.choose("random", first.renderer.directions("random"))
    first.commit("slider", first.dragged("random-0", 2.0))
    locked = first.lock(["brightness"])
    session = Session(fashion, from_text(to_text(first.recipe)))
    session.choose("random", session.renderer.directions("random"))
    free = session.state
    session.commit("locked", session.lock(["brightness"]))
    assert session.state == locked
    session.commit("at 0", session.dragged("random-0", 0.0))
    assert session.dragged("random-0", 2.0) == locked
    session.show(session.dragged("random-0", 1.0))
    assert session.lock([]) == replace(free, moves=(replace(free.moves[0], strength=1.0),))


def test_a_lock_that_came_off_holds_no_slider_that_came_with_a_recipe(fashion: Renderer) -> None:
    """What was locked beside it was taken off what was less the other already."""
    first = Session(fashion)
    first.choose("random", first.renderer.directions("random"))
    first.commit("slider", first.dragged("random-0", 2.0))
    wanted = first.lock(["class:Bag"])
    session = Session(fashion, from_text(to_text(first.recipe)))
    for names in (["brightness"], ["brightness", "class:Bag"], ["class:Bag"]):
        session.commit("locked", session.lock(names))
    assert session.state == wanted


def test_a_slider_moves_along_the_direction_that_stands_there(fashion: Renderer) -> None:
    """One of a file, `random-0` of another seed, went on moving the slider of that name when the method's own had come back."""
    session = Session(fashion)
    own = session.renderer.directions("random")
    session.add([replace(own[0], vector=-own[0].vector)])
    assert session.dragged("random-0", 1.0).moves[0].vector == pack(-own[0].vector)
    session.choose("pca", session.renderer.directions("pca"))
    session.choose("random", own)
    assert session.tray["random-0"] is own[0]
    assert session.dragged("random-0", 1.0).moves[0].vector == pack(own[0].vector)


def test_what_a_link_locks_is_never_measured_where_all_pages_wait(
    fashion: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each lock takes 2,000 samples: a link that has some would hold every page, from its first slider on."""
    first = Session(fashion)
    first.choose("random", first.renderer.directions("random"))
    first.commit("locked", first.lock(["brightness"]))
    session = Session(fashion, from_text(to_text(first.recipe)))
    session.choose("random", session.renderer.directions("random"))
    assert session.state.locks == ("brightness",)
    page = cast(Page, SimpleNamespace(session=session))
    with monkeypatch.context() as patch:
        patch.setattr(Renderer, "named", lambda *given: pytest.fail("measured"))
        assert _move(page, "random-1") is None
        with pytest.raises(GanvasError, match="move the slider again in a moment"):
            session.dragged("random-1", 1.0)
    session.prepare()
    monkeypatch.setattr(Renderer, "named", lambda *given: pytest.fail("measured"))
    assert _move(page, "random-1") is not None
    assert session.dragged("random-1", 1.0).moves[0].strength == 1.0


def test_steps_of_a_slider_share_its_numbers(fashion: Renderer) -> None:
    """Of a point of 65,536 numbers a copy of each step was 350 kB: a page that stays took gigabytes."""
    session = Session(fashion)
    session.choose("random", session.renderer.directions("random"))
    for place in range(1, 5):
        session.commit("slider", session.dragged("random-0", float(place)))
    held = [step.state.moves[0] for step in list(session.history.steps.values())[1:]]
    assert [move.strength for move in held] == [1.0, 2.0, 3.0, 4.0]
    assert len({id(move.vector) for move in held}) == 1


def test_a_state_is_moved_by_its_own_directions(fashion: Renderer) -> None:
    """Names are chosen by people: a recipe's slider, or one of a step before, became another one of its name in the tray as soon
    as it was touched, or something was locked."""
    theirs, mine = (replace(each, name="marked") for each in fashion.directions("random")[:2])
    first = Session(fashion)
    first.add([theirs])
    first.commit("moved", first.dragged("marked", 2.0))
    came = first.state
    first.commit("locked", first.lock(["brightness"]))
    wanted = first.state
    session = Session(fashion)
    session.add([mine])
    session.commit("moved", session.dragged("marked", 1.0))
    own = session.state
    session.commit("opened a recipe", came)
    assert session.dragged("marked", 2.0) == came
    assert session.limit(0, 0).moves[0].vector == came.moves[0].vector if fashion.layers else True
    session.commit("locked", session.lock(["brightness"]))
    assert session.state == wanted
    session.commit("free", session.lock([]))
    assert session.state == came
    session.go(1)
    assert session.state == own
    assert session.dragged("marked", 1.0) == own
    session.redo()
    assert session.dragged("marked", 2.0) == came
    kept = session.tray["marked 2"]
    assert kept is not None
    assert kept.vector is mine.vector


def test_nothing_of_the_tray_is_lost_to_another_of_its_name(fashion: Renderer) -> None:
    """What was learned, or given, is asked about before a newer snapshot is followed, and saved with the others."""
    theirs, mine = (
        replace(each, name="marked", method="attribute") for each in fashion.directions("random")[:2]
    )
    for given in (False, True):
        session = Session(fashion)
        (session.load if given else session.add)([mine])
        came = State(moves=(move_of(theirs, 2.0),))
        session.commit("opened a recipe", came)
        session.commit("another seed", replace(session.state, seed=3))
        assert session.bound == ["1 direction"]
        assert [each.vector for each in session.tray.values() if each is not None] == [mine.vector]
        session.choose("random", fashion.directions("random"))
        assert session.tray["marked 2"] is not None


def test_a_link_with_locks_is_moved_by_what_the_page_knows(fashion: Renderer) -> None:
    """Its slider is less what was locked, which takes thousands of samples to be known: until then it is that of its name."""
    known = [replace(each, name=f"given {i}") for i, each in enumerate(fashion.directions("random"))]
    first = Session(fashion)
    first.load(known)
    first.commit("moved", first.dragged("given 0", 2.0))
    free = first.state
    first.commit("locked", first.lock(["brightness"]))
    again = Session(fashion, first.recipe)
    again.load(known)
    assert next(iter(again.tray)) == "given 0"
    assert not again.is_prepared("given 0")
    again.prepare()
    assert again.dragged("given 0", 2.0) == first.state
    again.commit("free", again.lock([]))
    assert again.state == free


def test_two_recipes_with_one_name_keep_to_their_own(fashion: Renderer) -> None:
    states = []
    for each in fashion.directions("random")[:2]:
        session = Session(fashion)
        session.add([replace(each, name="marked")])
        session.commit("moved", session.dragged("marked", 2.0))
        states.append(session.state)
    locked = [
        Session(fashion, replace(Session(fashion).recipe, state=each)).lock(["brightness"]) for each in states
    ]
    session = Session(fashion)
    for each, wanted in zip(states, locked, strict=True):
        session.commit("opened a recipe", each)
        session.commit("locked", session.lock(["brightness"]))
        assert session.state == wanted
        session.commit("free", session.lock([]))
        assert session.state == each


def test_what_is_learned_anew_has_a_slider_of_its_own(fashion: Renderer) -> None:
    """A lock made the slider that of the new one, which nobody had moved yet."""
    one, other = (replace(each, name="marked") for each in fashion.directions("random")[:2])
    session = Session(fashion)
    session.add([one])
    session.commit("moved", session.dragged("marked", 2.0))
    before, wanted = session.state, session.lock(["brightness"])
    assert [each.name for each in session.add([other])] == ["marked 2"]
    assert session.lock(["brightness"]) == wanted
    assert session.dragged("marked", 2.0) == before
    session.commit("moved", session.dragged("marked 2", 1.0))
    assert [move.name for move in session.state.moves] == ["marked", "marked 2"]
    session.undo()
    assert session.state == before
    session.commit("all sliders at 0", replace(session.state, moves=()))
    assert [each.name for each in session.add([other])] == ["marked"], "nothing moves by that name"


def test_a_recipe_is_opened_beside_what_is_kept(fashion: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bookmarks and key frames of the page were gone, and no step back brought them."""
    session = Session(fashion)
    session.bookmark("mine")
    session.add_key()
    plain = replace(session.recipe, state=State(9), bookmarks=(), timeline=Timeline(fps=12.0))
    session.open(plain)
    assert [name for name, _ in session.bookmarks] == ["mine"]
    assert (session.timeline.keys, session.timeline.fps) == ((State(),), 12.0)
    theirs = replace(plain, bookmarks=(("theirs", State(8)),), timeline=Timeline(keys=(State(7),)))
    for _ in range(2):
        session.open(theirs)
        assert session.bookmarks == [("theirs", State(8)), ("mine", State()), ("key frame 1", State())]
        assert session.timeline.keys == (State(7),)
    monkeypatch.setitem(MOST, "bookmarks", 3)
    with pytest.raises(GanvasError, match="there would be 4 bookmarks"):
        session.open(replace(plain, bookmarks=(("another", State(6)),)))
    assert len(session.bookmarks) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [({"sigma": 2e6}, "sigma is 2000000.0"), ({"layers": (0,) * 100}, "layers is a list of at most 64")],
)
def test_what_no_recipe_would_hold_gets_no_slider(
    fashion: Renderer, change: dict[str, Any], said: str
) -> None:
    """It was moved, kept and saved without a word, and everything with it could not be opened again."""
    direction = replace(fashion.directions("random")[0], **change)
    with pytest.raises(GanvasError, match=f"cannot have a slider.*{said}"):
        Session(fashion).add([direction])
    with pytest.raises(GanvasError, match="cannot have a slider"):
        check_directions([direction])


def test_no_more_sliders_are_moved_than_a_recipe_holds(
    fashion: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty of a file, and those that were found besides."""
    session = Session(fashion)
    session.load([replace(each, name=f"given {i}") for i, each in enumerate(fashion.directions("random"))])
    session.choose("random", fashion.directions("random"))
    monkeypatch.setitem(MOST, "moves", 3)
    monkeypatch.setitem(MOST, "locks", 2)
    names = [*session.tray]
    for name in names[:3]:
        session.commit(name, session.dragged(name, 1.0))
    with pytest.raises(GanvasError, match="moves is a list of at most 3"):
        session.dragged(names[3], 1.0)
    assert len(session.dragged(names[0], 2.0).moves) == 3
    with pytest.raises(GanvasError, match="locks is a list of at most 2"):
        session.lock(["a", "b", "c"])


def test_what_moves_a_step_that_is_gone_back_to_has_a_slider(fashion: Renderer) -> None:
    """Another method had been chosen meanwhile: only "all to 0" took it away."""
    session = Session(fashion)
    session.choose("pca", fashion.directions("pca"))
    session.commit("moved", session.dragged("pca-1", 2.0))
    session.commit("all sliders at 0", replace(session.state, moves=()))
    session.choose("random", fashion.directions("random"))
    assert "pca-1" not in session.tray
    session.undo()
    assert "pca-1" in session.tray
    assert session.dragged("pca-1", 0.0).moves == ()


def test_directions_of_other_locks_have_an_end(fashion: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same attributes in any order are another lock, of which each slider had numbers of its own, as long as a page stays."""
    monkeypatch.setattr("ganvas.web.session.MOST_MADE", 30)
    monkeypatch.setattr(Renderer, "locked", lambda self, direction, locks: direction)
    session = Session(fashion)
    session.choose("random", session.renderer.directions("random"))
    for number in range(20):
        session.commit("locked", session.lock([f"{number}"]))
        session.prepare()
        assert len(session._locked) <= 30 + len(session.tray)
        assert all(session.is_prepared(name) for name in session.tray)


def test_marks_go_round_and_few_are_refused(fashion: Renderer) -> None:
    session = Session(fashion)
    assert session.mark(1, 5) is True
    assert session.mark(1, 5) is False
    assert session.mark(1, 5) is None
    session.mark(1, 6)
    with pytest.raises(GanvasError, match="at least 4 good and 4 bad"):
        session.learn("x")


def test_two_sessions_do_not_disturb_each_other(fashion: Renderer) -> None:
    a, b = Session(fashion), Session(fashion)
    a.choose("random", a.renderer.directions("random"))
    a.commit("slider", a.dragged("random-0", 3.0))
    a.mark(1, 1)
    assert b.state == State()
    assert not b.tray
    assert not b.marks
    assert len(b.history.steps) == 1


def test_undo_goes_back_and_redo_on(fashion: Renderer) -> None:
    session = Session(fashion)
    session.commit("seed", State(5))
    session.show(replace(session.state, truncation=0.5))
    assert session.undo()
    assert session.state == State()
    assert session.redo()
    assert session.state == State(5), "what was only looked at is no step"
    session.go(0)
    assert session.state == State()


def test_key_frames_come_and_go(fashion: Renderer) -> None:
    session = Session(fashion)
    for seed in range(3):
        session.show(State(seed))
        session.add_key()
    session.drop_key(1)
    assert [key.seed for key in session.timeline.keys] == [0, 2]


def test_what_the_model_cannot_draw_is_no_step(small: Renderer) -> None:
    """A page was deaf after such a recipe, its steps were shown no more, or every slider failed, after All to 0, too."""
    found = small.directions("random")
    strange = replace(move_of(found[0], 1.0), vector=pack(torch.ones(3)))
    for theirs in (
        State(label=99), State(base=pack(torch.ones(3)), space="z"), State(moves=(strange,)),
        State(moves=(replace(move_of(found[0], 1.0), layers=(99,)),)),
    ):  # fmt: skip
        session = Session(small)
        session.choose("random", found)
        session.commit("slider", session.dragged("random-0", 2.0))
        before, tray = session.recipe, dict(session.tray)
        recipe = replace(before, state=theirs, bookmarks=(("theirs", State(8)),))
        for job in (
            partial(Session, small, recipe), partial(session.open, recipe), partial(session.commit, "theirs", theirs),
            partial(session.show, theirs),
        ):  # fmt: skip
            with pytest.raises(GanvasError, match=r"from 0 to|3 numbers where \d+ are expected"):
                job()
            assert (session.recipe, session.tray, session.layers) == (before, tray, ())
            assert len(session.history.steps) == 2
        session.commit("all sliders at 0", replace(session.state, moves=()))
        small.check(session.dragged("random-1", 1.0))
        session.open(replace(before, bookmarks=(("theirs", theirs),)))
        assert session.bookmarks == [("theirs", theirs)], "to be seen and removed"


def test_a_newer_snapshot_that_is_another_model_is_drawn(small: Renderer, fashion: Renderer) -> None:
    session = Session(fashion)
    session.commit("a class", State(7, label=9))
    session.adopt(small)
    assert session.state == session.history.state == State()


def test_a_newer_snapshot_keeps_the_latent(fashion: Renderer, small: Renderer) -> None:
    session = Session(small)
    session.choose("random", session.renderer.directions("random"))
    session.commit("slider", session.dragged("random-0", 1.0))
    session.show(replace(session.state, seed=7))
    session.adopt(fashion)
    assert session.state == State(7)
    assert not session.tray
    assert session.recipe.hash == fashion.hash


def test_sliders_move_some_layers(fashion: Renderer) -> None:
    session = Session(fashion, start=State(3))
    session.choose("pca", session.renderer.directions("pca"))
    session.commit("a", session.dragged("pca-0", 2.0))
    everywhere = fashion.draw([session.state])
    session.commit("coarse", session.limit(0, 1))
    assert session.state.moves[0].layers == (0, 1)
    coarse = fashion.draw([session.state])
    assert not torch.equal(coarse, everywhere)
    assert not torch.equal(coarse, fashion.draw([State(3)]))
    assert session.move("pca-1", 1.0).layers == (0, 1)  # those not moved yet too
    session.commit("locked", session.lock(("brightness",)))
    assert session.state.moves[0].layers == (0, 1)
    assert Session(fashion, session.recipe).layers == (0, 1)
    session.commit("all", session.lock(()))
    session.commit("all", session.limit(0, fashion.layers - 1))
    assert torch.equal(fashion.draw([session.state]), everywhere)
    with pytest.raises(GanvasError, match=r"Layers go from 0 to"):
        session.limit(2, fashion.layers)


def test_a_style_is_of_a_seed_that_a_recipe_may_hold(fashion: Renderer) -> None:
    """Of one beyond neither the address nor the file could be opened again."""
    session = Session(fashion)
    for seed in (2**31, -1):
        with pytest.raises(GanvasError, match="Seeds go up to"):
            session.mixed(seed, 0, 1)
    session.commit("style", session.mixed(2**31 - 1, 0, 1))
    assert from_text(to_text(session.recipe)).state == session.state


def test_what_is_kept_can_be_opened_again(fashion: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 512 numbers forty bookmarks and forty key frames of ten sliders were more than what is read of a recipe."""
    monkeypatch.setattr(state, "LONGEST", 130_000)
    session = Session(fashion)
    session.choose("random", fashion.directions("random"))
    for name in [*session.tray]:
        session.commit("slider", session.dragged(name, 1.0))

    def filled(keep: Callable[[], None]) -> None:
        for _ in range(50):
            keep()

    for keep in (session.add_key, lambda: session.bookmark("here")):
        with pytest.raises(GanvasError, match="of 30,000 at most: remove bookmarks, key frames or sliders"):
            filled(keep)
    assert session.timeline.keys
    saved = json.dumps(to_json(session.recipe), indent=2).encode()
    assert from_bytes(saved).timeline == from_text(to_text(session.recipe)).timeline == session.timeline


def test_what_moves_next_moves_the_layers_that_the_state_moves(fashion: Renderer) -> None:
    """After a step back all layers stood there, and the next slider moved some; after a recipe it was the other way round."""
    session = Session(fashion)
    session.choose("pca", fashion.directions("pca"))
    session.commit("slider", session.dragged("pca-0", 1.0))
    session.commit("coarse", session.limit(0, 1))
    coarse = session.state
    session.undo()
    assert session.layers == session.move("pca-1", 1.0).layers == ()
    session.redo()
    assert session.layers == session.move("pca-1", 1.0).layers == (0, 1)
    other = Session(fashion)
    other.choose("pca", fashion.directions("pca"))
    other.commit("opened a recipe", coarse)
    assert other.layers == other.move("pca-1", 1.0).layers == (0, 1)
    other.add([replace(fashion.directions("pca")[0], name="fine", layers=(3,))])
    other.commit("start", State())
    other.commit("fine", other.dragged("fine", 1.0))
    assert other.layers == (0, 1)  # its own are its alone


def test_a_direction_that_was_made_for_some_layers_keeps_them(fashion: Renderer) -> None:
    session = Session(fashion)
    session.add([replace(fashion.directions("pca")[0], name="fine", layers=(3,))])
    session.commit("a", session.dragged("fine", 2.0))
    assert session.limit(0, 1).moves[0].layers == (3,)


def test_what_comes_after_a_page_was_closed_is_not_written_to_it() -> None:
    """On a busy machine pages went while their thumbnails were drawn, and a traceback came on the terminal."""
    page, client, written = Page.__new__(Page), SimpleNamespace(is_deleted=False), list[int]()
    vars(page).update(client=client, source=SimpleNamespace(aside=asyncio.to_thread))

    def job() -> int:
        client.is_deleted = True
        return 1

    async def listener() -> None:
        written.append(await page.aside(job))

    with pytest.raises(Gone):
        asyncio.run(listener())
    assert not written
