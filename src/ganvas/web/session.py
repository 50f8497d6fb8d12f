"""One person on one model: where they are, what they did, what they keep. Pages call it; it knows no page."""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import torch

from ganvas.checkpoint import is_hash
from ganvas.errors import GanvasError, counted
from ganvas.latent.directions import Direction
from ganvas.web.history import History
from ganvas.web.renderer import SLIDERS, Renderer
from ganvas.web.state import (
    FROM_PYTHON,
    LONGEST_WORDS,
    MOST,
    SPARE,
    Mix,
    Move,
    Recipe,
    State,
    Timeline,
    check_length,
    check_state,
    move_of,
    unpack,
)

Key = TypeVar("Key")
Kept = TypeVar("Kept")
MARKS_WANTED = 50
MOST_MADE = 256
"""Directions, by what is locked, that are kept: of more those alone that have a slider and are less what is locked now."""
SHEET = 50
"""Samples on the sheet that is marked."""


class Session:
    """All of it belongs to one page; the renderer is shared."""

    def __init__(self, renderer: Renderer, recipe: Recipe | None = None, start: State | None = None) -> None:
        if recipe is not None:
            _check(recipe, renderer)
        self.renderer = renderer
        self.state = recipe.state if recipe else start or State()
        self.timeline = recipe.timeline if recipe else Timeline()
        self.bookmarks: list[tuple[str, State]] = list(recipe.bookmarks) if recipe else []
        self.history = History(self.state)
        self.method = ""
        self.tray: dict[str, Direction | None] = {move.name: None for move in self.state.moves}
        """Directions with a slider, by name; None for those that came with a recipe."""
        self._loaded: frozenset[str] = frozenset()
        """Names of those that were given with the page, which stay."""
        self._locked: dict[tuple[str, tuple[str, ...]], tuple[Direction, Move]] = {}
        """By a direction's name and what is locked: the direction, and what it is less that, whose numbers all steps share."""
        self._made_of: dict[tuple[str, float], Direction] = {}
        """By the numbers of a slider and its sigma: the direction of the tray that they were made of."""
        self._first: dict[str, str] = {}
        """By the numbers of a slider, less what is locked: those that it had before."""
        self.layers: tuple[int, ...] = ()
        """Rows of w+ that sliders move; empty: all."""
        self._follow_layers()
        self.pinned: State | None = None
        """A of A/B."""
        self.marks: dict[tuple[int, int], bool] = {}
        """(seed, number) -> good"""

    @property
    def recipe(self) -> Recipe:
        """Everything, to be saved."""
        return Recipe(
            self.renderer.name, self.renderer.hash, self.state, self.timeline, tuple(self.bookmarks)
        )

    @property
    def kept(self) -> dict[str, Sequence[object]]:
        """What somebody has kept that belongs to this snapshot: `adopt` loses it."""
        made = [each for each in self.tray.values() if each is not None and each.method == "attribute"]
        return {
            "bookmark": [each for each in self.bookmarks if not _is_plain(each[1])],
            "key frame": [each for each in self.timeline.keys if not _is_plain(each)],
            "mark": [*self.marks.items()],
            "direction": sorted({each.name for each in made} | self._loaded),
        }

    @property
    def bound(self) -> list[str]:
        """`kept` in words."""
        return [counted(len(each), thing) for thing, each in self.kept.items() if each]

    def adopt(self, renderer: Renderer) -> None:
        """Continue with another snapshot of the model: the same latents; what was found in the old one's space is gone."""
        self.renderer, self.method, self.pinned = renderer, "", None
        was, self.state = self.state, State()
        with suppress(GanvasError):  # of another model, it may not have that class
            self.show(_plain(was))
        self.history = History(self.state, "a newer snapshot")
        self.tray, self._locked, self.marks = {}, {}, {}
        self._made_of, self._first = {}, {}
        self.bookmarks = [(name, state) for name, state in self.bookmarks if _is_plain(state)]
        self.timeline = replace(self.timeline, keys=tuple(filter(_is_plain, self.timeline.keys)))
        self.layers, self._loaded = (), frozenset()

    # --- steps -----------------------------------------------------------------------------------------------------

    def show(self, state: State) -> None:
        """Look at a state without making it a step: while a slider is dragged. Raises like `Renderer.check`."""
        self.renderer.check(state)
        self.state = state

    def commit(self, what: str, state: State | None = None) -> bool:
        """Make the state, by default what is looked at, a step of the history. False when nothing changed. Raises like `show`."""
        if state is not None:
            self.show(state)
            self._follow_names()
            self._follow_layers()
        for move in self.state.moves:
            self.tray.setdefault(move.name, None)
        return self.history.add(self.state, what)

    def undo(self) -> bool:
        """One step back."""
        return self._at(self.history.undo())

    def redo(self) -> bool:
        """One step on."""
        return self._at(self.history.redo())

    def go(self, number: int) -> None:
        """To any step of the tree."""
        self.history.go(number)
        self._at(True)

    def _at(self, changed: bool) -> bool:
        self.state = self.history.state
        for move in self.state.moves:  # what moves the picture is never out of reach
            self.tray.setdefault(move.name, None)
        self._follow_names()
        self._follow_layers()
        return changed

    def _follow_names(self) -> None:
        """A slider of the state is its own: people choose names, and one of the tray may be called as another one of a recipe, or
        of a step before. It goes on under another name."""
        for move in self.state.moves:
            known = self.tray.get(move.name)
            if known is not None and not self._moves(known, move):
                name = self._free(move.name)
                both = {move.name: None, name: replace(known, name=name)}
                others = [({each: of} if each != move.name else both) for each, of in self.tray.items()]
                self.tray = {each: of for some in others for each, of in some.items()}
                if move.name in self._loaded:
                    self._loaded = self._loaded - {move.name} | {name}

    def _moves(self, direction: Direction, move: Move) -> bool:
        """Whether a slider of the state is that of a direction of its name; true where nobody has measured yet what is locked."""
        of = self._made_of.get((move.vector, move.sigma))
        if of is not None and (of is direction or torch.equal(of.vector.cpu(), direction.vector.cpu())):
            return True
        locks = self.state.locks
        made = self._known(direction, locks) if locks else move_of(direction, 0.0)
        return of is None if made is None else _near(made.vector, move.vector, self.renderer.space.shape)

    def _free(self, name: str) -> str:
        """A name that no slider has: this one, or with a number behind it."""
        names = {*self.tray, *(move.name for move in self.state.moves)}
        numbered = (f"{name[: LONGEST_WORDS - 8]} {count}" for count in itertools.count(2))
        return next(each for each in itertools.chain([name], numbered) if each not in names)

    def _follow_layers(self) -> None:
        """What moves next moves the layers that the state's sliders move, but for directions that were made for some."""
        made = {name for name, each in self.tray.items() if each is not None and each.layers}
        moved = (move.layers for move in self.state.moves if move.name not in made)
        self.layers = next(moved, self.layers)

    # --- directions ------------------------------------------------------------------------------------------------

    def choose(self, method: str, found: Sequence[Direction]) -> None:
        """Fill the tray with what a method found; directions in use stay, clicked and loaded ones too."""
        kept = {
            name: each for name, each in self.tray.items()
            if self.state.moved(name) or name in self._loaded or (each is not None and each.method == "attribute")
        }  # fmt: skip
        self.method = method
        self._fill(kept, found)

    def load(self, directions: Sequence[Direction]) -> None:
        """Put directions of a file first in the tray, where they stay. Raises like `add`."""
        self._loaded = frozenset(each.name for each in self.add(directions))

    def add(self, directions: Sequence[Direction]) -> list[Direction]:
        """Put directions first in the tray; of the name of another one that moves the picture under a name of their own.

        Raises `GanvasError` for those that no recipe would hold.
        """
        check_directions(directions)
        moves = {move.name: move for move in self.state.moves}
        added = dict[str, Direction]()
        for each in directions:
            move = moves.get(each.name)
            name = each.name if move is None or self._moves(each, move) else self._free(each.name)
            added[name] = each if name == each.name else replace(each, name=name)
        self._fill({**added}, [each for each in list(self.tray.values()) if each is not None])
        return [*added.values()]

    def _fill(self, first: dict[str, Direction | None], then: Sequence[Direction]) -> None:
        tray = dict(first)
        for each in then:
            if each.name in self._loaded or len(tray.keys() - self._loaded) < SLIDERS:
                tray.setdefault(each.name, each)
        for move in self.state.moves:  # what moves the picture is never out of reach
            tray.setdefault(move.name, self.tray.get(move.name))
        self.tray = tray

    def move(self, name: str, strength: float) -> Move:
        """The direction called `name` at a strength, with the locks applied."""
        known = self.tray.get(name)
        old = next((move for move in self.state.moves if move.name == name), None)
        if known is None or (old is not None and not self._moves(known, old)):
            old = old or self._came(name, self.state.locks) or self._came(name)
            if old is None:
                raise GanvasError(f"There is no direction {name!r} in the tray.")
            return replace(old, strength=strength)
        made = self._made(known, strength, self.state.locks)
        return replace(made, layers=made.layers or self.layers if old is None else old.layers)

    def _came(self, name: str, locks: tuple[str, ...] | None = None, like: Move | None = None) -> Move | None:
        """A slider that came with a recipe, as it moved last; with `locks`, while these were locked. Another recipe may have had
        one of its name: `like` is what it was at another time."""
        # A list at once: this is asked in threads, and the page goes on.
        steps = list(self.history.steps.values())
        states = [*reversed(self.history.trail()), *(step.state for step in steps)]
        kept = (state.moves for state in states if locks is None or state.locks == locks)
        return next(
            (
                move for moves in kept for move in moves
                if move.name == name and (like is None or self._first_of(move) == self._first_of(like))
            ),
            None,
        )  # fmt: skip

    def _first_of(self, move: Move) -> str:
        return self._first.get(move.vector, move.vector)

    def _made(self, direction: Direction, strength: float, locks: tuple[str, ...]) -> Move:
        """A direction less what is locked, at a strength; made once for each set of locks."""
        made = self._known(direction, locks)
        if made is None:
            kept, of = self._locked, self._made_of  # a newer snapshot, which may come meanwhile, has its own
            if len(kept) >= MOST_MADE:
                for name, others in list(kept):
                    if others != locks or name not in self.tray:
                        kept.pop((name, others), None)
            made = move_of(self.renderer.locked(direction, locks), 0.0)
            kept[direction.name, locks] = direction, made
            _keep(of, (made.vector, made.sigma), direction)
        return replace(made, strength=strength)

    def _known(self, direction: Direction, locks: tuple[str, ...]) -> Move | None:
        """What was made of a direction before; another may have had its name, one of a file or of another seed."""
        found = self._locked.get((direction.name, locks))
        if found is None:
            return None
        of, made = found
        return made if _alike(of, direction) else None

    def prepare(self) -> None:
        """Make the sliders' directions anew where something is locked: attributes take thousands of samples to be known."""
        for known in [*self.tray.values()]:
            if known is not None:
                self._made(known, 0.0, self.state.locks)

    def is_prepared(self, name: str) -> bool:
        """Whether a slider can be moved at once."""
        known = self.tray.get(name)
        return known is None or not self.state.locks or self._known(known, self.state.locks) is not None

    def dragged(self, name: str, strength: float) -> State:
        """The state with one slider elsewhere. Raises `GanvasError` for one that is not prepared."""
        if not self.is_prepared(name):
            raise GanvasError("What is locked is being measured first: move the slider again in a moment.")
        state = self.state.to(self.move(name, strength))
        check_state(state)
        return state

    def limit(self, first: int, last: int) -> State:
        """The state with sliders moving layers first..last only; a direction that was made for some layers keeps them."""
        count = self.renderer.layers
        if not 0 <= first <= last < count:
            raise GanvasError(f"Layers go from 0 to {count - 1}, got {first} to {last}.")
        self.layers = () if last - first == count - 1 else tuple(range(first, last + 1))
        moves = []
        for move in self.state.moves:
            known = self.tray.get(move.name)
            moves.append(replace(move, layers=(known.layers if known else ()) or self.layers))
        return replace(self.state, moves=tuple(moves))

    def lock(self, names: Sequence[str], of: State | None = None) -> State:
        """The state, or another one `of` this space, with other locks: every slider's direction is made anew."""
        state = replace(of or self.state, locks=tuple(names))
        check_state(state)
        moves = []
        for move in state.moves:
            known = self.tray.get(move.name)
            if known is not None and self._moves(known, move):
                made = self._made(known, move.strength, state.locks)
            else:  # it came with a recipe, which says no more of it
                made = self._came(move.name, state.locks, move) or self._less(move, state.locks)
            _keep(self._first, made.vector, self._first_of(move))
            moves.append(replace(made, strength=move.strength, layers=move.layers))
        return replace(state, moves=tuple(moves))

    def _less(self, move: Move, locks: tuple[str, ...]) -> Move:
        """A slider that came with a recipe, less what is locked."""
        # Of one that is less something already, the other locks would leave that out, too.
        whole = self.renderer.moved_by(self._came(move.name, (), move) or move)
        return move_of(self.renderer.locked(whole, locks), 0.0)

    # --- marks -----------------------------------------------------------------------------------------------------

    def mark(self, seed: int, number: int) -> bool | None:
        """Click on a sample: unmarked -> good -> bad -> unmarked."""
        key = (seed, number)
        if key not in self.marks:
            self.marks[key] = True
        elif self.marks[key]:
            self.marks[key] = False
        else:
            del self.marks[key]
        return self.marks.get(key)

    def learn(self, name: str, marks: Mapping[tuple[int, int], bool] | None = None) -> Direction:
        """The direction of the marks, by default of all, put into the tray; its `score` is the accuracy on held-out marks."""
        marks = dict(self.marks if marks is None else marks)
        good = sum(marks.values())
        if min(good, len(marks) - good) < 4:
            raise GanvasError(
                f"Mark at least 4 good and 4 bad samples, better {MARKS_WANTED} in all; there are {good} and {len(marks) - good}."
            )
        found = self.renderer.clicked([(*key, good) for key, good in marks.items()], name.strip() or "marked")
        return self.add([found])[0]

    def bookmark(self, name: str) -> None:
        """Keep the state under a name. Raises `GanvasError` when there are as many as a recipe holds."""
        if len(self.bookmarks) >= MOST["bookmarks"]:
            raise GanvasError(f"There are at most {MOST['bookmarks']} bookmarks: remove one first.")
        bookmarks = [*self.bookmarks, (name[:LONGEST_WORDS], self.state)]
        check_length(replace(self.recipe, bookmarks=tuple(bookmarks)), SPARE)
        self.bookmarks = bookmarks

    def open(self, recipe: Recipe) -> None:
        """Take over what a recipe keeps, beside what is kept here; key frames that its own replace become bookmarks.

        Raises `GanvasError` where that is more than a recipe holds, and for a recipe that this model cannot draw.
        """
        _check(recipe, self.renderer)
        keys = self.timeline.keys if recipe.timeline.keys not in ((), self.timeline.keys) else ()
        left = [(f"key frame {place}", state) for place, state in enumerate(keys, 1)]
        kept = list(dict.fromkeys([*recipe.bookmarks, *self.bookmarks, *left]))
        if len(kept) > MOST["bookmarks"]:
            raise GanvasError(
                f"With what is kept here there would be {len(kept)} bookmarks, and there are at most {MOST['bookmarks']}: remove "
                "some first."
            )
        timeline = (
            recipe.timeline if recipe.timeline.keys else replace(recipe.timeline, keys=self.timeline.keys)
        )
        check_length(replace(self.recipe, timeline=timeline, bookmarks=tuple(kept)), SPARE)
        self.timeline, self.bookmarks = timeline, kept

    # --- the timeline ----------------------------------------------------------------------------------------------

    def add_key(self) -> None:
        """The state as the next key frame. Raises `GanvasError` when there are as many as a recipe holds."""
        if len(self.timeline.keys) >= MOST["keys"]:
            raise GanvasError(f"A film has at most {MOST['keys']} key frames.")
        timeline = replace(self.timeline, keys=(*self.timeline.keys, self.state))
        check_length(replace(self.recipe, timeline=timeline), SPARE)
        self.timeline = timeline

    def drop_key(self, place: int) -> None:
        """Take a key frame away."""
        keys = self.timeline.keys
        self.timeline = replace(self.timeline, keys=keys[:place] + keys[place + 1 :])

    def mixed(self, seed: int | None, first: int, last: int) -> State:
        """The state with layers first..last in the style of another seed; None takes them back."""
        return self.renderer.other_style(self.state, None if seed is None else Mix(seed, 0, first, last))


