"""What stands between a normal z and the codes of a decoder, so that the whole is a generator like any other.

`NetworkConfig.codes` says what: a mixture of normals that was fitted to the codes of data, a code book, or a generator of codes.
"""

import inspect
import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.config import NetworkConfig, from_dict
from ganvas.errors import GanvasError
from ganvas.networks.base import CriticBase, GeneratorBase, build_generator, family_of, opened_only, wrappers
from ganvas.registry import did_you_mean

KEYS = ("components", "book", "dim", "network")
MOST_COMPONENTS = 64
MOST_NUMBERS = 2048
"""Of a code that a mixture is fitted to: the square of it is kept for each component, and number follows number."""
HALVINGS = 40
"""Of the interval that a quantile is looked for in: as close as float64 has digits."""
STEEPEST = 1e3
"""Slope of a code in z that is passed back at most: between two components it has no bound."""
TINY = 1e-300


class Mixture(nn.Module):
    """K normals in D dimensions as a function of standard normal numbers, and back: z (B, D) <-> codes (B, D), one to one.

    The conditional quantiles of each number given those before it (Rosenblatt 1952): z_j = Phi^-1(F(x_j | x_1 .. x_j-1)).
    With one component that is x = mean + factor z. Codes of the mixture have a normal z, whose shell says how typical they are.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, components: int, dim: int) -> None:
        super().__init__()
        if dim > MOST_NUMBERS:
            raise GanvasError(
                f"A mixture of normals is fitted to codes of {MOST_NUMBERS:,} numbers at most; these have {dim:,}. "
                "Take a smaller network.latent_dim, or side, or no components."
            )
        self.components, self.dim = components, dim
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, dim))
        self.register_buffer("factors", torch.eye(dim).repeat(components, 1, 1))
        nn.Module.register_load_state_dict_post_hook(self, _check_mixture)

    @torch.no_grad()
    def fit(self, codes: Tensor, seed: int = 0) -> None:
        """Take the mixture of greatest likelihood for codes (N, D), by expectation and maximisation from k-means.

        With fewer codes than would tell the components apart, some of them are the same. Raises `GanvasError` for too few, or
        such as are not finite.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        rows = codes.detach().double().cpu()
        if len(rows) <= self.components or not torch.isfinite(rows).all():
            raise GanvasError(
                f"A mixture of {self.components} needs more than {self.components} codes, all of them finite; got {len(rows)}."
            )
        # What is nearly flat gets a hundred thousandth of the mean variance: a direction of none has no density.
        floor = max(1e-5 * float(rows.var(0).mean()), 1e-8)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # fewer distinct codes than components are no fault
            found = GaussianMixture(
                self.components, random_state=seed, reg_covar=floor, max_iter=50, tol=1e-3
            )
            found.fit(rows.numpy())
        self.weights.copy_(torch.from_numpy(found.weights_))
        self.means.copy_(torch.from_numpy(found.means_))
        self.factors.copy_(torch.linalg.cholesky(torch.from_numpy(found.covariances_)))

    def forward(self, z: Tensor) -> Tensor:
        """z (B, D) -> codes (B, D). Differentiable."""
        # On the meta device shapes alone matter: a file is looked at before it is opened.
        if self.components == 1 or z.is_meta:
            return self.means[:1] + z @ self.factors[0].t()
        walk = _Walk(self, z)
        for j in range(self.dim):
            middle, width = walk.at(j)
            z_j = walk.z[:, j, None]
            side = torch.where(z_j < 0, 1.0, -1.0).to(z_j)  # the smaller tail has more digits
            target = torch.special.ndtr(side * z_j)  # not of -|z|, which has no slope at 0
            with torch.no_grad():
                # Detached, as forward mode would else follow slopes through every halving, for a hundred times as long.
                x, density = _quantile(
                    *(each.detach() for each in (z_j, target, side, walk.shares, middle, width))
                )
            # By the implicit function: x stays, and its slope is that of the equation that it solves.
            step = (target - _tail(x, side, walk.shares, middle, width)) * side / density
            walk.take(j, x + step - step.detach())
        return walk.codes.to(z.dtype)

    def drawn(self, noise: Tensor, share: Tensor) -> Tensor:
        """Codes (B, D) of the same distribution for less: a component for each of uniform numbers (B,), a normal in it (B, D)."""
        chosen = torch.searchsorted(self.weights.cumsum(0)[:-1], share)
        moved: Tensor = (self.factors[chosen] @ noise[:, :, None])[:, :, 0]
        return self.means[chosen] + moved

    def back(self, codes: Tensor) -> Tensor:
        """Codes (B, D) -> the z (B, D) that they come from. Differentiable."""
        if self.components == 1:
            solved: Tensor = torch.linalg.solve_triangular(
                self.factors[0], (codes - self.means).t(), upper=False
            )
            return solved.t()
        walk = _Walk(self, codes)
        found = []
        for j in range(self.dim):
            middle, width = walk.at(j)
            x = walk.z[:, j, None]
            at = (x - middle) / width
            low, high = ((walk.shares * torch.special.ndtr(s * at)).sum(1, keepdim=True) for s in (1, -1))
            z_j = torch.where(
                low < high,
                torch.special.ndtri(low.clamp(min=TINY)),
                -torch.special.ndtri(high.clamp(min=TINY)),
            )
            found.append(z_j)
            walk.take(j, x)
        return torch.cat(found, 1).to(codes.dtype)

    def log_density(self, codes: Tensor) -> Tensor:
        """Log of the density of the codes (B, D) under the mixture: (B,)."""
        walk = _Walk(self, codes)
        for j in range(self.dim):
            walk.at(j)
            walk.take(j, walk.z[:, j, None])
        return walk.log_shares.logsumexp(1).to(codes.dtype)


