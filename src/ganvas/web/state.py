"""Where somebody is in a latent space: a value that fits into a URL and a JSON file, and gives the same pixels again."""

import base64
import binascii
import json
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ganvas import io
from ganvas.data import origin
from ganvas.errors import GanvasError, brief
from ganvas.latent.directions import Direction

FORMAT_VERSION = 1
LONGEST = 2_000_000
"""Bytes of JSON that a recipe may unpack to."""
SPARE = 100_000
"""Of those, that bookmarks and key frames leave to what is looked at."""
LONGEST_ADDRESS = 2**20 - 2**17
"""Letters of a recipe in an address: browsers end at one or two MiB, and the server at one with all headers."""
LONGEST_WORDS = 1000
"""Characters of a name or a path in it."""
FARTHEST = 2.0
"""Sides that a picture is moved by."""
LONGEST_FILM = 2000
"""Frames."""
MOST = {"bookmarks": 100, "keys": 100, "moves": 50, "locks": 50, "layers": 64, "made": 16}
"""Of each in a recipe: what is drawn again for every one of them costs time and memory, whatever the bytes are."""
FROM_PYTHON = "your model"
"""What a recipe calls a model that no file holds."""
Kind = Literal["auto", "linear", "spherical", "spline"]


@dataclass(frozen=True)
class Move:
    """One direction with how far a slider has gone along it."""

    name: str
    vector: str
    """`pack` of the unit vector."""
    sigma: float
    strength: float = 0.0
    """In sigmas of the space."""
    layers: tuple[int, ...] = ()
    """Rows of w+ that it touches; empty: all."""


@dataclass(frozen=True)
class Mix:
    """Layers of w+ that another sample's style takes over."""

    seed: int
    number: int = 0
    first: int = 0
    last: int = 0
    """Inclusive."""


@dataclass(frozen=True)
class State:
    """A point of a model's space, as the steps that lead to it."""

    seed: int = 0
    number: int = 0
    """The sample of `model.sample(..., seed=seed)` that is started from."""
    label: int | None = None
    """Class of a conditional model; None is the sample's own."""
    base: str | None = None
    """`pack` of a point to start from instead of the sample."""
    space: str = ""
    """Of `base`: z, w or w+."""
    truncation: float = 1.0
    """psi: mean + psi (point - mean)."""
    mix: Mix | None = None
    noise: int | None = None
    """Seed of the noise maps; None is the generator's fixed ones."""
    moves: tuple[Move, ...] = ()
    locks: tuple[str, ...] = ()
    """Attributes that the directions were made to leave alone."""
    other: int | None = None
    """Class that is mixed into the own one."""
    share: float = 0.0
    """Of the other class, from 0 to 1."""
    place: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where StyleGAN3 draws: to the right and down, in sides of the picture, and turned anticlockwise, in degrees."""

    def moved(self, name: str) -> float:
        """Strength along the direction called `name`."""
        return next((each.strength for each in self.moves if each.name == name), 0.0)

    def to(self, move: Move) -> "State":
        """The same with one direction at another strength; one at 0 is left out."""
        kept = {each.name: each for each in self.moves}
        kept[move.name] = move
        return replace(self, moves=tuple(each for each in kept.values() if each.strength))


@dataclass(frozen=True)
class Timeline:
    """Key frames and how to walk between them."""

    keys: tuple[State, ...] = ()
    kind: Kind = "auto"
    equal: bool = True
    """The same change from picture to picture."""
    loop: bool = False
    frames: int = 48
    fps: float = 24.0


@dataclass(frozen=True)
class Recipe:
    """Everything on the page: which model, where in it, and the film."""

    model: str
    """As it was opened: a packaged name, or a path."""
    hash: str
    """Of the generator's weights."""
    state: State = State()
    timeline: Timeline = Timeline()
    bookmarks: tuple[tuple[str, State], ...] = ()
    made: Mapping[str, Any] = field(default_factory=dict)


def pack(values: Tensor) -> str:
    """Numbers as base64 of little-endian float32."""
    array = values.detach().cpu().float().numpy().astype("<f4").ravel()
    return base64.urlsafe_b64encode(array.tobytes()).decode()


