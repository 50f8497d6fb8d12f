"""A state in, pixels and numbers out. Knows models, spaces and ratios, and nothing of the web."""

import copy
import hashlib
import logging
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TypeGuard
from urllib.parse import quote

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ganvas import arrays
from ganvas.cache import cache_folder
from ganvas.checkpoint import hash_of
from ganvas.device import stream
from ganvas.errors import GanvasError
from ganvas.latent import LatentSpace, open_space, spaces
from ganvas.latent.critic import CRITIC_SCORE
from ganvas.latent.directions import (
    Direction,
    edit,
    find,
    load_directions,
    measured,
    save,
    unmeasured,
    unmoved,
    without,
)
from ganvas.latent.encoder import has_encoder, own_encoder
from ganvas.latent.finders import finders
from ganvas.latent.invert import invert, scale_of
from ganvas.latent.jacobian import FORWARD, MOST, jacobians
from ganvas.latent.likeness import MOST as MOST_ALIKE
from ganvas.latent.likeness import Likeness
from ganvas.latent.paths import NUMBERS, pyramid
from ganvas.latent.restore import Part, half, tasks
from ganvas.latent.space import KNOWN, WIDE
from ganvas.latent.supervised import attribute, from_attribute
from ganvas.lazy import lazy
from ganvas.model import Model
from ganvas.networks import GeneratorBase, StyleBased
from ganvas.networks.biggan import BigGenerator
from ganvas.networks.stylegan3 import StyleGAN3Generator, placement
from ganvas.pictures import ROOM
from ganvas.sampling import LogRatio, samplers
from ganvas.sampling.settings import at_budget
from ganvas.web.pace import (
    AROUND,
    EFFECTS,
    LIKENESS,
    QUALITY,
    SHEET,
    STRIPS,
    Purpose,
    Superseded,
    Turns,
    check_over,
)
from ganvas.web.plotted import plotted
from ganvas.web.quality import FEW, Gauge, Quality, Real, shrunk
from ganvas.web.state import MOST as MOST_OF_RECIPE
from ganvas.web.state import Mix, Move, State, pack, unpack

LOG = logging.getLogger("ganvas")
SLIDERS = 10
"""Directions at a time: more of them make the task harder (Dang et al. 2022, "GANSlider")."""
STRENGTHS = (-3.0, -1.5, 0.0, 1.5, 3.0)
"""Of the thumbnails of a direction, in sigmas."""
FIRST = 64
KEPT = 64
"""States whose neighbours are kept."""
LAST = 2**31 - 1
"""Number of a sample: those of a page's field, and of a recipe, have 31 bits."""
NEIGHBOUR_STEP = 0.25
"""How far a neighbour looks, in mean distances of two samples."""
LEAST_TRUNCATION = 0.02
"""Of BigGAN: at 0 there is one picture only, and no way back."""
LARGE = 128
"""Side from which a picture may take longer than a hand on a slider waits."""
PROMPT = 0.04
"""Seconds that a picture may take and be drawn while a slider is dragged."""
COARSE = 64
"""Side of the largest picture that is drawn instead."""
LEGIBLE, PATIENT = 32, 0.5
"""Side below which a picture says little, and seconds that one may take where nobody waits for each: thumbnails, the map."""
AXES = 24
"""Principal axes of the space among which neighbours are looked for where pictures take long."""
SEEN, MEASURED = 512, 16
"""Samples by which directions are found, and measured, where pictures take long."""
PAIRS = 128
"""Of samples whose mean distance neighbours are measured in, where pictures take long."""
REMEMBERED = 2**25
"""Bytes of thumbnails that are kept where pictures take long: what is shown at several places is drawn once."""
IMPORTED = (
    "sklearn.manifold", "sklearn.gaussian_process", "sklearn.linear_model", "sklearn.mixture", "sklearn.model_selection",
    "scipy.interpolate", "matplotlib.backends.backend_agg", "matplotlib.figure",
)  # fmt: skip
"""Slow to import, and in circles: of two threads that begin with different ones of a circle, one gets half a module."""
LONGEST_SPELLED = 200
"""Letters of an attribute in the name of a file."""
REST = 0.5
"""Seconds without a picture asked for, after which what can wait goes on."""


def check_shown(model: Model) -> None:
    """Raise `GanvasError` for a model whose samples are no pictures, or of which nobody knows what its codes are drawn from."""
    if len(model.shape) == 1:
        raise GanvasError(
            f"The explorer shows pictures; this model draws points of {model.shape[0]} numbers. Use ganvas sample."
        )
    model.latents(1)


