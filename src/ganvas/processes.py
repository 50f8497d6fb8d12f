"""Random processes that are known exactly: what a model, or a measure, says about their series can be checked.

Everything is drawn by a NumPy generator that the caller gives. Series are (N, T, D) in float64, symbols (N, T) in int64.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ganvas import arrays
from ganvas.errors import GanvasError

Floats = np.ndarray[Any, np.dtype[np.float64]]
Wholes = np.ndarray[Any, np.dtype[np.int64]]


def sines(
    count: int,
    length: int = 24,
    dim: int = 5,
    *,
    random: np.random.Generator,
    frequency: float = 0.1,
    phase: float = 0.1,
) -> Floats:
    """Sines (count, length, dim) from 0 to 1: (sin(f t + p) + 1) / 2 with t = 0, 1, ..., drawn anew for every column.

    f is uniform below `frequency` and p below `phase`, in radians (a step). The defaults are what the published code of
    TimeGAN draws (Yoon et al. 2019): at most a third of a wave in 24 steps.
    """
    arrays.count(count, "count")
    size = (count, 1, arrays.count(dim, "dim"))
    f = random.uniform(0, arrays.number(frequency, "frequency", above=0), size)
    p = random.uniform(0, arrays.number(phase, "phase", least=0), size)
    steps = np.arange(arrays.count(length, "length"))[:, None]
    return np.asarray((np.sin(f * steps + p) + 1) / 2)


@dataclass(frozen=True)
class Regimes:
    """A hidden Markov chain of K regimes, in each of which D columns are first-order autoregressions of their own.

    x_t = m + a (x_{t-1} - m) + s e_t with the mean m, coefficient a and noise s of the regime of t, and e_t normal. The first
    value is drawn from the regime's stationary normal distribution, of standard deviation s / sqrt(1 - a^2); the first regime
    from the chain's stationary distribution. Raises `GanvasError` for shapes and values that are no such process.
    """

    transition: Floats
    """(K, K): row i holds the probabilities of the regime after i."""
    mean: Floats
    """(K, D)."""
    coefficient: Floats
    """(K, D), within (-1, 1)."""
    sigma: Floats
    """(K, D), above 0."""

    def __post_init__(self) -> None:
        for name in ("transition", "mean", "coefficient", "sigma"):
            object.__setattr__(self, name, arrays.as_rows(getattr(self, name), name).double().numpy())
        _check_chain(self.transition)
        shapes = {each.shape for each in (self.mean, self.coefficient, self.sigma)}
        if len(shapes) > 1 or len(self.mean) != len(self.transition):
            raise GanvasError(
                f"mean, coefficient and sigma must be (regimes, columns) with {len(self.transition)} regimes, "
                f"got {self.mean.shape}, {self.coefficient.shape} and {self.sigma.shape}."
            )
        if not (np.abs(self.coefficient) < 1).all() or not (self.sigma > 0).all():
            raise GanvasError("Every coefficient must lie within (-1, 1), and every sigma above 0.")

    @property
    def stationary(self) -> Floats:
        """Share of the time in each regime (K,)."""
        return stationary(self.transition)

    def draw(self, count: int, length: int, random: np.random.Generator) -> tuple[Floats, Wholes]:
        """Series (count, length, D) and the regime of every step (count, length)."""
        states = _walk(self.stationary, self.transition, arrays.count(count, "count"), length, random)
        noise = random.standard_normal((count, length, self.mean.shape[1]))
        series = np.empty_like(noise)
        first = states[:, 0]
        series[:, 0] = self.mean[first] + self._spread[first] * noise[:, 0]
        for step in range(1, length):
            k = states[:, step]
            past = series[:, step - 1] - self.mean[k]
            series[:, step] = self.mean[k] + self.coefficient[k] * past + self.sigma[k] * noise[:, step]
        return series, states

    def log_likelihood(self, series: arrays.Array, lengths: arrays.Array | None = None) -> Floats:
        """Natural log of the density of every series (N, T, D), over all its paths of regimes: (N,).

        By the forward recursion (Rabiner 1989, section III A) in logarithms. With `lengths` (N,) only so many first steps count.
        """
        emission, ends = self._emission(series, lengths)
        moves = _log(self.transition)
        alpha = _log(self.stationary) + emission[:, 0]
        for step in range(1, emission.shape[1]):
            moved = _logsumexp(alpha[:, :, None] + moves, 1) + emission[:, step]
            alpha = np.where((step < ends)[:, None], moved, alpha)
        return _logsumexp(alpha, 1)

    def decode(self, series: arrays.Array, lengths: arrays.Array | None = None) -> Wholes:
        """The most probable path of regimes of every series (Viterbi; Rabiner 1989, III B): (N, T), -1 after its end."""
        emission, ends = self._emission(series, lengths)
        count, length, _ = emission.shape
        moves = _log(self.transition)
        best = _log(self.stationary) + emission[:, 0]
        back = np.zeros(emission.shape, np.int64)
        back[:, 0] = np.arange(len(moves))
        for step in range(1, length):
            reached = best[:, :, None] + moves
            within = (step < ends)[:, None]
            back[:, step] = np.where(within, reached.argmax(1), np.arange(len(moves)))
            best = np.where(within, reached.max(1) + emission[:, step], best)
        path = np.empty((count, length), np.int64)
        path[:, -1] = best.argmax(1)
        rows = np.arange(count)
        for step in range(length - 1, 0, -1):
            path[:, step - 1] = back[rows, step, path[:, step]]
        path[np.arange(length) >= ends[:, None]] = -1
        return path

    @property
    def _spread(self) -> Floats:
        return np.asarray(self.sigma / np.sqrt(1 - self.coefficient**2))

    def _emission(self, series: arrays.Array, lengths: arrays.Array | None) -> tuple[Floats, Wholes]:
        """log p(x_t | x_{t-1}, regime) as (N, T, K), and the steps of every series (N,)."""
        x, ends = as_series(series, "series", lengths)
        if x.shape[2] != self.mean.shape[1]:
            raise GanvasError(f"series has {x.shape[2]} columns; the process has {self.mean.shape[1]}.")
        centred = x[:, :, None] - self.mean
        error = centred[:, 1:] - self.coefficient * (x[:, :-1, None] - self.mean)
        first = _normal(centred[:, :1], self._spread)
        return np.concatenate([first, _normal(error, self.sigma)], 1).sum(3), ends


def three_regimes() -> Regimes:
    """The process that tests and benchmarks use: slow and quiet, fast and loud, and one that alternates; two columns.

    They last 20, 12.5 and 10 steps on average.
    """
    return Regimes(
        transition=np.array([[0.95, 0.03, 0.02], [0.05, 0.92, 0.03], [0.06, 0.04, 0.90]]),
        mean=np.array([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]]),
        coefficient=np.array([[0.9, 0.9], [0.3, 0.3], [-0.7, -0.7]]),
        sigma=np.array([[0.3, 0.3], [1.0, 1.0], [0.6, 0.6]]),
    )


def durations(states: arrays.Array, regime: int | None = None) -> Wholes:
    """How many steps each stay in a regime lasts, of paths (N, T) as `Regimes.decode` gives them; -1 is after the end.

    Stays that the beginning or the end cuts are left out: short series hold fewer long stays, so compare equal lengths only.
    `regime` counts stays in that one alone.
    """
    paths = arrays.as_tensor(states, "states").numpy()
    if paths.ndim != 2 or paths.dtype.kind not in "iu":
        raise GanvasError(f"states must be whole numbers (N, T), got {paths.shape} of {paths.dtype}.")
    found: list[int] = []
    for path in paths:
        path = path[path >= 0]
        changes = np.flatnonzero(np.diff(path)) + 1
        stays, which = np.diff(changes), path[changes[:-1]]
        found += stays[which == regime].tolist() if regime is not None else stays.tolist()
    return np.asarray(found, np.int64)


def stationary(transition: arrays.Array) -> Floats:
    """The distribution (K,) that a step of the chain (K, K) leaves as it is.

    Raises `GanvasError` where several do: a chain that falls apart.
    """
    moves = arrays.as_rows(transition, "transition").double().numpy()
    _check_chain(moves)
    values, vectors = np.linalg.eig(moves.T)
    still = np.abs(values - 1) < 1e-9
    if still.sum() != 1:
        raise GanvasError(
            "transition has several stationary distributions: some states are never reached from others. "
            "Give every state a way to every other."
        )
    found = np.abs(vectors[:, still.argmax()].real)
    return np.asarray(found / found.sum())


@dataclass(frozen=True)
class MarkovChain:
    """Symbols from 0 to K - 1, each drawn by the one before it."""

    transition: Floats
    """(K, K): row i holds the probabilities of the symbol after i."""
    start: Floats | None = None
    """(K,) of the first symbol; the stationary distribution by default."""

    def __post_init__(self) -> None:
        moves = arrays.as_rows(self.transition, "transition").double().numpy()
        _check_chain(moves)
        first = stationary(moves) if self.start is None else np.asarray(self.start, float)
        if first.shape != (len(moves),) or (first < 0).any() or abs(first.sum() - 1) > 1e-9:
            raise GanvasError(f"start must be a distribution over {len(moves)} symbols.")
        object.__setattr__(self, "transition", moves)
        object.__setattr__(self, "start", first)

    @property
    def symbols(self) -> int:
        return len(self.transition)

    def draw(self, count: int, length: int, random: np.random.Generator) -> Wholes:
        """Symbols (count, length)."""
        assert self.start is not None
        return _walk(self.start, self.transition, arrays.count(count, "count"), length, random)

    def log_likelihood(self, symbols: arrays.Array) -> Floats:
        """Natural log of the probability of every sequence (N, T): (N,), -inf for what the chain never draws."""
        x = as_symbols(symbols, "symbols", self.symbols)
        assert self.start is not None
        return np.asarray(_log(self.start)[x[:, 0]] + _log(self.transition)[x[:, :-1], x[:, 1:]].sum(1))


def random_chain(symbols: int, random: np.random.Generator, *, concentration: float = 0.3) -> MarkovChain:
    """A chain whose rows are drawn from a Dirichlet distribution: the smaller `concentration`, the surer the next symbol.

    A hundredth of every row is spread over all symbols, so that nothing is impossible and likelihoods are finite.
    """
    size = arrays.count(symbols, "symbols", 2)
    rows = random.dirichlet(np.full(size, arrays.number(concentration, "concentration", above=0)), size)
    return MarkovChain(0.99 * rows + 0.01 / size)


AT_A_TIME = 10_000
"""Sentences whose probabilities are computed together."""


@dataclass(frozen=True)
class Grammar:
    """A probabilistic context-free grammar in Chomsky's normal form, of its sentences of at most `longest` symbols.

    Every sentence is filled up to `longest` with the symbol `end`, which is `symbols` - 1. Probabilities are those of the
    grammar under the condition that the sentence is not longer, which is exact: the chance of every length is computed.
    """

    pairs: Mapping[str, Sequence[tuple[str, str, float]]]
    """A -> (B, C, probability)."""
    words: Mapping[str, Sequence[tuple[int, float]]]
    """A -> (symbol, probability)."""
    longest: int
    symbols: int
    """How many there are, `end` included."""
    start: str = "S"
    _names: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = tuple(dict.fromkeys([self.start, *self.pairs, *self.words]))
        object.__setattr__(self, "_names", names)
        for name in names:
            total = sum(rule[2] for rule in self.pairs.get(name, ()))
            total += sum(rule[1] for rule in self.words.get(name, ()))
            if abs(total - 1) > 1e-9:
                raise GanvasError(
                    f"The rules of {name} have the probabilities {total:g} together, expected 1."
                )
            for left, right, _ in self.pairs.get(name, ()):
                if left not in names or right not in names:
                    raise GanvasError(f"A rule of {name} leads to {left} {right}, one of which has no rules.")
            for symbol, _ in self.words.get(name, ()):
                arrays.count(symbol, f"a symbol of {name}", 0, self.symbols - 2)
        if not self.lengths.sum() > 0:
            raise GanvasError(f"No sentence of the grammar has at most {self.longest} symbols.")

    @property
    def end(self) -> int:
        return self.symbols - 1

    @property
    def lengths(self) -> Floats:
        """Probability that a sentence of the whole grammar has 0, 1, ..., `longest` symbols: (longest + 1,)."""
        each = {name: np.zeros(self.longest + 1) for name in self._names}
        for size in range(1, self.longest + 1):
            for name in self._names:
                found = sum(chance for _, chance in self.words.get(name, ())) if size == 1 else 0.0
                for left, right, chance in self.pairs.get(name, ()):
                    found += chance * float(each[left][1:size] @ each[right][size - 1 : 0 : -1])
                each[name][size] = found
        return each[self.start]

    def draw(self, count: int, random: np.random.Generator) -> Wholes:
        """Sentences (count, longest), filled up with `end`. Longer ones are drawn again."""
        found = np.full((arrays.count(count, "count"), self.longest), self.end, np.int64)
        for row in found:
            sentence = None
            while sentence is None:
                sentence = self._sentence(random)
            row[: len(sentence)] = sentence
        return found

    def _sentence(self, random: np.random.Generator) -> list[int] | None:
        found: list[int] = []
        waiting = [self.start]
        while waiting:
            if len(found) + len(waiting) > self.longest:
                return None
            name = waiting.pop()
            pairs, words = self.pairs.get(name, ()), self.words.get(name, ())
            chances = [*(rule[2] for rule in pairs), *(rule[1] for rule in words)]
            chosen = int(np.searchsorted(np.cumsum(chances), random.random(), side="right"))
            chosen = min(chosen, len(chances) - 1)
            if chosen < len(pairs):
                left, right, _ = pairs[chosen]
                waiting += [right, left]
            else:
                found.append(words[chosen - len(pairs)][0])
        return found

    def log_likelihood(self, symbols: arrays.Array) -> Floats:
        """Natural log of the probability of every sentence (N, longest): (N,), -inf for what is none.

        By the inside recursion (Lari and Young 1990). Symbols after an `end` that are no `end` make no sentence.
        """
        x = as_symbols(symbols, "symbols", self.symbols)
        if x.shape[1] != self.longest:
            raise GanvasError(
                f"symbols has {x.shape[1]} steps; sentences of this grammar have {self.longest}."
            )
        # Of each part of each sentence there is a number for every name: of a million they are gigabytes.
        pieces = np.split(x, range(AT_A_TIME, len(x), AT_A_TIME))
        return np.concatenate([self._log_likelihood(piece) for piece in pieces])

    def _log_likelihood(self, x: Wholes) -> Floats:
        ended = np.logical_or.accumulate(x == self.end, 1)
        sizes = (~ended).sum(1)
        inside: dict[tuple[str, int, int], Floats] = {}
        for size in range(1, int(sizes.max()) + 1):
            for first in range(self.longest - size + 1):
                for name in self._names:
                    inside[name, first, size] = self._span(inside, x, name, first, size)
        whole = np.zeros(len(x))
        for size in np.unique(sizes[sizes > 0]):
            rows = sizes == size
            whole[rows] = inside[self.start, 0, int(size)][rows]
        whole[(ended & (x != self.end)).any(1)] = 0
        return _log(whole) - math.log(self.lengths.sum())

    def _span(
        self, inside: Mapping[tuple[str, int, int], Floats], x: Wholes, name: str, first: int, size: int
    ) -> Floats:
        """Probability that `name` becomes just the symbols from `first` on: (N,)."""
        found = np.zeros(len(x))
        if size == 1:
            for symbol, chance in self.words.get(name, ()):
                found += chance * (x[:, first] == symbol)
        for left, right, chance in self.pairs.get(name, ()):
            for cut in range(1, size):
                found += chance * inside[left, first, cut] * inside[right, first + cut, size - cut]
        return found


SIGNS = "x+*()."
"""What the symbols of `sums` mean; the last one is the end."""


def sums(longest: int = 13) -> Grammar:
    """Bracketed sums and products: `(x+x)`, `(x*(x+x))`, ... over the symbols of `SIGNS`, 5, 9, 13 ... long."""
    return Grammar(
        pairs={
            "S": [("open", "rest", 1.0)], "T": [("open", "rest", 0.45)],
            "rest": [("T", "tail", 1.0)], "tail": [("sign", "last", 1.0)], "last": [("T", "close", 1.0)],
        },
        words={
            "T": [(0, 0.55)],
            "sign": [(1, 0.7), (2, 0.3)], "open": [(3, 1.0)], "close": [(4, 1.0)],
        },
        longest=arrays.count(longest, "longest"),
        symbols=len(SIGNS),
    )  # fmt: skip


def as_series(series: arrays.Array, name: str, lengths: arrays.Array | None = None) -> tuple[Floats, Wholes]:
    """Series (N, T, D) in float64 and the steps of each (N,), on the CPU.

    Raises `GanvasError` for other shapes, for NaN and infinity, and for lengths that do not fit.
    """
    tensor = arrays.as_tensor(series, name)
    if tensor.dim() != 3 or tensor.numel() == 0:
        raise GanvasError(
            f"{name} has shape {tuple(tensor.shape)}; expected series (N, T, D): N of them, T steps, D columns."
        )
    x = arrays.as_floats(tensor, name).double().cpu().numpy()
    if lengths is None:
        return x, np.full(len(x), x.shape[1], np.int64)
    ends = arrays.as_whole(lengths, f"lengths of {name}", x.shape[1] + 1).numpy()
    if len(ends) != len(x) or ends.min() < 1:
        raise GanvasError(
            f"lengths of {name} must be {len(x)} whole numbers from 1 to {x.shape[1]}, one a series; "
            f"got {len(ends)} from {ends.min()} on."
        )
    return x, ends


def as_symbols(symbols: arrays.Array, name: str, count: int) -> Wholes:
    """Symbols (N, T), whole numbers from 0 to count - 1. Raises `GanvasError` for others."""
    tensor = arrays.as_tensor(symbols, name)
    if tensor.dim() != 2 or tensor.numel() == 0:
        raise GanvasError(f"{name} has shape {tuple(tensor.shape)}; expected symbols (N, T).")
    return arrays.as_whole(tensor.flatten(), name, count).view(tensor.shape).numpy()


def _walk(start: Floats, transition: Floats, count: int, length: int, random: np.random.Generator) -> Wholes:
    """Paths of a Markov chain (count, length), by the inverse of the distribution function."""
    arrays.count(length, "length")
    first, moves = np.cumsum(start), np.cumsum(transition, 1)
    chance = random.random((count, length))
    path = np.empty((count, length), np.int64)
    path[:, 0] = (chance[:, :1] > first).sum(1)
    for step in range(1, length):
        path[:, step] = (chance[:, step, None] > moves[path[:, step - 1]]).sum(1)
    # The last sum may be a rounding below 1.
    return np.minimum(path, len(start) - 1)


def _check_chain(transition: Floats) -> None:
    square = transition.ndim == 2 and transition.shape[0] == transition.shape[1]
    if not square or (transition < 0).any() or (np.abs(transition.sum(1) - 1) > 1e-9).any():
        raise GanvasError(
            f"transition must be a square of probabilities whose rows sum to 1, got {transition.shape}."
        )


def _log(values: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values))


def _logsumexp(values: Floats, axis: int) -> Floats:
    largest = values.max(axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0)
    return _log(np.exp(values - largest).sum(axis)) + largest.squeeze(axis)


def _normal(error: Floats, sigma: Floats) -> Floats:
    return np.asarray(-0.5 * (error / sigma) ** 2 - np.log(sigma) - 0.5 * math.log(2 * math.pi))