def unpack(text: str, shape: tuple[int, ...]) -> Tensor:
    """The numbers of `pack` as (*shape). Raises `GanvasError` when they are not that many, or not finite."""
    try:
        array = np.frombuffer(base64.urlsafe_b64decode(text.encode()), "<f4")
    except (ValueError, binascii.Error) as error:
        raise GanvasError(f"The recipe holds damaged numbers: {error}.") from error
    if array.size != math.prod(shape):
        raise GanvasError(f"The recipe holds {array.size} numbers where {math.prod(shape)} are expected.")
    if not np.isfinite(array).all():
        raise GanvasError("The recipe holds numbers that are not finite.")
    return torch.from_numpy(array.astype(np.float32)).reshape(shape)


def move_of(direction: Direction, strength: float) -> Move:
    """A direction at a strength."""
    return Move(direction.name, pack(direction.vector), direction.sigma, strength, direction.layers)


def to_json(recipe: Recipe) -> io.Json:
    """The recipe as plain JSON."""
    made = recipe.made or {"ganvas": version("ganvas"), **_signed(recipe.model)}
    return {"kind": "recipe", "format_version": FORMAT_VERSION, **asdict(replace(recipe, made=made))}


def _signed(model: str) -> dict[str, str]:
    """That this user has opened that file, which a recipe from anybody else cannot say; a name needs no signature."""
    return {"mark": origin.sign(_opened(model))} if Path(model).exists() else {}


def check_length(recipe: Recipe, spare: int = 0) -> None:
    """Raise `GanvasError` for a recipe that could not be opened again."""
    size = len(json.dumps(to_json(recipe), indent=2))
    if size > LONGEST - spare:
        raise GanvasError(
            f"The recipe would have {size:,} bytes, of {LONGEST - spare:,} at most: "
            "remove bookmarks, key frames or sliders first."
        )


def check_state(state: State) -> None:
    """Raise `GanvasError` for one that no recipe would hold: with it everything that a page keeps could not be opened again."""
    try:
        _state(asdict(state))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise GanvasError(f"That could not be opened again from a link or a recipe: {error}.") from error


def is_own(recipe: Recipe) -> bool:
    """Whether this user saved the recipe, with its model at that path."""
    return origin.is_signed(_opened(recipe.model), recipe.made.get("mark"))


def _opened(model: str) -> str:
    return f"model {os.path.abspath(model)}"


