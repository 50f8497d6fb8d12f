"""The generator, the critic, and one step of the game between them."""

import copy
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import dist, losses, networks
from ganvas.config import Config
from ganvas.device import autocast, stream
from ganvas.errors import GanvasError
from ganvas.losses import Adaptive, augment, auxiliary
from ganvas.losses.penalties import Batch
from ganvas.networks import Answer, GeneratorBase, from_uint8, to_prior
from ganvas.networks.layers import MinibatchStd
from ganvas.training import ema
from ganvas.training.capture import Captured
from ganvas.types import Batch as Samples
from ganvas.types import Shape

NextBatch = Callable[[], Samples]
STAT_NAMES = ("loss_generator", "loss_critic", "real_logits", "fake_logits", "penalty")


@dataclass
class Turn:
    """What one update is about."""

    real: Tensor
    fake: Tensor
    z: Tensor
    labels: Tensor | None
    noise: float | Tensor
    """Standard deviation of the instance noise."""
    top_k: float
    """Share of the fakes that teach the generator."""


def cosine(start: float, end: float | None, progress: float) -> float:
    """From `start` to `end` by half a cosine as `progress` goes from 0 to 1; None: `start` throughout."""
    return start if end is None else end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))


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
        self.optimizer_generator = optimizer_of(config, self.generator, config.optimizer.lr_generator)
        self.optimizer_critic = optimizer_of(config, self.critic, config.optimizer.lr_critic)
        self.draw: nn.Module = self.generator
        self.judge: Callable[..., Answer] = self.critic.answer
        if t.compile:
            self.draw, self.judge = torch.compile(self.generator), torch.compile(self.critic.answer)  # type: ignore[assignment]
        a = config.augment
        self.adaptive = Adaptive(a.p, a.target, a.kimg, limit=a.limit).to(device)
        self.rate_factor = 1.0
        self.random = stream(t.seed, "training", device)
        check_parts(config, self.critic)
        self.images = 0
        self.steps = 0
        self.sums = torch.zeros(len(STAT_NAMES), device=device)
        self.summed = 0
        # Of the steps since the figures were read last: how many there were, and the first bad one, from 1.
        self.counted, self.first_bad = (torch.zeros((), dtype=torch.int64, device=device) for _ in range(2))
        self.noise, self.ema_weight = _knob(device), _knob(device)
        self.weights: dict[int, float | Tensor] = {}
        self.top_k = 1.0
        self.eager_because = self._why_eager()
        """Why steps are not captured as CUDA graphs; empty where they are."""
        parameters = chain(self.generator.parameters(), self.critic.parameters())
        self.captured = None if self.eager_because else Captured(self._play, self.random, parameters)

    def _why_eager(self) -> str:
        t, o = self.config.training, self.config.objective
        return next(
            (
                reason
                for reason, holds in (
                    ("there is no CUDA device", self.device.type != "cuda"),
                    ("training.capture is off", t.capture == "off"),
                    ("several processes share the batch", dist.world_size() > 1),
                    ("objective.top_k changes how many samples are kept", o.top_k < 1),
                    (
                        "optimizer.beta2_end changes a constant of Adam",
                        self.config.optimizer.beta2_end is not None,
                    ),
                    ("the networks grow", type(self.generator).grow is not GeneratorBase.grow),
                )
                if holds
            ),
            "",
        )

    def step(self, next_batch: NextBatch, progress: float) -> None:
        """`critic_steps` critic updates and one generator update; `progress` runs from 0 to 1 over the budget."""
        t, o = self.config.training, self.config.objective
        level = self.generator.grow(self.images / 1000)
        if level is not None:
            self.critic.follow(level)
        batches = [next_batch() for _ in range(o.critic_steps)]
        images = t.batch * o.critic_steps
        self.images += images
        self._follow(progress)
        kimg = cosine(t.ema_kimg, t.ema_end_kimg, progress)
        half_life = ema.half_life_images(kimg, t.ema_rampup, self.images)
        self.ema_weight = _turned(self.ema_weight, ema.weight(images, half_life))
        if self.captured is None:
            self._play(batches)
        else:
            self.captured(self._kind(), batches)
        self.steps += 1
        self.summed += 1

    def _kind(self) -> Hashable:
        """What is due in this step."""
        o = self.config.objective
        penalties = tuple(self.steps % p.interval == 0 for _, p in self.penalties)
        return penalties, self.steps % o.path_length_interval == 0 if o.path_length else False

    def _play(self, batches: Sequence[Samples]) -> None:
        """The whole step on the device. Nothing here may wait for it, nor read what the host changes between steps."""
        for batch in batches[:-1]:
            with torch.no_grad():
                turn = self._turn(batch)
            self._critic_step(turn)
        turn = self._turn(batches[-1])
        # The fakes of the last critic step serve the generator too: one forward pass less in every step.
        loss_critic, real_logits, fake_logits, penalty = self._critic_step(turn)
        loss_generator = self._generator_step(turn)
        ema.update(self.average, self.generator, self.ema_weight)
        self._count(torch.stack([loss_generator, loss_critic, real_logits, fake_logits, penalty]))

    def read_stats(self) -> dict[str, float]:
        """Means since the last call, and `bad_step`: number of the first non-finite step, or -1. Waits for the device."""
        means = dist.mean(self.sums / max(self.summed, 1)).tolist()
        first = int(self.first_bad.item())
        bad_step = self.steps - self.summed + first if first else -1
        for figure in (self.sums, self.counted, self.first_bad):
            figure.zero_()
        self.summed = 0
        return dict(zip(STAT_NAMES, means, strict=True)) | {"bad_step": float(bad_step)}

    def _turn(self, batch: Samples) -> "Turn":
        real, labels = self._real(batch)
        z, fake = self._fake(labels)
        return Turn(real, fake, z, labels, self.noise, self.top_k)

    def _real(self, batch: Samples) -> Samples:
        samples, labels = batch
        if self.is_images:
            if self.config.data.mirror:
                flip = self._uniform(1, 1, 1) < 0.5
                samples = torch.where(flip, samples.flip(3), samples)
            samples = from_uint8(samples, self.generator.value_range)
            if self.config.training.channels_last:
                samples = samples.contiguous(memory_format=torch.channels_last)
        return samples, labels if self.generator.num_classes else None

    def _fake(self, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        z = self._latents(self.generator.latent_dim)
        if self.config.objective.latent_step:
            z = self._towards_real(z, labels)
        noisy = z
        if self.config.objective.input_noise:
            noisy = z + self.config.objective.input_noise * self._normal(self.generator.latent_dim)
        inputs = self.generator.training_inputs(self._normal, self._uniform)
        with self.autocast():
            drawn: Tensor = self.draw(noisy, labels, **inputs)
        return z, drawn.float()

    def _towards_real(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """One natural-gradient step of z: z + a g / (b + |g|^2) with g the gradient of the logit (LOGAN, Wu et al. 2019).

        The step itself is not differentiated through, which saves the second derivatives.
        """
        o = self.config.objective
        with torch.enable_grad(), self.autocast():
            start = z.detach().requires_grad_(True)
            logits = self._judge_eagerly(self.generator(start, labels).float(), labels).logits
            (g,) = torch.autograd.grad(logits.sum(), start)
        step: Tensor = o.latent_step * g / (o.latent_damping + g.square().sum(1, keepdim=True))
        return (z + step).detach()

    def _seen(self, x: Tensor, noise: float | Tensor) -> Tensor:
        """What the critic gets to see of samples: augmented and blurred."""
        a = self.config.augment
        if a.policy:
            x = augment(x, a.policy, self.adaptive.p, self._uniform, self.generator.value_range)
        return x + noise * self._normal(*x.shape[1:]) if self.config.objective.instance_noise else x

    def _critic_step(self, turn: "Turn") -> tuple[Tensor, Tensor, Tensor, Tensor]:
        due = [
            (f, p, self.weights[i])
            for i, (f, p) in enumerate(self.penalties)
            if f.loss is not None and self.steps % p.interval == 0
        ]
        o, labels, real, fake = self.config.objective, turn.labels, turn.real, turn.fake.detach()
        if self.config.augment.pseudo:
            chosen = self._uniform(*[1] * (real.dim() - 1)) < self.adaptive.p
            # With labels nothing is rolled: a neighbour's fake would be shown under a class that is not its own.
            rolled = fake if labels is not None else dist.mine(dist.whole(fake).roll(1, 0))
            real = torch.where(chosen, rolled, real)
        real, fake = self._seen(real, turn.noise), self._seen(fake, turn.noise)
        if due:
            real, fake = real.detach().requires_grad_(True), fake.detach().requires_grad_(True)
        # Compiled graphs can not be differentiated twice, so steps with a penalty run the critic as it is written.
        judge = self._judge_eagerly if due else self._judge
        with self.autocast():
            on_real, on_fake = judge(real, labels), judge(fake, labels)
            loss = self.loss.critic(on_real.logits, on_fake.logits)
            if on_real.classes is not None and labels is not None:
                loss = loss + o.auxiliary * auxiliary.class_loss(on_real.classes, labels)
            loss = loss + self._guesses(on_fake, turn.z)
            penalty = torch.zeros((), device=self.device)
            if due:
                mix = self._uniform(*[1] * (real.dim() - 1))
                critic = self._logits_eagerly
                batch = Batch(critic, real, fake, on_real.logits, on_fake.logits, labels, mix)
                for function, settings, weight in due:
                    assert function.loss is not None
                    # Applied on one step of `interval`, so it counts for all of them.
                    penalty = penalty + weight * settings.interval * function.loss(batch)
        self.optimizer_critic.zero_grad(set_to_none=True)
        (loss + penalty).backward()
        dist.sync_gradients(self.critic.parameters())
        self.optimizer_critic.step()
        for function, settings in self.penalties:
            if function.project is not None:
                function.project(self.critic, settings.weight if settings.bound is None else settings.bound)
        real_logits = on_real.logits.detach()
        if self.adaptive.target is not None:
            self.adaptive.update(dist.mean(real_logits.sign().mean()), self.config.training.batch)
        return loss.detach(), real_logits.mean(), on_fake.logits.detach().mean(), penalty.detach()

    def _guesses(self, on_fake: Answer, z: Tensor) -> Tensor | float:
        """How badly the critic's heads guess what of z the fakes show: a term of both players' losses (InfoGAN)."""
        o, sizes = self.config.objective, self.config.network.categorical
        total: Tensor | float = 0.0
        if on_fake.categories is not None:
            total = o.categories * auxiliary.category_loss(on_fake.categories, z, sizes)
        if on_fake.codes is not None:
            total = total + o.codes * auxiliary.code_loss(on_fake.codes, z[:, sum(sizes) :])
        return total

    def _generator_step(self, turn: "Turn") -> Tensor:
        o, labels = self.config.objective, turn.labels
        self.critic.requires_grad_(False)  # only the path to the images is needed
        with self.autocast():
            on_fake = self._judge(self._seen(turn.fake, turn.noise), labels)
            real_logits = fake_logits = on_fake.logits
            if self.loss.pairs or o.feature_matching:
                with torch.no_grad():
                    on_real = self._judge(self._seen(turn.real, turn.noise), labels)
                real_logits = on_real.logits
            if turn.top_k < 1:
                real_logits, fake_logits = dist.whole(real_logits), dist.whole(fake_logits)
                chosen = auxiliary.top_k(fake_logits, turn.top_k)
                real_logits, fake_logits = real_logits[chosen], fake_logits[chosen]
            loss = self.loss.generator(real_logits, fake_logits)
            if o.feature_matching:
                loss = loss + o.feature_matching * auxiliary.feature_matching(
                    dist.whole(on_real.features), dist.whole(on_fake.features)
                )
            if o.mode_seeking:
                known = None if labels is None else dist.whole(labels)
                samples, latents = dist.whole(turn.fake), dist.whole(turn.z)
                loss = loss + o.mode_seeking * auxiliary.mode_seeking(samples, latents, known)
            if on_fake.classes is not None and labels is not None:
                loss = loss + o.auxiliary * auxiliary.class_loss(on_fake.classes, labels)
            loss = loss + self._guesses(on_fake, turn.z)
            total = loss
            if o.path_length and self.steps % o.path_length_interval == 0:
                total = loss + o.path_length * o.path_length_interval * self._path_penalty(labels)
        self.optimizer_generator.zero_grad(set_to_none=True)
        total.backward()
        dist.sync_gradients(self.generator.parameters())
        self.optimizer_generator.step()
        self.critic.requires_grad_(True)
        return loss.detach()

    def _path_penalty(self, labels: Tensor | None) -> Tensor:
        """Squared distance of the path lengths to their running mean, on half the batch as published."""
        generator: Any = self.generator
        half = max(1, self.config.training.batch // 2)

        def first(part: Tensor) -> Tensor:
            """This process's part of the first half of the whole batch."""
            return dist.mine(dist.whole(part)[:half])

        z = first(self._latents(self.generator.latent_dim))
        w_plus = generator.broadcast(generator.mapping(z, None if labels is None else first(labels)))
        inputs = self.generator.training_inputs(self._normal, self._uniform)
        noise = [first(each) for each in inputs["noise"]]
        drawn = generator.synthesis(generator.styles(w_plus), noise)
        lengths = auxiliary.path_lengths(drawn, w_plus, first(self._normal(*drawn.shape[1:])))
        mean = generator.path_mean.lerp(dist.mean(lengths.detach().mean()), 0.01)
        generator.path_mean.copy_(mean)
        penalty: Tensor = (lengths - mean).square().mean()
        return penalty

    def _judge(self, x: Tensor, labels: Tensor | None) -> Answer:
        answer: Answer = self.judge(x, labels)
        return answer.float()

    def _judge_eagerly(self, x: Tensor, labels: Tensor | None) -> Answer:
        return self.critic.answer(x, labels).float()

    def _logits_eagerly(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return self._judge_eagerly(x, labels).logits

    def _latents(self, size: int) -> Tensor:
        return to_prior(self.generator.prior, self._normal(size))

    def _normal(self, *shape: int) -> Tensor:
        """Normal numbers for this process's part of the batch; every process draws the whole batch."""
        batch = self.config.training.batch
        return dist.mine(torch.randn(batch, *shape, generator=self.random, device=self.device))

    def _uniform(self, *shape: int) -> Tensor:
        batch = self.config.training.batch
        return dist.mine(torch.rand(batch, *shape, generator=self.random, device=self.device))

    def autocast(self) -> torch.autocast:
        """The number format of the run."""
        # A captured step casts weights anew: what the cache of an earlier step held is not part of its graph.
        captured = self.captured is not None
        return autocast(self.device, self.config.training.precision, cache=not captured)

    def _follow(self, progress: float) -> None:
        """Set what changes over the budget."""
        o, objective = self.config.optimizer, self.config.objective
        self.noise = _turned(self.noise, objective.instance_noise * (1 - progress))
        self.top_k = 1 - (1 - objective.top_k) * min(1.0, 2 * progress)
        if self.config.augment.p_end is not None:
            self.adaptive.p.fill_(cosine(self.config.augment.p, self.config.augment.p_end, progress))
        for i, (_, penalty) in enumerate(self.penalties):
            weight = cosine(penalty.weight, penalty.weight_end, progress)
            self.weights[i] = _turned(self.weights[i] if i in self.weights else _knob(self.device), weight)
        share = {
            "constant": 1.0,
            "linear": 1 - (1 - o.rate_end) * progress,
            "cosine": cosine(1.0, o.rate_end, progress),
        }[o.schedule]
        for optimizer, rate in (
            (self.optimizer_generator, o.lr_generator),
            (self.optimizer_critic, o.lr_critic),
        ):
            for group in optimizer.param_groups:
                group["lr"] = _turned(group["lr"], rate * share * self.rate_factor)
                if o.beta2_end is not None and "betas" in group:
                    group["betas"] = (o.beta1, cosine(o.beta2, o.beta2_end, progress))

    def _count(self, figures: Tensor) -> None:
        self.sums += figures
        self.counted += 1
        bad = ~torch.isfinite(figures).all() & (self.first_bad == 0)
        self.first_bad.copy_(torch.where(bad, self.counted, self.first_bad))

    def tensors(self) -> Iterator[tuple[str, nn.Module]]:
        """The modules whose tensors make up the state."""
        yield "generator", self.generator
        yield "critic", self.critic
        yield "average", self.average
        yield "augment", self.adaptive

    def optimizers(self) -> Iterator[tuple[str, torch.optim.Optimizer]]:
        """The optimisers, named."""
        yield "optimizer_generator", self.optimizer_generator
        yield "optimizer_critic", self.optimizer_critic


def check_parts(config: Config, critic: nn.Module, processes: int | None = None) -> None:
    """Raise `GanvasError` unless a batch can be split over the processes without cutting what belongs together."""
    count = dist.world_size() if processes is None else processes
    if count == 1:
        return
    unit = config.network.pack * (2 if config.objective.path_length else 1)
    for module in critic.modules():
        if isinstance(module, MinibatchStd):
            unit = math.lcm(unit, config.network.pack * module.group)
    batch = config.training.batch
    if batch % (count * unit):
        least = count * unit
        each = f" in groups of {unit}, which the critic compares" if unit > 1 else ""
        raise GanvasError(
            f"A batch of {batch} can not be split over {count} processes{each}. "
            f"Use a multiple of {least}: --batch {max(1, round(batch / least)) * least}."
        )


def optimizer_of(config: Config, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    """The optimiser of a config for one network. On CUDA its rate is a tensor, which a captured step can read."""
    o = config.optimizer
    device = next(network.parameters()).device
    settings: dict[str, Any] = {"lr": rate}
    if device.type == "cuda":
        settings = {"lr": torch.tensor(rate, device=device), "capturable": True}
    if o.name == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), **settings)
    return torch.optim.Adam(network.parameters(), betas=(o.beta1, o.beta2), fused=True, **settings)


def _knob(device: torch.device) -> float | Tensor:
    """A number that changes between steps: on CUDA a tensor of the device, where a captured step reads it."""
    return torch.zeros((), device=device) if device.type == "cuda" else 0.0


def _turned(knob: float | Tensor, value: float) -> float | Tensor:
    return knob.fill_(value) if isinstance(knob, Tensor) else value