def _check_mixture(mixture: Mixture, _: Any) -> None:
    """Raises `GanvasError` for loaded numbers that no mixture has. Shares that were stored in bfloat16 are 1 to a hundredth."""
    shares, spreads = mixture.weights, mixture.factors.diagonal(dim1=1, dim2=2)
    if shares.min() < 0 or abs(float(shares.double().sum()) - 1) > 0.01:
        raise GanvasError("the shares of its mixture are no numbers from 0 to 1 whose sum is 1.")
    if spreads.min() <= 0 or mixture.factors.triu(1).any():
        raise GanvasError("the factors of its mixture are not triangular, with spreads above 0.")


class _Walk:
    """Number by number through rows: what each component says of the next one, and how much of it is left."""

    def __init__(self, mixture: Mixture, z: Tensor) -> None:
        wide = torch.float32 if z.device.type == "mps" else torch.float64
        self.z = z.to(wide)
        self.means, self.factors = mixture.means.to(wide), mixture.factors.to(wide)
        self.log_shares = mixture.weights.to(wide).clamp(min=1e-30).log().expand(len(z), -1)
        self.errors: list[Tensor] = []
        self.taken: list[Tensor] = []

    @property
    def shares(self) -> Tensor:
        return self.log_shares.softmax(1)

    @property
    def codes(self) -> Tensor:
        return torch.cat(self.taken, 1)

    def at(self, j: int) -> tuple[Tensor, Tensor]:
        """Mean and deviation of number j under each component, given those before it: (B, K) and (1, K)."""
        middle = self.means[:, j].expand(len(self.z), -1)
        if j:
            middle = middle + (torch.stack(self.errors, 2) * self.factors[:, j, :j]).sum(2)
        self.middle, self.width = middle, self.factors[:, j, j].clamp(min=1e-12)[None]
        return self.middle, self.width

    def take(self, j: int, x: Tensor) -> None:
        """Number j is x (B, 1)."""
        error = (x - self.middle) / self.width
        self.errors.append(error)
        self.log_shares = self.log_shares - error.square() / 2 - self.width.log() - math.log(2 * math.pi) / 2
        self.taken.append(x)


def _tail(x: Tensor, side: Tensor, shares: Tensor, middle: Tensor, width: Tensor) -> Tensor:
    """How much of a mixture in one dimension lies below x (B, 1), or above where `side` is -1."""
    total: Tensor = (shares * torch.special.ndtr(side * (x - middle) / width)).sum(1, keepdim=True)
    return total


def _quantile(
    z: Tensor, target: Tensor, side: Tensor, shares: Tensor, middle: Tensor, width: Tensor
) -> tuple[Tensor, Tensor]:
    """Where the tail of a mixture is `target`, as of the normal at z (B, 1), and the density there that slopes go by."""
    ends = middle + width * z
    low, high = ends.amin(1, keepdim=True), ends.amax(1, keepdim=True)
    for _ in range(HALVINGS):
        half = (low + high) / 2
        below = (_tail(half, side, shares, middle, width) < target) == (z < 0)
        low, high = torch.where(below, half, low), torch.where(below, high, half)
    x = (low + high) / 2
    density = (shares * _density((x - middle) / width) / width).sum(1, keepdim=True)
    least = _density(z) / (STEEPEST * width.amax(1, keepdim=True))
    return x, torch.maximum(density, least) + TINY


def _density(x: Tensor) -> Tensor:
    return (-x.square() / 2).exp() / math.sqrt(2 * math.pi)


