"""The generator, the critic, and one step of the game between them."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import dist, losses, networks
from ganvas.config import Config
from ganvas.device import autocast, stream
from ganvas.errors import GanvasError
from ganvas.losses.penalties import Batch
from ganvas.networks import from_uint8
from ganvas.training import ema
from ganvas.types import Shape

NextBatch = Callable[[], tuple[Tensor, Tensor | None]]
FINAL_RATE = 0.02
"""Share of the learning rate left at the end of a falling schedule."""
STAT_NAMES = ("loss_generator", "loss_critic", "real_logits", "fake_logits", "penalty")


class Players:
    """Both networks, their optimisers, the averaged generator and the random stream of the run.

    No step waits for the device: figures are summed there and read once per log line.
    """

    def __init__(self, config: Config, shape: Shape, num_classes: int, device: torch.device) -> None:
        self.config, self.device = config, device
        o, t = config.objective, config.training
        self.loss = losses.losses.get(o.loss)
        self.penalties = [(losses.penalties.get(p.name), p) for p in o.penalties]
        self.generator = networks.build_generator(config.network, shape, num_classes, t.seed).to(device)
        self.critic = networks.build_critic(config.network, shape, num_classes, t.seed).to(device)
        self.is_images = len(shape) == 3
        if t.channels_last and self.is_images:
            self.generator = self.generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.critic = self.critic.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.optimizer_generator = _optimizer(config, self.generator, config.optimizer.lr_generator)
        self.optimizer_critic = _optimizer(config, self.critic, config.optimizer.lr_critic)
        self.draw: nn.Module = self.generator
        self.judge: nn.Module = self.critic
        if t.compile:
            self.draw, self.judge = torch.compile(self.generator), torch.compile(self.critic)  # type: ignore[assignment]
        self.random = stream(t.seed, "training", device)
        if t.batch % dist.world_size():
            raise GanvasError(f"A batch of {t.batch} can not be split over {dist.world_size()} processes.")
        self.local_batch = t.batch // dist.world_size()
        self.images = 0
        self.steps = 0
        self.sums = torch.zeros(len(STAT_NAMES), device=device)
        self.summed = 0
        self.first_bad = torch.full((), -1, dtype=torch.int64, device=device)

    def step(self, next_batch: NextBatch, progress: float) -> None:
        """`critic_steps` critic updates and one generator update; `progress` runs from 0 to 1 over the budget."""
        self._set_rates(progress)
        noise = self.config.objective.instance_noise * (1 - progress)
        for _ in range(self.config.objective.critic_steps - 1):
            real, labels = self._real(next_batch)
            with torch.no_grad():
                fake = self._fake(labels)
            self._critic_step(real, fake, labels, noise)
        real, labels = self._real(next_batch)
        # The fakes of the last critic step serve the generator too: one forward pass less in every step.
        fake = self._fake(labels)
        loss_critic, real_logits, fake_logits, penalty = self._critic_step(real, fake.detach(), labels, noise)
        loss_generator = self._generator_step(real, fake, labels, noise)
        self.steps += 1
        t = self.config.training
        ema.update(
            self.average,
            self.generator,
            t.batch * self.config.objective.critic_steps,
            ema.half_life_images(t.ema_kimg, t.ema_rampup, self.images),
        )
        self._count(torch.stack([loss_generator, loss_critic, real_logits, fake_logits, penalty]))

    def read_stats(self) -> dict[str, float]:
        """Means since the last call, and `bad_step`: number of the first non-finite step, or -1. Waits for the device."""
        means = (self.sums / max(self.summed, 1)).tolist()
        self.sums.zero_()
        self.summed = 0
        return dict(zip(STAT_NAMES, means, strict=True)) | {"bad_step": float(self.first_bad.item())}

    def _real(self, next_batch: NextBatch) -> tuple[Tensor, Tensor | None]:
        samples, labels = next_batch()
        self.images += self.config.training.batch
        if self.is_images:
            if self.config.data.mirror:
                flip = self._uniform(1, 1, 1) < 0.5
                samples = torch.where(flip, samples.flip(3), samples)
            samples = from_uint8(samples, self.generator.value_range)
            if self.config.training.channels_last:
                samples = samples.contiguous(memory_format=torch.channels_last)
        return samples, labels if self.generator.num_classes else None

    def _fake(self, labels: Tensor | None) -> Tensor:
        z = self._normal(self.generator.latent_dim)
        if self.config.objective.input_noise:
            z = z + self.config.objective.input_noise * self._normal(self.generator.latent_dim)
        with self._autocast():
            drawn: Tensor = self.draw(z, labels)
        return drawn.float()

    def _critic_step(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, noise: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        due = [(f, p) for f, p in self.penalties if f.loss is not None and self.steps % p.interval == 0]
        real, fake = self._blur(real, noise), self._blur(fake, noise)
        if due:
            real, fake = real.detach().requires_grad_(True), fake.detach().requires_grad_(True)
        # Compiled graphs can not be differentiated twice, so steps with a penalty run the critic as it is written.
        judge = self._judge_eagerly if due else self._judge
        with self._autocast():
            real_logits, fake_logits = judge(real, labels), judge(fake, labels)
            loss = self.loss.critic(real_logits, fake_logits)
            penalty = torch.zeros((), device=self.device)
            if due:
                mix = self._uniform(*[1] * (real.dim() - 1))
                batch = Batch(judge, real, fake, real_logits, fake_logits, labels, mix)
                for function, settings in due:
                    assert function.loss is not None
                    # Applied on one step of `interval`, so it counts for all of them.
                    penalty = penalty + settings.weight * settings.interval * function.loss(batch)
        self.optimizer_critic.zero_grad(set_to_none=True)
        (loss + penalty).backward()
        dist.sync_gradients(self.critic.parameters())
        self.optimizer_critic.step()
        for function, settings in self.penalties:
            if function.project is not None:
                function.project(self.critic, settings.weight)
        return loss.detach(), real_logits.detach().mean(), fake_logits.detach().mean(), penalty.detach()

    def _generator_step(self, real: Tensor, fake: Tensor, labels: Tensor | None, noise: float) -> Tensor:
        self.critic.requires_grad_(False)  # only the path to the images is needed
        with self._autocast():
            fake_logits = self._judge(self._blur(fake, noise), labels)
            real_logits = fake_logits
            if self.loss.pairs:
                with torch.no_grad():
                    real_logits = self._judge(self._blur(real, noise), labels)
            loss = self.loss.generator(real_logits, fake_logits)
        self.optimizer_generator.zero_grad(set_to_none=True)
        loss.backward()
        dist.sync_gradients(self.generator.parameters())
        self.optimizer_generator.step()
        self.critic.requires_grad_(True)
        return loss.detach()

    def _judge(self, x: Tensor, labels: Tensor | None) -> Tensor:
        logits: Tensor = self.judge(x, labels)
        return logits.float()

    def _judge_eagerly(self, x: Tensor, labels: Tensor | None) -> Tensor:
        logits: Tensor = self.critic(x, labels)
        return logits.float()

    def _blur(self, x: Tensor, noise: float) -> Tensor:
        return x + noise * self._normal(*x.shape[1:]) if noise > 0 else x

    def _normal(self, *shape: int) -> Tensor:
        """Normal numbers for this process's part of the batch; every process draws the whole batch."""
        batch = self.config.training.batch
        return dist.mine(torch.randn(batch, *shape, generator=self.random, device=self.device))

    def _uniform(self, *shape: int) -> Tensor:
        batch = self.config.training.batch
        return dist.mine(torch.rand(batch, *shape, generator=self.random, device=self.device))

    def _autocast(self) -> torch.autocast:
        return autocast(self.device, self.config.training.precision)

    def _set_rates(self, progress: float) -> None:
        o = self.config.optimizer
        share = {
            "constant": 1.0,
            "linear": 1 - (1 - FINAL_RATE) * progress,
            "cosine": FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * progress)),
        }[o.schedule]
        for optimizer, rate in (
            (self.optimizer_generator, o.lr_generator),
            (self.optimizer_critic, o.lr_critic),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * share

    def _count(self, figures: Tensor) -> None:
        self.sums += figures
        self.summed += 1
        bad = ~torch.isfinite(figures).all() & (self.first_bad < 0)
        self.first_bad = torch.where(bad, self.steps, self.first_bad)

    def tensors(self) -> Iterator[tuple[str, nn.Module]]:
        """The modules whose tensors make up the state."""
        yield "generator", self.generator
        yield "critic", self.critic
        yield "average", self.average

    def optimizers(self) -> Iterator[tuple[str, torch.optim.Optimizer]]:
        """The optimisers, named."""
        yield "optimizer_generator", self.optimizer_generator
        yield "optimizer_critic", self.optimizer_critic


def _optimizer(config: Config, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    o = config.optimizer
    settings: dict[str, Any] = {"lr": rate}
    if o.name == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), **settings)
    return torch.optim.Adam(network.parameters(), betas=(o.beta1, o.beta2), fused=True, **settings)