def _check(recipe: Recipe, renderer: Renderer) -> None:
    """Raise `GanvasError` for one of another model, or whose state this one cannot draw; bookmarks are checked when clicked."""
    if not is_hash(recipe.hash, renderer.hash):
        raise GanvasError(
            f"The recipe is of a model with weights {recipe.hash}; this one has {renderer.hash}."
        )
    renderer.check(recipe.state)


def _keep(kept: dict[Key, Kept], key: Key, value: Kept) -> None:
    """The newest `MOST_MADE`."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > MOST_MADE:
        del kept[next(iter(kept))]


def _alike(one: Direction, other: Direction) -> bool:
    """Whether two directions move the same: what was measured of them, and their names, may differ."""
    same = (one.sigma, one.layers) == (other.sigma, other.layers)
    return one is other or (same and torch.equal(one.vector.cpu(), other.vector.cpu()))


def _near(one: str, other: str, shape: tuple[int, ...]) -> bool:
    """Whether the numbers of two sliders are the same but for rounding: those of a recipe may be of another machine."""
    if one == other:
        return True
    a, b = unpack(one, shape), unpack(other, shape)
    return bool((a - b).norm() <= 1e-3 * a.norm())


def _plain(state: State) -> State:
    """The sample that a state began with, which each snapshot draws in its own way."""
    return replace(state, base=None, space="", moves=())


def _is_plain(state: State) -> bool:
    return state == _plain(state)


def as_python(recipe: Recipe, file: str = "recipe.json") -> str:
    """The lines that draw a recipe's picture."""
    given = ", model=model" if recipe.model == FROM_PYTHON else ""
    return (
        "import ganvas\n\n"
        f"# recipe.json: saved from the explorer; model {recipe.model!r}, weights {recipe.hash}\n"
        f"image = ganvas.replay({file!r}{given})  # uint8 (C, H, W), the same pixels\n"
    )


def check_directions(directions: Sequence[Direction]) -> None:
    """Raise `GanvasError` for those that no recipe would hold."""
    if long := [each.name for each in directions if len(each.name) > LONGEST_WORDS]:
        raise GanvasError(
            f"A direction's name has at most {LONGEST_WORDS:,} characters, one has {len(long[0]):,}."
        )
    for each in directions:
        try:
            check_state(State(moves=(move_of(each, 1.0),)))
        except GanvasError as error:
            raise GanvasError(f"The direction {each.name[:100]!r} cannot have a slider. {error}") from error
