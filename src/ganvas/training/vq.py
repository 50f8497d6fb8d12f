"""An autoencoder with a code book (VQ-VAE, van den Oord et al. 2017): groups of a code's numbers are vectors of the book.

Small: one code of the whole image, no map of codes. The book follows the encoder by moving averages (their appendix A).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import dist
from ganvas.config import Config
from ganvas.device import autocast, seeded
from ganvas.errors import GanvasError
from ganvas.networks.coded import Book, Coded
from ganvas.training import ema
from ganvas.training.autoencoder import EncodingMethod
from ganvas.training.engine import Engine
from ganvas.training.method import DataSpec, methods
from ganvas.types import Batch


class Learned(Book):
    """A book with what its averages need: how often each entry is used, and the sum of what it stands for."""

    counts: Tensor
    sums: Tensor

    def __init__(self, entries: int, dim: int) -> None:
        super().__init__(entries, dim)
        self.register_buffer("counts", torch.ones(entries))
        self.register_buffer("sums", self.vectors.clone())

    @torch.no_grad()
    def follow(
        self, groups: Tensor, chosen: Tensor, decay: float, fresh: Tensor, revive: float = 0.03
    ) -> None:
        """Move to groups (N, dim) that were given the entries `chosen` (N,).

        Entries that get less than a share `revive` of what is fair go to `fresh` (entries, dim).
        """
        hot = F.one_hot(chosen, len(self.vectors)).to(groups.dtype)
        self.counts.lerp_(hot.sum(0), 1 - decay)
        self.sums.lerp_(hot.t() @ groups, 1 - decay)
        fair = len(groups) / len(self.vectors)
        dead = self.counts < revive * fair
        self.counts.copy_(torch.where(dead, fair, self.counts))
        self.sums.copy_(torch.where(dead[:, None], fair * fresh, self.sums))
        self.vectors.copy_(self.sums / self.counts[:, None].clamp(min=1e-6))


class VectorQuantised(EncodingMethod):
    """Mean squared error through the book, and the encoder held to it.

    Options: `commitment`, the weight of that (their beta, 0.25); `decay` of the book's averages in each step; `revive`, the share
    of its fair part of the groups below which an entry begins anew, where the encoder is (0: as published).
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {"commitment": 0.25, "decay": 0.98, "revive": 0.03}
    normal = False

    def __init__(self, engine: Engine, spec: DataSpec) -> None:
        super().__init__(engine, spec)
        codes = self.config.network.codes
        with seeded(self.config.training.seed):
            self.book = Learned(codes["book"], codes.get("dim", 4)).to(engine.device)
        self.networks["book"] = self.book
        if self.rough is not None:
            self.rough.book = self.book

    @classmethod
    def check(cls, config: Config, spec: DataSpec) -> None:
        """A book, and a decay below 1."""
        super().check(config, spec)
        if not config.network.codes.get("book"):
            raise GanvasError(
                "Method vq needs a code book: --set network.codes.book=256 network.codes.dim=4."
            )
        if not config.method.options.get("decay", 0) < 1:
            raise GanvasError("method.options.decay must be below 1, say 0.98.")

    def quantised(self, codes: Tensor) -> Tensor:
        """The nearest entries, by distances in single precision: in bf16 a third may be others where codes lie off 0."""
        with autocast(self.engine.device, "fp32"):
            found: Tensor = self.book(codes)
        return found

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """One step of encoder and decoder, and the book after them."""
        x, e = self.real(batches[0]), self.engine
        with e.autocast():
            codes = self.encode(self.live, x).codes
            nearest = self.quantised(codes)
            loss = F.mse_loss(self.decode(nearest), x)
        commitment = (codes - nearest.detach()).square().mean()
        e.update(self.optimizers["optimizer_autoencoder"], loss + self.options["commitment"] * commitment)
        whole = dist.whole(codes.detach())
        chosen, entries = self.book.numbers(whole), len(self.book.vectors)
        groups = whole.reshape(-1, self.book.vectors.shape[1])
        # The same on every process: numbers of the whole batch pick where dead entries go.
        picked = torch.rand(entries, generator=e.random, device=e.device)
        fresh = groups[(picked * len(groups)).long()]
        self.book.follow(groups, chosen.flatten(), self.options["decay"], fresh, self.options["revive"])
        ema.update(self.average, self.live, self.ema_weight, statistics=self.config.training.ema_statistics)
        shares = self.book.counts / self.book.counts.sum()
        used = (-(shares * shares.clamp(min=1e-12).log()).sum()).exp() / entries
        return {"loss_reconstruction": loss, "loss_commitment": commitment, "book_used": used}

    def exports(self) -> Mapping[str, nn.Module]:
        """The decoder behind mixture and book."""
        found = super().exports()
        whole = found["generator"]
        if isinstance(whole, Coded) and whole.book is not None:
            whole.book.vectors.copy_(self.book.vectors)
        return found

    def signals(self, held: Tensor) -> dict[str, float]:
        """`book_used` too: how many entries held-out samples use, by the entropy of their numbers, of what as many could."""
        found = super().signals(held)
        codes = self.coded(self.live, held).codes
        with autocast(self.engine.device, "fp32"):
            chosen = self.book.numbers(codes).flatten()
        shares = torch.bincount(chosen, minlength=len(self.book.vectors)).double() / len(chosen)
        effective = float((-(shares * shares.clamp(min=1e-12).log()).sum()).exp())
        found["book_used"] = effective / min(len(shares), len(chosen))
        return found


methods.add("vq", VectorQuantised, "autoencoder with a code book (van den Oord et al. 2017)")