class Renderer:
    """One model, seen from any number of pages. Safe to call from several threads."""

    def __init__(
        self, model: Model, name: str = "model", ratio: LogRatio | None = None, real: Real | None = None,
        unreal: str = "",
    ) -> None:  # fmt: skip
        if len(model.shape) == 2 or min(model.shape[1:], default=0) >= LARGE:  # of those layers are watched
            model = _apart(model)
        self.drawn = model
        """What draws the samples themselves, of which directions are measured: of series, not their pictures."""
        if len(model.shape) == 2:  # series: their curves are pictures, which no ratio of series judges
            model, ratio = plotted(model), None
        check_shown(model)
        self.model, self.ratio, self.real = model, ratio, real
        self.unreal = unreal or "No real images are at hand."
        """Why there are none, in words, where `real` is None."""
        self.name = name.encode(
            "utf-8", "replace"
        ).decode()  # a folder's may hold bytes that no page can show
        self.hash = model.hash
        self.space = open_space(model)
        self.spaces = {self.space.name: self.space}
        for other in ("z", "w+"):
            if other in spaces(model):
                self.spaces.setdefault(other, open_space(model, other))
        self.layers = self.spaces["w+"].shape[0] if "w+" in self.spaces else 0
        self.classes = model.generator.num_classes
        self._found: dict[str, list[Direction]] = {}
        self.slow, self.seconds = False, 0.0
        """Whether a picture takes long, and how many seconds then."""
        self.small: Renderer | None = None
        """The same model with the coarse pictures that are drawn while a slider is dragged, if it has such."""
        self._larger = self._small_curves(ROOM) if self.plots else None
        self._pace()
        self.gauge = self._gauge(FEW)
        if self.slow:
            whole = self.seconds if self.gauge.judges and self.small is not None else 0.0
            self.gauge = self._gauge(QUALITY.affords(FEW, self.view.seconds + whole))
        self._asked, self._wanted = 0.0, threading.local()
        self._turns, self._hands, self._counting = Turns(), 0, threading.Lock()
        self._thumbs: dict[State, Tensor] = {}
        if self.slow:
            for each in model.generator.modules():
                each.register_forward_pre_hook(lambda *_: self._go_on())
        self._around: dict[State, list[State]] = {}
        self._lock, self._looking, self._judging = threading.RLock(), threading.Lock(), threading.Lock()
        self._comparing, self._finding = threading.Lock(), threading.RLock()
        self._bare: dict[str, list[Direction]] = {}
        self._whole: tuple[State, Tensor] | None = None

    def _pace(self) -> None:
        """Find what pictures cost, and coarse ones that are quick enough: for a hand, and for who waits for many."""
        model = self.model
        if min(model.shape[1:]) < LARGE or (seconds := _seconds(model)) <= PROMPT:
            return
        self.slow, self.seconds = True, seconds
        sides = [side for side in model.generator.coarse_sides if 8 <= side <= COARSE]
        tried: dict[int, Renderer] = {}
        for side in reversed(sides):
            self.small = tried[side] = self._coarse_at(side)
            if self.small.seconds <= PROMPT:
                break
        if self.small is not None and self.small.model.shape[1] < LEGIBLE:
            self._larger = next(
                (tried[side] for side in sides if side >= LEGIBLE and tried[side].seconds <= PATIENT), None
            )

    def _small_curves(self, size: tuple[int, int]) -> "Renderer":
        """Of the curves of the same series in small, as the real ones are drawn: whole ones are compared by no more than that."""
        found = Renderer(plotted(self.drawn, size), self.name, real=self.real, unreal=self.unreal)
        found.seconds = _seconds(found.model)
        return found

    def _coarse_at(self, side: int) -> "Renderer":
        """Of the same model's pictures of a side, with the seconds that one takes."""
        coarse = self.model.generator.at(side)
        model = Model(coarse, None, replace(self.model.info, shape=tuple(coarse.shape)), self.model.path)
        real = None if self.real is None else self.real.of(coarse.shape[1:])
        found = Renderer(model, self.name, real=real, unreal=self.unreal)
        found.seconds = _seconds(model)
        return found

    def _gauge(self, few: int) -> Gauge:
        """What judges pictures, beside so `few` own samples where they take long."""
        coarse = None if self.small is None else self.view.model
        waiting = (lambda: self.turn(QUALITY)) if self.slow else None
        whole = self.view.model if self.plots else self.model
        return Gauge(whole, self.ratio, self.real, coarse, waiting, few)

    @property
    def view(self) -> "Renderer":
        """Who draws what only has to be recognised: thumbnails, the map, what neighbours are found by."""
        return self._larger or self.small or self

    def rest(self) -> None:
        """Wait while somebody drags a slider, who would wait for it; for what can wait."""
        until = time.monotonic() + 60
        while self.slow and time.monotonic() < min(self._asked + REST, until):
            time.sleep(0.02)

    @contextmanager
    def turn(self, purpose: Purpose) -> Iterator[None]:
        """Where pictures take long: wait until nobody drags and nothing more urgent is to be drawn, then draw a few."""
        check_over()
        if not self.slow:
            yield
            return
        with self._turns.turn(purpose.urgency):
            self.rest()
            check_over()
            yield

    @contextmanager
    def _ahead(self) -> Iterator[None]:
        """Draw ahead of everything else: other threads stop in front of their next layer."""
        self._asked, self._wanted.first = time.monotonic(), True
        with self._counting:
            self._hands += 1
        try:
            yield
        finally:
            with self._counting:
                self._hands -= 1
            self._wanted.first = False

    def _go_on(self) -> None:
        check_over()
        still = getattr(self._wanted, "still", None)
        if still is not None and not still():
            raise Superseded
        until = time.monotonic() + 60
        while self._hands and not getattr(self._wanted, "first", False) and time.monotonic() < until:
            time.sleep(0.01)

    @property
    def title(self) -> str:
        """What is looked at, in a line."""
        pixels = f"{' x '.join(str(side) for side in self.model.shape[:0:-1])} px"
        return f"{self.name}, {'curves of series' if self.plots else pixels}, {self.space.name}"

    # --- the point -------------------------------------------------------------------------------------------------

    def label(self, state: State) -> Tensor | None:
        """Class of the state (1,), or None without classes."""
        if not self.classes:
            return None
        wanted = state.number % self.classes if state.label is None else state.label
        if not 0 <= wanted < self.classes:
            raise GanvasError(f"Classes go from 0 to {self.classes - 1}, got {wanted}.")
        return torch.tensor([wanted], device=self.model.device)

    def labels(self, states: Sequence[State]) -> Tensor | None:
        """The class of each state (n,), or None without classes."""
        found = [label for state in states if (label := self.label(state)) is not None]
        return torch.cat(found) if found else None

    def check(self, state: State) -> None:
        """Raise `GanvasError` for a state that this model cannot draw: of other classes, sizes, spaces or layers, say.

        Nothing is drawn, so what comes out as NaN is not found.
        """
        self.label(state)
        generator, space = self.generator_of(state), self._space(state)
        if state.noise is not None:
            _noisy(generator)
        if state.base is not None:
            unpack(state.base, space.shape)
        if _per_layer(state) and space.name != "w+":
            space, _ = self.rows(space, torch.empty(1, *space.shape))
        for move in state.moves:
            self._direction(space, move)

    @torch.no_grad()
    def point(self, state: State) -> tuple[LatentSpace, Tensor]:
        """The point of a state (1, *shape) and the space it lies in: the model's usual one, or w+ where layers differ."""
        space = self._as(self._space(state), state)
        label = self.label(state)
        if state.base is not None:
            points = unpack(state.base, space.shape)[None].to(self.model.device)
        else:
            points = self._sample(space, state.seed, state.number, label)
        if state.truncation != 1:
            middle = self._middle(space, state)
            points = middle + state.truncation * (points - middle)
        if _per_layer(state) and space.name != "w+":
            space, points = self.rows(space, points)
            space = self._as(space, state)
        if state.mix is not None:
            other = self._sample(space, state.mix.seed, state.mix.number, label)
            points = points.clone()
            points[:, state.mix.first : state.mix.last + 1] = other[:, state.mix.first : state.mix.last + 1]
        for move in state.moves:
            points = edit(space, points, self._direction(space, move), move.strength)
        return space, points

    def _middle(self, space: LatentSpace, state: State) -> Tensor:
        """What truncation pulls to (1, *shape): the mean of the state's class, or the way between those of two."""
        own = self.spaces[space.name]
        middle = own.mean_of(self.label(state))
        if state.other is None or not state.share:
            return middle
        return torch.lerp(middle, own.mean_of(torch.tensor([state.other])), state.share)

    def generator_of(self, state: State) -> GeneratorBase:
        """The model's generator as a state has it: with a class mixed in, at its truncation, with its picture elsewhere."""
        found = self.model.generator
        if state.other is not None and state.share:
            found = found.with_class(state.other, state.share)
        if self.has_levels(found) and state.truncation != 1:
            found = found.truncated(min(1.0, max(LEAST_TRUNCATION, found.truncation * state.truncation)))
        if any(state.place):
            if not isinstance(found, StyleGAN3Generator):
                raise GanvasError(
                    "This generator's picture cannot be moved (that of the stylegan3 family can)."
                )
            right, down, turn = state.place
            found = found.placed(placement(turn, right, down))
        return found

    @staticmethod
    def has_levels(generator: GeneratorBase) -> TypeGuard[BigGenerator]:
        """Whether its norms are those of a level of truncation (BigGAN)."""
        return isinstance(generator, BigGenerator) and generator.rows > 0

    def _as(self, space: LatentSpace, state: State) -> LatentSpace:
        """The space with `generator_of` behind it."""
        generator = self.generator_of(state)
        if generator is space.model.generator:
            return space
        return space.of_model(replace(self.model, generator=generator))

    def _sample(self, space: LatentSpace, seed: int, number: int, label: Tensor | None) -> Tensor:
        if number > LAST:
            raise GanvasError(f"Sample numbers go up to {LAST:,}, got {number:,}.")
        return space.of(self.model.latents_at([number], seed).to(self.model.device), label)

    def _space(self, state: State) -> LatentSpace:
        """Where a state starts from."""
        if state.base is None:
            return self.space
        if state.space not in self.spaces:
            raise GanvasError(
                f"The recipe is in space {state.space!r}; this model has {', '.join(self.spaces)}."
            )
        return self.spaces[state.space]

    def rows(self, space: LatentSpace, points: Tensor) -> tuple[LatentSpace, Tensor]:
        """Points of w as points of w+."""
        if space.name != "w" or not self.layers:
            raise GanvasError("Layers can be chosen in models with w+ only (the style family).")
        return self.spaces["w+"], points[:, None].expand(-1, self.layers, -1).clone()

    def _direction(self, space: LatentSpace, move: Move) -> Direction:
        home = self.space if space.name == "w+" else space
        vector = unpack(move.vector, home.shape)
        if any(layer >= self.layers for layer in move.layers):
            raise GanvasError(f"Layers go from 0 to {self.layers - 1}, got {list(move.layers)}.")
        return Direction(move.name, vector, home.name, self.hash, "recipe", move.sigma, layers=move.layers)

    def moved_by(self, move: Move) -> Direction:
        """The direction of a slider that came with a recipe."""
        return self._direction(self.space, move)

    def settle(self, state: State, space: LatentSpace, points: Tensor) -> State:
        """A state at `points` (1, *shape): they become its base, less what its sliders add, so that those stay where they are."""
        base = points
        for move in state.moves:
            base = edit(space, base, self._direction(space, move), -move.strength)
        truncation = 1.0
        if self.has_levels(self.model.generator):  # more than a factor: it stays
            truncation, middle = max(LEAST_TRUNCATION, state.truncation), space.mean_of(self.label(state))
            base = middle + (base - middle) / truncation
        return replace(state, base=pack(base), space=space.name, truncation=truncation, mix=None)

    # --- pictures --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def draw(self, states: Sequence[State]) -> Tensor:
        """Pictures of states: uint8 (n, C, H, W), each as if it were drawn alone."""
        return torch.cat([self.pictures(*self.point(state), state) for state in states])

    def draw_while(self, state: State, wanted: Callable[[], bool]) -> Tensor:
        """The picture of a state (C, H, W). Raises `Superseded` between two layers once it is not `wanted` any more."""
        self._wanted.still = wanted
        try:
            with self._ahead():
                image = self.draw([state])[0]
        finally:
            del self._wanted.still
        self._whole = state, image
        return image

    def coarse(self, state: State) -> Tensor:
        """The coarse picture of a state (C, h, w), soon, and ahead of what can wait."""
        with self._ahead():
            return (self.small or self).draw([state])[0]

    def pictures(
        self, space: LatentSpace, points: Tensor, state: State, labels: Tensor | None = None
    ) -> Tensor:
        """Points (n, *shape) with the noise of a state, and its class unless `labels` (n,) are given: uint8 (n, C, H, W)."""
        return self.model.to_data(self.samples(space, points, state, labels)).cpu()

    def samples(
        self, space: LatentSpace, points: Tensor, state: State, labels: Tensor | None = None
    ) -> Tensor:
        """The same before it is rounded, in the range of the model (n, C, H, W)."""
        check_over()
        label, space = self.label(state), self._as(space, state)
        if labels is None and label is not None:
            labels = label.expand(len(points))
        drawn = (
            space.decode(points, labels)
            if state.noise is None
            else self._with_noise(space, points, labels, state.noise)
        )
        if not torch.isfinite(drawn).all():
            raise GanvasError("The generator drew NaN or infinity here.")
        return drawn

    def _with_noise(self, space: LatentSpace, points: Tensor, labels: Tensor | None, seed: int) -> Tensor:
        generator = _noisy(space.model.generator)
        random = stream(seed, "noise")
        draw = torch.rand if getattr(generator, "uniform_noise", False) else torch.randn
        noise = [draw(1, *shape, generator=random).to(self.model.device) for shape in generator.noise_shapes]
        found = []
        for part, label in arrays.split(points, labels, self.model.at_once):
            w = generator.mapping(part, label) if space.name == "z" else part
            w = w if space.name == "w+" else generator.broadcast(w)
            found.append(generator.synthesis(generator.styles(w), noise).float())
        return torch.cat(found)

    @torch.no_grad()
    def together(self, states: Sequence[State]) -> Tensor:
        """Thumbnails of many states, together where they are alike but for their points and classes: uint8 (n, C, H, W)."""
        if not states:
            return torch.empty(0, *self.model.shape, dtype=torch.uint8)
        found = [self.point(state) for state in states]
        if len({space.name for space, _ in found}) > 1 or not alike(states):
            return torch.cat([self.pictures(*each, state) for each, state in zip(found, states, strict=True)])
        space, points, labels = found[0][0], torch.cat([points for _, points in found]), self.labels(states)
        at_once = max(1, NUMBERS // math.prod(self.model.shape))
        return torch.cat([
            self.pictures(space, points[rows], states[0], None if labels is None else labels[rows])
            for first in range(0, len(points), at_once) for rows in [slice(first, first + at_once)]
        ])  # fmt: skip

    def thumbs(
        self, states: Sequence[State], purpose: Purpose = SHEET, wanted: Callable[[], bool] = lambda: True
    ) -> Tensor:
        """`together`, small where pictures take long, and then a few at a time between what somebody waits for.

        Raises `Superseded` between two of those once they are not `wanted` any more.
        """
        if not self.slow or not states:
            return self.view.together(states)
        drawn = {state: known for state in states if (known := self._thumbs.get(state)) is not None}
        missing = [state for state in dict.fromkeys(states) if state not in drawn]
        while missing:
            some, missing = missing[:4], missing[4:]
            with self.turn(purpose):
                if not wanted():
                    raise Superseded
                drawn |= zip(some, self.view.together(some), strict=True)
        self._remember(drawn)
        return torch.stack([drawn[state] for state in states])

    def thumbs_or_none(
        self, states: Sequence[State], purpose: Purpose = SHEET, wanted: Callable[[], bool] = lambda: True
    ) -> list[Tensor | None]:
        """`thumbs`, with None for what cannot be drawn, as a recipe from anybody may hold it: the others are to be seen."""
        try:
            return [*self.thumbs(states, purpose, wanted)]
        except GanvasError:
            if len(states) == 1:
                return [None]
            return [each for state in states for each in self.thumbs_or_none([state], purpose, wanted)]

    def _remember(self, drawn: dict[State, Tensor]) -> None:
        self._thumbs |= drawn
        most = max(1, REMEMBERED // next(iter(drawn.values())).numel())
        for old in list(self._thumbs)[: max(0, len(self._thumbs) - most)]:
            self._thumbs.pop(old, None)

    @torch.no_grad()
    def quality(self, state: State) -> Quality:
        """How real, how typical, and how far from the real images a state is."""
        if not self.slow:
            space, points = self.view.point(state)
            images = self.view.pictures(space, points, state)
            return self.gauge.quality(self.spaces[space.name], points, images, self.label(state))
        with self._comparing:  # what the own samples look like is found once
            space, points = self.point(state)
            view = None if self.view is self else self.thumbs([state], QUALITY)
            images = view if view is not None and not self.gauge.judges else self._whole_of(state)
            # What is mixed in, or truncated, is not what own samples are: they are found once for all states.
            return self.gauge.quality(self.spaces[space.name], points, images, self.label(state), view)

    def _whole_of(self, state: State) -> Tensor:
        """The whole picture of a state (1, C, H, W), which was just drawn in most cases."""
        known = self._whole
        if known is not None and known[0] == state:
            return known[1][None]
        with self.turn(QUALITY):
            return self.draw([state])

    def compare_with(self, few: int) -> None:
        """Judge beside so `few` own samples from now on, where pictures take long."""
        found = self._gauge(few)
        found.prepare()
        self.gauge = found

    @property
    def likeness(self) -> Likeness | None:
        """How like real images the samples are (`Gauge.likeness`), found once for all pages."""
        with self._judging:
            return self.gauge.likeness(LIKENESS.affords(MOST_ALIKE, self.view.seconds))

    @lazy
    def start(self) -> State:
        """Where a page begins: the most real of the first `FIRST` samples on the manifold, or the first if they take long.

        With another toolkit's autoencoder, whose samples are no better than what was fitted to its codes, at the code of a
        real image.
        """
        if self.model.info.source and has_encoder(self.model) and self.real is not None:
            return self.settle(State(), self.space, self.space.of(self.model.encode(self.real.images[:1])))
        if self.slow:
            return State()
        return next(
            (s for i in self.ranked(FIRST) if not self.quality(s := State(number=i)).warnings), State()
        )

    @torch.no_grad()
    def ranked(self, count: int) -> list[int]:
        """Numbers of the first samples, the most real ones first; as they are without anything that judges."""
        if not self.gauge.judges:
            return list(range(count))
        scores = self.gauge.scores(self.model.sample(count), self.space.labels(count, None))
        assert scores is not None
        return scores.argsort(descending=True).tolist()

    def warm(self) -> None:
        """Everything that the first page would wait for, and what its threads would import at the same moment."""
        for name in IMPORTED:
            import_module(name)
        # The first derivative parses the sources of formulas, and pages parse literals: CPython up to 3.11.7 counts the depth of
        # all threads together (gh-106905), and a page that opened meanwhile ended in a SystemError.
        with FORWARD, forward_ad.dual_level(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what torch does with its own functions
            forward_ad.make_dual(torch.zeros(1), torch.zeros(1))
        self.view.draw([self.start])

    # --- directions ------------------------------------------------------------------------------------------------

    def directions(self, method: str) -> list[Direction]:
        """At most `SLIDERS` directions by a method of `ganvas directions`; found once and kept in the user's cache."""
        return self._kept(method, lambda: self._find(method))

    def _find(self, method: str) -> list[Direction]:
        if not self.slow:
            return find(self._own_space, method, SLIDERS)
        space, bare = self._coarse_space, self._unmeasured(method)
        count = EFFECTS.affords(MEASURED * (SLIDERS + 1), self.view.seconds) // (SLIDERS + 1)
        with self.turn(EFFECTS):
            start = unmoved(space, count)
        found = []
        for each in bare:
            with self.turn(EFFECTS):
                found.append(
                    measured(space, replace(each, made={**each.made, "measured": count}), start=start)
                )
        return found

    @property
    def plots(self) -> bool:
        """Whether pictures are the curves of series."""
        return self.drawn is not self.model

    @property
    def _own_space(self) -> LatentSpace:
        """The sliders' space, of the samples themselves."""
        return self.space.of_model(self.drawn)

    @property
    def _coarse_space(self) -> LatentSpace:
        """Of coarse pictures, without the critic, who judges whole ones."""
        return self.view.space.of_model(replace(self.view.model, critic=None))

    def _unmeasured(self, method: str) -> list[Direction]:
        """By which nothing was drawn yet where axes are those of points."""
        with self._lock:
            if method not in self._bare:
                space = self._coarse_space
                # In z, whose axes come from a layer, from fewer samples.
                fewer = {"samples": SEEN} if method in ("pca", "ica") and space.name == "z" else {}
                vectors, scores = finders.get(method)(space, SLIDERS, 0, **fewer)
                self._bare[method] = unmeasured(space, method, vectors, scores, {"seed": 0, **fewer})
            return self._bare[method]

    def first_directions(self, method: str) -> list[Direction]:
        """Those of `directions`, where pictures take long before anybody has measured what they do: sliders that move."""
        if not self.slow or self._known(method) is not None:
            return self.directions(method)
        return self._unmeasured(method)

    def _known(self, key: str) -> list[Direction] | None:
        """What was found before, now or in another session."""
        with self._lock:
            if key not in self._found:
                if (file := self._place(key)) is None:
                    return None
                try:
                    self._found[key] = load_directions(file, self.model)
                except GanvasError:
                    return None
            return self._found[key]

    def _kept(self, key: str, work: Callable[[], list[Direction]]) -> list[Direction]:
        with self._finding:
            if (known := self._known(key)) is not None:
                return known
            self._found[key] = work()
            if (file := self._place(key)) is not None:
                with suppress(GanvasError):  # a cache that cannot be written only costs time
                    save(file, self._found[key])
            return self._found[key]

    def _place(self, key: str) -> Path | None:
        """Where directions are kept."""
        # Those by Jacobians that were kept before may be wrong: two threads that took some at once spoiled each other's.
        again = "-again" if key == "jacobian" else ""
        return self.kept(f"directions-{self.space.name}-{key}{again}")

    def load(self, path: Path) -> list[Direction]:
        """The first directions of a file, as many as a recipe may move.

        Raises `GanvasError` for those of another model, or of another space than the sliders'.
        """
        found = load_directions(path, self.model)
        most = MOST_OF_RECIPE["moves"]
        if len(found) > most:
            LOG.warning("%d directions in %s: the first %d have sliders", len(found), path.name, most)
        found = found[:most]
        for each in found:
            if each.space != self.space.name:
                raise GanvasError(
                    f"The direction {each.name!r} is one of {each.space}; sliders move in {self.space.name}."
                )
        return found

    def kept(self, name: str) -> Path | None:
        """The file of what is found once for this model and its critic, which says what directions cost; None for a module of
        somebody's own: that is known by its weights alone, which do not tell what it draws."""
        if self.drawn.info.architecture is None:
            return None
        return cache_folder() / "explore" / self._folder / f"{name}.safetensors"

    @lazy
    def _folder(self) -> str:
        critic = self.drawn.critic
        return f"{self.drawn.key}-{'alone' if critic is None else hash_of(critic)}"

    def named(self, name: str) -> Direction:
        """The direction of an attribute: brightness, class:NAME, ...; of series trend, volatility:COLUMN, ..."""
        whole = name == CRITIC_SCORE or self.plots  # the critic sees whole pictures
        space = self._own_space if whole else self.view.space
        spelled = quote(name, safe="")
        if len(spelled) > LONGEST_SPELLED:
            # Forty letters of Cyrillic are more than the name of a file may have.
            spelled = hashlib.sha256(name.encode()).hexdigest()
        return self._kept(f"attribute-{spelled}", lambda: [from_attribute(space, name)])[0]

    def locked(self, direction: Direction, locks: Sequence[str]) -> Direction:
        """The direction less what it does to the locked attributes."""
        others = [self.named(name) for name in locks if name != direction.name]
        if not others:
            return direction
        vector = without(self.space, direction.vector.flatten(), others).reshape(self.space.shape)
        along = (self.space.known - self.space.mean).flatten(1) @ vector.flatten().to(self.model.device)
        return replace(direction, vector=vector, sigma=float(along.std()))

    def clicked(self, marks: Sequence[tuple[int, int, bool]], name: str) -> Direction:
        """A direction from samples that a person marked: (seed, number, good)."""
        states = [State(seed, number) for seed, number, _ in marks]
        points = torch.cat(
            [self._sample(self.space, each.seed, each.number, self.label(each)) for each in states]
        )
        scores = torch.tensor([1.0 if good else 0.0 for _, _, good in marks])
        return attribute(self.view.space, points, scores, name, labels=self.labels(states))

    def neighbours(self, state: State, wanted: Callable[[], bool] = lambda: True) -> list[State]:
        """Eight states around one, two along each of the four directions that change its picture most, at equal changes; in a
        space of fewer numbers some of them further along the same.

        Those of the last states are kept: many pages begin at the same one. Raises `Superseded` once they are not `wanted` any
        more, where pictures take long.
        """
        with self._looking:
            if state not in self._around:
                self._around[state] = self._found_around(state, wanted)
                while len(self._around) > KEPT:
                    del self._around[next(iter(self._around))]
            return self._around[state]

    def _found_around(self, state: State, wanted: Callable[[], bool]) -> list[State]:
        space, points = self.point(state)
        if self.slow:
            values, vectors = self._leading(state, wanted)
        else:
            if space.size > MOST:
                raise GanvasError(
                    f"{space.name} has {space.size} numbers; neighbours are looked for in up to {MOST}."
                )
            _, found = jacobians(*self.view.point(state), pyramid, self.label(state))
            metric = found[0].t() @ found[0]
            if not metric.isfinite().all():  # of numbers that no page sends
                raise GanvasError("This picture lies beyond all numbers: it has no neighbours.")
            values, vectors = torch.linalg.eigh(metric)
        moved = []
        for i in range(4):
            rounds, place = divmod(i, len(values))  # of two numbers two directions: again, and further
            vector = vectors[:, -1 - place].reshape(space.shape)
            step = NEIGHBOUR_STEP * self._scale / float(values[-1 - place].clamp(min=1e-12).sqrt())
            # The metric is a local one: where it promises more than a point's spread, the spread it is.
            step = min(step, 2 * float(space.std.norm()) / 8) * (1 + rounds)
            moved += [points - step * vector, points + step * vector]
        order = (0, 2, 4, 6, 7, 5, 3, 1)  # opposite cells are opposite steps
        return [self.settle(state, space, moved[i]) for i in order]

    @torch.no_grad()
    def _leading(self, state: State, wanted: Callable[[], bool]) -> tuple[Tensor, Tensor]:
        """Squares of how much the picture changes along directions (D, `AXES`), the least first, by differences.

        Among the principal axes of the space alone: one picture each, where Jacobians cost one for every number.
        """
        space, points = self.view.point(state)
        axes, spread = self._axes(space)
        step = NEIGHBOUR_STEP * spread
        moved = torch.cat([points, points + (step[:, None] * axes).reshape(-1, *space.shape)])
        looks = []
        for part in moved.split(4):
            with self.turn(AROUND):
                if not wanted():
                    raise Superseded
                looks.append(pyramid(self.view.samples(space, part, state).cpu()))
        seen = torch.cat(looks)
        slopes = (seen[1:] - seen[:1]) / step[:, None].cpu()
        values, mixed = torch.linalg.eigh(slopes @ slopes.t())
        return values, axes.t() @ mixed.to(axes)

    def _axes(self, space: LatentSpace) -> tuple[Tensor, Tensor]:
        """Principal axes (k, D) of a space's own points, and their spread along each (k,)."""
        known = space.known if space.size <= WIDE else space.known[: space.affords(KNOWN)]
        away = (known - space.mean).flatten(1)
        _, values, axes = torch.linalg.svd(away.float(), full_matrices=False)
        most = self.axes
        return axes[:most], values[:most].clamp(min=1e-6) / len(away) ** 0.5

    @property
    def axes(self) -> int:
        """Principal axes among which neighbours are looked for, where pictures take long."""
        return AROUND.affords(AXES, self.view.seconds)

    @lazy
    @torch.no_grad()
    def _scale(self) -> float:
        if not self.slow:
            return scale_of(self.view.space)
        space, looks = self.view.space, []
        points, labels = space.few(AROUND.affords(2 * PAIRS, self.view.seconds))
        for part, label in arrays.split(points, labels, 4):
            with self.turn(AROUND):
                drawn = space.decode(part, label)
            looks.append(pyramid(drawn))
        return float(torch.pdist(torch.cat(looks)).mean())

    def strips(
        self, state: State, moves: Sequence[Move], wanted: Callable[[], bool] = lambda: True
    ) -> list[Tensor]:
        """For each direction the thumbnails at `STRENGTHS` of it, everything else staying: uint8 (5, C, H, W) each."""
        if not moves:
            return []
        states = [state.to(replace(move, strength=strength)) for move in moves for strength in STRENGTHS]
        return list(self.thumbs(states, STRIPS, wanted).split(len(STRENGTHS)))

    @property
    def strips_at_once(self) -> int:
        """How many sliders get their thumbnails without being asked for."""
        return STRIPS.affords(SLIDERS * len(STRENGTHS), self.view.seconds) // len(STRENGTHS)

    @property
    def uncalibrated(self) -> str:
        """Why what follows a ratio cannot be had without one, and how it is made."""
        how = "Open the explorer with ratio=ganvas.fit_ratio(space, real)"
        if self.model.place:
            how = f"Run: ganvas calibrate {self.model.place}"
        return f"follows a calibrated ratio, and none is kept for this model. {how}"

    # --- jumps -----------------------------------------------------------------------------------------------------

    def repaired(self, state: State, steps: int = 10) -> State:
        """From a state back to where samples look real (`Gauge.repaired`)."""
        if self.ratio is None:
            raise GanvasError(f"Repair {self.uncalibrated}")
        space, points = self.point(state)
        near = self.spaces[space.name] if self.quality(state).warnings else None
        return self.settle(state, space, self.gauge.repaired(space, points, self.label(state), near, steps))

    def drawn_by(self, sampler: str, seed: int, label: int | None = None) -> State:
        """A new sample of a sampler, at about ten runs of the network."""
        if not samplers.get(sampler).blind and self.ratio is None:
            raise GanvasError(f"{sampler} {self.uncalibrated}")
        if sampler == "prior":
            return State(seed, label=label)
        labels = None if label is None else torch.tensor([label])
        setting = at_budget(sampler, 10)
        ratio = self.ratio or (lambda samples, labels: torch.zeros(len(samples)))
        drawn = samplers.get(sampler)(
            self.space, ratio, 1, generator=stream(seed, "sampling"), labels=labels, **setting.options
        )
        found = State(seed, label=None if drawn.labels is None else int(drawn.labels[0]))
        return self.settle(found, self.space, drawn.points.detach())

    def inverted(self, image: Tensor, task: str = "none", hidden: Part = "right") -> tuple[State, float]:
        """The state whose picture is nearest to an image (C, H, W) uint8, and the residual in mean distances of two samples.

        With a task the image is taken as damaged in that way, and the state shows it whole.
        """
        seen = self.view if self.plots else self
        image = shrunk(image[None], seen.model.shape[1:])
        given = (half(hidden, *seen.model.shape[1:]),) if task == "inpaint" else ()
        degrade = None if task == "none" else tasks.get(task)(*given)
        newton = 10 if self.space.size <= MOST and task == "none" else 0
        first = task == "none" and has_encoder(self.model)

        def heard(done: int, total: int) -> None:
            check_over()

        found = invert(
            seen.space,
            image.to(self.model.device),
            start=own_encoder(seen.space, image).points if first else None,
            steps=100,
            restarts=4,
            newton=newton,
            degrade=degrade,
            progress=heard,
            starts=heard,
        )
        label = None if found.labels is None else int(found.labels[0])
        return self.settle(State(label=label), self.space, found.points.detach()), float(found.residual[0])

    def other_style(self, state: State, mix: Mix | None) -> State:
        """The state with layers of another sample."""
        if mix is not None and not 0 <= mix.first <= mix.last < self.layers:
            raise GanvasError(f"Layers go from 0 to {self.layers - 1}, got {mix.first} to {mix.last}.")
        if mix is not None and not 0 <= mix.seed <= LAST:
            raise GanvasError(f"Seeds go up to {LAST:,}, got {mix.seed:,}.")
        return replace(state, mix=mix)


def _per_layer(state: State) -> bool:
    """Whether it lies in w+, as its layers differ."""
    return state.mix is not None or any(move.layers for move in state.moves)


def _noisy(generator: GeneratorBase) -> StyleBased:
    if not isinstance(generator, StyleBased) or not generator.noise_shapes:
        raise GanvasError("This generator has no noise maps (the style family has).")
    return generator


def alike(states: Sequence[State]) -> bool:
    """Whether states can be drawn in one batch: all but their points and classes is the same."""
    return len({(s.noise, s.other, s.share, s.truncation, s.place) for s in states}) == 1


def _apart(model: Model) -> Model:
    """The same weights in modules of their own: what watches the layers would stay in those of somebody else, and keep them from
    being pickled."""
    weights = [*model.generator.parameters(), *model.generator.buffers()]
    try:
        generator = copy.deepcopy(model.generator, {id(each): each for each in weights})
    except Exception:  # somebody's module may hold anything
        return model
    return replace(model, generator=generator)


def _seconds(model: Model) -> float:
    """How long one picture takes: the shorter of two."""
    z, label = model.latents(1).to(model.device), model.labels(1)
    times = []
    with torch.inference_mode():
        for _ in range(2):
            start = time.perf_counter()
            model.generator(z, None if label is None else label.to(model.device)).float().cpu()
            times.append(time.perf_counter() - start)
    return min(times)