def from_json(value: Any) -> Recipe:
    """The recipe of `to_json`. Raises `GanvasError` for anything else, saying what is wrong."""
    if not isinstance(value, dict) or value.get("kind") != "recipe":
        raise GanvasError(
            "This is no recipe: expected a JSON object with kind 'recipe', as the explorer saves it."
        )
    if value.get("format_version") != FORMAT_VERSION:
        raise GanvasError(
            f"The recipe has format version {brief(value.get('format_version'))}, this ganvas reads {FORMAT_VERSION}."
        )
    try:
        return Recipe(
            _text("model", value["model"]), _words("hash", value["hash"]), _state(value["state"]),
            _timeline(value.get("timeline") or {}),
            tuple((_words("bookmark", name), _state(state)) for name, state in _list("bookmarks", value)),
            _made(value.get("made") or {}),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise GanvasError(f"The recipe is damaged: {error!r}.") from error


def from_bytes(content: bytes) -> Recipe:
    """The recipe of a file's content."""
    return from_json(io.parse_json(content, "The recipe", longest=LONGEST))


def _timeline(value: Mapping[str, Any]) -> Timeline:
    given = _known(Timeline, value) | {"keys": tuple(_state(key) for key in _list("keys", value))}
    given["frames"] = _whole("frames", given.get("frames", Timeline().frames))
    found = Timeline(**given)
    if found.kind not in get_args(Kind):
        raise ValueError(f"kind is {brief(found.kind)}, expected one of {', '.join(get_args(Kind))}")
    if not 2 <= found.frames <= LONGEST_FILM:
        raise ValueError(f"{found.frames} frames, expected 2 to {LONGEST_FILM}")
    if not 0 < _number("fps", found.fps) <= 120:
        raise ValueError(f"{found.fps} frames a second")
    if not (isinstance(found.equal, bool) and isinstance(found.loop, bool)):
        raise ValueError("equal and loop are true or false")
    return found


def _state(value: Any) -> State:
    given = _known(State, value)
    given["moves"] = tuple(_move(each) for each in _list("moves", value))
    given["locks"] = tuple(_words("lock", each) for each in _list("locks", value))
    given["mix"] = None if given.get("mix") is None else _mix(given["mix"])
    for name in ("seed", "number"):
        given[name] = _whole(name, given.get(name, 0))
    for name in ("label", "noise", "other"):
        given[name] = None if given.get(name) is None else _whole(name, given[name])
    given["truncation"] = _number("truncation", given.get("truncation", 1.0))
    given["share"] = _number("share", given.get("share", 0.0))
    if not 0 <= given["share"] <= 1:
        raise ValueError(f"share is {given['share']}, expected 0 to 1")
    given["place"] = _place(given.get("place") or (0, 0, 0))
    if given.get("base") is not None:
        given["base"] = _text("base", given["base"])
    given["space"] = _words("space", given.get("space", ""))
    return State(**given)


def _place(value: Any) -> tuple[float, float, float]:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError("place is a list of three numbers")
    right, down, turn = (_number("place", each) for each in value)
    if max(abs(right), abs(down)) > FARTHEST or abs(turn) > 360:
        raise ValueError(
            f"place is {brief(value)}, expected moves up to {FARTHEST} and turns up to 360 degrees"
        )
    return right, down, turn


def _mix(value: Mapping[str, Any]) -> Mix:
    return Mix(**{name: _whole(name, each) for name, each in _known(Mix, value).items()})


def _move(value: Mapping[str, Any]) -> Move:
    layers = tuple(_whole("layer", each) for each in _list("layers", value))
    return Move(
        _words("name", value["name"]), _text("vector", value["vector"]), _number("sigma", value["sigma"]),
        _number("strength", value["strength"]), layers,
    )  # fmt: skip


def _made(value: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MOST["made"]:
        raise ValueError(f"made has at most {MOST['made']} entries")
    return {_words("made", key): _words("made", each) for key, each in value.items()}


def _known(kind: type[State | Timeline | Mix], value: Any) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    if not isinstance(value, dict) or set(value) - names:
        raise ValueError(f"a {kind.__name__.lower()} has the entries {', '.join(sorted(names))}")
    return dict(value)


def _list(name: str, value: Mapping[str, Any]) -> list[Any] | tuple[Any, ...]:
    found = value.get(name) or ()
    if not isinstance(found, list | tuple) or len(found) > MOST[name]:
        raise ValueError(f"{name} is a list of at most {MOST[name]}")
    return found


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {brief(value)}, expected text")
    value.encode()  # half a character cannot be sent to a page
    return value


def _words(name: str, value: Any) -> str:
    if len(_text(name, value)) > LONGEST_WORDS:
        raise ValueError(f"{name} has {len(value)} characters, expected up to {LONGEST_WORDS}")
    return str(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {brief(value)}, expected a number")
    found = float(value)
    if not math.isfinite(found) or abs(found) > 1e6:
        raise ValueError(f"{name} is {brief(value)}")
    return found


def _whole(name: str, value: Any) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or int(value) != value
        or not 0 <= value < 2**31
    ):
        raise ValueError(f"{name} is {brief(value)}, expected a whole number from 0 up")
    return int(value)


def to_text(recipe: Recipe) -> str:
    """The recipe as characters that a URL may hold."""
    plain = json.dumps(to_json(recipe), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(zlib.compress(plain, 9)).decode().rstrip("=")


def from_text(text: str) -> Recipe:
    """The recipe of `to_text`. Raises `GanvasError` when it is damaged, or unpacks to more than `LONGEST` bytes."""
    try:
        packed = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(packed, LONGEST)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise ValueError("it is cut, or too long")
    except (ValueError, binascii.Error, zlib.error) as error:
        raise GanvasError(f"The recipe in the address is damaged: {error}.") from error
    return from_json(io.parse_json(plain, "The recipe in the address", longest=LONGEST))


def read(path: Path) -> Recipe:
    """The recipe of a JSON file."""
    return from_json(io.read_json(path, longest=LONGEST))