class Book(nn.Module):
    """A code book (van den Oord et al. 2017): each group of `dim` numbers becomes the nearest of its `entries` vectors."""

    vectors: Tensor

    def __init__(self, entries: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.randn(entries, dim))

    def numbers(self, codes: Tensor) -> Tensor:
        """Codes (B, D) -> which entries are nearest (B, D / dim)."""
        groups = codes.unflatten(1, (-1, self.vectors.shape[1]))
        lengths = self.vectors.square().sum(1)
        nearest: Tensor = (lengths - 2 * groups @ self.vectors.t()).argmin(2)
        return nearest

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (B, D) -> the nearest entries (B, D); gradients pass as if nothing had been done."""
        nearest = self.vectors[self.numbers(codes)].flatten(1).to(codes.dtype)
        return codes + (nearest - codes).detach()


class Coded(GeneratorBase):
    """z -> codes -> sample: a decoder behind what makes its codes. `prior` is normal, whatever the codes are.

    With a generator of codes, that takes what the mixture draws, and gives codes whose mean and covariance `scale` restores.
    """

    def __init__(self, decoder: GeneratorBase, codes: Mapping[str, Any]) -> None:
        given, dim = codes.get("network"), decoder.latent_dim
        super().__init__(decoder.shape, dim, 0, decoder.value_range)
        components = codes.get("components", 0)
        self.mixture = Mixture(components, dim) if components else None
        self.maker = None if given is None else build_generator(code_network(given, dim), (dim,), 0)
        self.scale = None if given is None else Mixture(1, dim)
        self.book = Book(codes["book"], codes.get("dim", 4)) if codes.get("book") else None
        self.decoder = decoder

    def codes(self, z: Tensor) -> Tensor:
        """z (B, D) -> what the decoder gets (B, D)."""
        if self.mixture is not None:
            z = self.mixture(z)
        if self.maker is not None and self.scale is not None:
            z = self.scale(self.maker(z))
        return z

    def back(self, codes: Tensor) -> Tensor:
        """Codes (B, D) -> their z (B, D).

        Raises `GanvasError` where a generator makes the codes: it has no reverse.
        """
        if self.maker is not None:
            raise GanvasError(
                "The codes of this model are drawn by a generator: no formula leads back from a code to its z. Search for it: "
                "ganvas invert."
            )
        return codes if self.mixture is None else self.mixture.back(codes)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        found = self.codes(z)
        drawn: Tensor = self.decoder(found if self.book is None else self.book(found))
        return drawn


def code_network(given: Any, dim: int) -> NetworkConfig:
    """The network of a generator of codes of `dim` numbers, from JSON values."""
    made = (
        given
        if isinstance(given, NetworkConfig)
        else from_dict(NetworkConfig, given, "network.codes.network")
    )
    if made.codes or made.conditional or made.categorical:
        raise GanvasError("network.codes.network is a plain generator: without codes, labels and categories.")
    if made.latent_dim != dim:
        raise GanvasError(f"network.codes.network takes {made.latent_dim} numbers, the decoder {dim}.")
    return made


def coded(decoder: GeneratorBase, config: NetworkConfig) -> GeneratorBase:
    """The decoder of a config behind what its `codes` say. Raises `GanvasError` for what cannot be."""
    codes = config.codes
    for name in codes:
        if name not in KEYS:
            raise GanvasError(f"Unknown setting network.codes.{name}.{did_you_mean(name, list(KEYS))}")
    if decoder.num_classes or config.categorical:
        raise GanvasError("network.codes needs a decoder without labels and without network.categorical.")
    for name, most in (("components", MOST_COMPONENTS), ("book", 2**16), ("dim", config.latent_dim)):
        value = codes.get(name, 0)
        if type(value) is not int or not 0 <= value <= most:
            raise GanvasError(
                f"network.codes.{name} is {value!r}; it must be a whole number from 0 to {most:,}."
            )
    if codes.get("book") and config.latent_dim % codes.get("dim", 4):
        raise GanvasError(
            f"network.codes.dim is {codes.get('dim', 4)}: the {config.latent_dim} numbers of a code are not whole groups."
        )
    return Coded(decoder, codes)


wrappers.append(coded)


def bare(generator: GeneratorBase) -> GeneratorBase:
    """The decoder itself."""
    return generator.decoder if isinstance(generator, Coded) else generator


def encoder_network(config: NetworkConfig, codes: int) -> NetworkConfig:
    """The family's critic as an encoder: its head of codes gives so many numbers; where it is one already, it stays.

    The codes of a sample are its own: the spread of its neighbours in a batch, which a critic may see, is left out, or is that
    of the sample alone.
    """
    if config.name in opened_only:
        return config
    critic = family_of(config.critic_name or config.name).critic
    options = inspect.signature(critic).parameters
    alone = {name: value for name, value in (("minibatch_std", False), ("std_group", 1)) if name in options}
    return replace(config, critic={**config.critic, **alone, "codes": codes})


def mean_codes(encoder: CriticBase, x: Tensor, size: int) -> Tensor:
    """Samples (B, ...) within the decoder's range -> the codes that the encoder gives (B, size), of a posterior its means."""
    codes = encoder.answer(x).codes
    if codes is None or codes.shape[1] < size:
        raise GanvasError(
            f"This encoder gives {0 if codes is None else codes.shape[1]} numbers, the decoder wants {size}."
        )
    return codes[:, :size]
