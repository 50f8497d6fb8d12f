"""The game of a generator and a critic (Goodfellow et al. 2014): the method that all but a few presets train."""

import copy
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import dist, losses, networks
from ganvas.cache import check_compiled
from ganvas.config import Config, TermConfig
from ganvas.data import Dataset
from ganvas.errors import GanvasError
from ganvas.losses import Adaptive, StepView, Term, augment, augmentations
from ganvas.losses.penalties import Batch as PenaltyBatch
from ganvas.networks import Answer, GeneratorBase, to_prior
from ganvas.networks.layers import MinibatchStd
from ganvas.networks.style import unmixed
from ganvas.registry import did_you_mean
from ganvas.training import ema
from ganvas.training.duality import duality_gap
from ganvas.training.engine import Engine, cosine
from ganvas.training.method import DataSpec, Method, Probe, methods
from ganvas.training.start import freeze_first, freeze_mapping
from ganvas.types import Batch


@dataclass
class StepBatch:
    """What one update is about."""

    real: Tensor
    fake: Tensor
    z: Tensor
    labels: Tensor | None
    inputs: Mapping[str, Any]
    """What the fakes were drawn with beside z."""


@dataclass(frozen=True)
class ActiveTerm:
    """A term of this run with what the config says of it."""

    name: str
    term: Term
    weight: float
    interval: int
    options: Mapping[str, Any]


class GanMethod(Method):
    """A generator against a critic, both with Adam or RMSprop, the generator averaged."""

    has_loss = takes_recipes = True

    def __init__(self, engine: Engine, spec: DataSpec, config: Config | None = None) -> None:
        super().__init__(engine, spec, config)
        config, t = self.config, self.config.training
        self.loss = losses.losses.get(config.objective.loss)
        self.penalties = [(losses.penalties.get(p.name), p) for p in config.objective.penalties]
        classes = spec.num_classes
        self.generator = self.place(networks.build_generator(config.network, spec.shape, classes, t.seed))
        self.critic = self.place(networks.build_critic(config.network, spec.shape, classes, t.seed))
        freeze_first(self.critic, t.freeze_critic)
        if t.freeze_mapping:
            freeze_mapping(self.generator)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.terms = active_terms(config, self.critic)
        self.memory = _memory(self.terms).to(engine.device)
        self.optimizer_generator = engine.optimizer(self.generator, config.optimizer.lr_generator)
        self.optimizer_critic = engine.optimizer(self.critic, config.optimizer.lr_critic)
        self.draw: nn.Module = self.generator
        self.judge: Callable[..., Answer] = self.critic.answer
        if t.compile:
            check_compiled()
            self.draw, self.judge = torch.compile(self.generator), torch.compile(self.critic.answer)  # type: ignore[assignment]
        a = config.augment
        self.adaptive = Adaptive(a.p, a.target, a.kimg, limit=a.limit).to(engine.device)
        self.networks = {
            "generator": self.generator,
            "critic": self.critic,
            "average": self.average,
            "augment": self.adaptive,
        }
        self.averages = {
            f"generator-ema{kimg:g}": (kimg, copy.deepcopy(self.average)) for kimg in t.ema_also_kimg
        }
        self.networks |= {name: average for name, (_, average) in self.averages.items()}
        if any(active.term.memory for active in self.terms):
            self.networks["terms"] = self.memory
        self.optimizers = {
            "optimizer_generator": self.optimizer_generator,
            "optimizer_critic": self.optimizer_critic,
        }
        self.noise: float | Tensor = 0.0
        """Standard deviation of the instance noise now."""
        self.weights: list[float | Tensor] = []
        """Of the penalties now."""
        self.choosing: list[tuple[Term, float]] = []
        """The terms that choose among the fakes, with their weight now."""

    @classmethod
    def check(cls, config: Config, spec: DataSpec) -> None:
        """Losses, penalties, terms and augmentations by name; networks that fit the data."""
        if config.method.options:
            named = ", ".join(config.method.options)
            raise GanvasError(
                f"Method {config.method.name!r} reads no options; method.options holds {named}. Omit it."
            )
        losses.losses.get(config.objective.loss)
        for penalty in config.objective.penalties:
            losses.penalties.get(penalty.name)
        with torch.device("meta"):
            generator = networks.build_generator(config.network, spec.shape, spec.num_classes)
            critic = networks.build_critic(config.network, spec.shape, spec.num_classes)
        critic.ready()
        freeze_first(critic, config.training.freeze_critic)
        if config.training.freeze_mapping:
            freeze_mapping(generator)
        check_augmentation(config, spec)
        codes, sizes = int(config.network.critic.get("codes", 0)), config.network.categorical
        if codes < 0 or codes + sum(sizes) > config.network.latent_dim:
            raise GanvasError(
                f"network.critic.codes is {codes} and network.categorical {list(sizes)}; there are "
                f"{config.network.latent_dim} numbers in z."
            )
        asked = {term.name for term in config.objective.terms if term.weight != 0}
        for active in active_terms(config, critic):
            asked.discard(active.name)
            if active.term.of_images and spec.kind != "images":
                raise GanvasError(
                    f"Term {active.name!r} is for images, and what is drawn here are {spec.kind}. Omit it."
                )
            if active.term.style_based and not hasattr(generator, "path_mean"):
                raise GanvasError(
                    f"Term {active.name!r} needs a generator with a mapping network, and {config.network.name!r} has none. "
                    "Use --network style."
                )
        for name in sorted(asked):
            head = losses.terms.get(name).head
            raise GanvasError(
                f"Term {name!r} needs a critic with a head of {head}. Add {HOW[head]}, or omit it."
            )

    @classmethod
    def unit(cls, config: Config, spec: DataSpec) -> int:
        """Packed samples, and the groups whose spread the critic looks at."""
        with torch.device("meta"):
            critic = networks.build_critic(config.network, spec.shape, spec.num_classes)
        halves = any(a.term.style_based for a in active_terms(config, critic))
        unit = config.network.pack * (2 if halves else 1)
        for module in critic.modules():
            if isinstance(module, MinibatchStd):
                unit = math.lcm(unit, config.network.pack * module.group)
        return unit

    @property
    def batches_per_step(self) -> int:
        """One for each update of the critic."""
        return self.config.objective.critic_steps

    def prepare(self, progress: float) -> None:
        """Growth, and what changes over the budget: noise, weights, shares, the averaging."""
        engine, config, t = self.engine, self.config, self.config.training
        level = self.generator.grow(self.images_before / 1000)
        if level is not None:
            self.critic.follow(level)
            # Of averaged buffers (`training.ema_statistics`) theirs would come after it.
            for average in (self.average, *(average for _, average in self.averages.values())):
                average.grow(self.images_before / 1000)
        self.noise = engine.set_knob("noise", config.objective.instance_noise * (1 - progress))
        self.choosing = [
            (a.term, 1 - (1 - a.weight) * min(1.0, 2 * progress) if a.term.falls else a.weight)
            for a in self.terms
            if a.term.choose is not None
        ]
        if config.augment.p_end is not None:
            self.adaptive.p.fill_(cosine(config.augment.p, config.augment.p_end, progress))
        self.weights = [
            engine.set_knob(f"penalty {i}", cosine(penalty.weight, penalty.weight_end, progress))
            for i, (_, penalty) in enumerate(self.penalties)
        ]
        self.ema_kimg = cosine(t.ema_kimg, t.ema_end_kimg, progress)
        self._set_averaging(t.batch * self.batches_per_step)

    @property
    def images_before(self) -> int:
        """Images of the steps before this one."""
        return self.engine.images - self.config.training.batch * self.batches_per_step

    def kind(self) -> Hashable:
        """Which penalties and terms are due."""
        steps = self.engine.steps
        penalties = tuple(steps % p.interval == 0 for _, p in self.penalties)
        return penalties, tuple(steps % a.interval == 0 for a in self.terms)

    def why_eager(self) -> str:
        """A changing number of fakes and growing networks launch other kernels from step to step."""
        for active in self.terms:
            if active.term.choose is not None and active.weight < 1:
                return f"term {active.name} changes how many samples are kept"
        return "the networks grow" if type(self.generator).grow is not GeneratorBase.grow else ""

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """`critic_steps` updates of the critic and one of the generator."""
        for batch in batches[:-1]:
            with torch.no_grad():
                drawn = self._draw_batch(batch)
            self._critic_step(drawn)
        drawn = self._draw_batch(batches[-1])
        # The fakes of the last critic step serve the generator too: one forward pass less in every step.
        figures = self._critic_step(drawn)
        loss_generator = self._generator_step(drawn)
        self._average()
        return {"loss_generator": loss_generator, **figures}

    def exports(self) -> Mapping[str, nn.Module]:
        """The averaged generator, and the critic; the averages of other lengths."""
        others = {name: average for name, (_, average) in self.averages.items()}
        return {"generator": self.average, "critic": self.critic, **others}

    def probe(self) -> Probe:
        """Both networks as they are."""
        t, a = self.config.training, self.config.augment
        average = self.average if t.ema_kimg or t.ema_end_kimg else None
        p = self.adaptive.p if a.policy or a.pseudo else None
        pair = {"generator": self.generator, "critic": self.critic}
        return Probe(self.generator, average, self.critic, pair, self.critic.pack, p)

    def snapshot_figures(self, data: Dataset) -> dict[str, float]:
        """The duality gap, when `training.duality_steps` asks for it."""
        steps = self.config.training.duality_steps
        return {"duality_gap": duality_gap(self, data, steps)} if steps else {}

    def _draw_batch(self, batch: Batch) -> StepBatch:
        real, labels = self._real(batch)
        z, fake, inputs = self._fake(labels)
        return StepBatch(real, fake, z, labels, inputs)

    def _set_averaging(self, images: int) -> None:
        """How far all averages move with the next step of the generator, which `images` led to."""
        engine, rampup = self.engine, self.config.training.ema_rampup

        def weight(kimg: float) -> float:
            return ema.weight(images, ema.half_life_images(kimg, rampup, engine.images))

        self.ema_weight = engine.set_knob("ema", weight(self.ema_kimg))
        self.ema_weights = {
            name: engine.set_knob(name, weight(kimg)) for name, (kimg, _) in self.averages.items()
        }

    def _average(self) -> None:
        """Move all averages towards the generator."""
        statistics = self.config.training.ema_statistics
        ema.update(self.average, self.generator, self.ema_weight, statistics=statistics)
        for name, (_, average) in self.averages.items():
            ema.update(average, self.generator, self.ema_weights[name], statistics=statistics)

    def _chances(self, samples: Tensor) -> Tensor:
        """A number in [0, 1) for each sample (B, 1, 1, 1), by which it is mirrored."""
        return self.engine.uniform(1, 1, 1)

    def _real(self, batch: Batch) -> Batch:
        samples, labels = batch
        if self.spec.kind == "images" and self.config.data.mirror:
            samples = torch.where(self._chances(samples) < 0.5, samples.flip(3), samples)
        known = labels if self.generator.num_classes else None
        return self.floats(samples, self.generator.value_range), known

    def _fake(self, labels: Tensor | None) -> tuple[Tensor, Tensor, Mapping[str, Any]]:
        """Latents, what is drawn from them, and what it is drawn with beside them."""
        z = self._latents()
        for active in self.terms:
            if active.term.latents is not None:
                with self.engine.autocast():
                    z = active.term.latents(self._view(z, labels, active), active.weight)
        noisy = z
        if self.config.objective.input_noise:
            noisy = z + self.config.objective.input_noise * self.engine.normal(self.generator.latent_dim)
        inputs = self.generator.training_inputs(self.engine.normal, self.engine.uniform)
        if self.critic.guess is not None or self.critic.guess_categories is not None:
            inputs = unmixed(inputs)
        with self.engine.autocast():
            drawn: Tensor = self.draw(noisy, labels, **inputs)
        return z, drawn.float(), inputs

    def _augment(self, x: Tensor) -> Tensor:
        """What the critic gets to see of samples: augmented and blurred."""
        a = self.config.augment
        if a.policy:
            x = augment(x, a.policy, self.adaptive.p, self.engine.uniform, self.generator.value_range)
        if self.config.objective.instance_noise:
            x = x + self.noise * self.engine.normal(*x.shape[1:])
        return x

    def _critic_step(self, batch: StepBatch) -> dict[str, Tensor]:
        due = [
            (f, p, weight)
            for (f, p), weight in zip(self.penalties, self.weights, strict=True)
            if f.loss is not None and self.engine.steps % p.interval == 0
        ]
        labels, real, fake = batch.labels, batch.real, batch.fake.detach()
        if self.config.augment.pseudo:
            chosen = self.engine.uniform(*[1] * (real.dim() - 1)) < self.adaptive.p
            # With labels nothing is rolled: a neighbour's fake would be shown under a class that is not its own.
            rolled = fake if labels is not None else dist.mine(dist.whole(fake).roll(1, 0))
            real = torch.where(chosen, rolled, real)
        real, fake = self._augment(real), self._augment(fake)
        if due:
            real, fake = real.detach().requires_grad_(True), fake.detach().requires_grad_(True)
        # Compiled graphs cannot be differentiated twice, so steps with a penalty run the critic as it is written.
        judge = self._judge_eagerly if due else self._judge
        with self.engine.autocast():
            on_real, on_fake = judge(real, labels), judge(fake, labels)
            loss = self.loss.critic(on_real.judged.flatten(), on_fake.judged.flatten())
            for active in self._due("critic"):
                view = replace(
                    self._view(batch.z, labels, active),
                    real=real, fake=fake, on_real=on_real, on_fake=on_fake, inputs=batch.inputs,
                )  # fmt: skip
                assert active.term.critic is not None
                loss = loss + active.weight * active.interval * active.term.critic(view)
            penalty = torch.zeros((), device=self.engine.device)
            if due:
                mix = self.engine.uniform(*[1] * (real.dim() - 1))
                seen = PenaltyBatch(
                    self._logits_eagerly, real, fake, on_real.logits, on_fake.logits, labels, mix
                )
                for function, settings, weight in due:
                    assert function.loss is not None
                    # Applied on one step of `interval`, so it counts for all of them.
                    penalty = penalty + weight * settings.interval * function.loss(seen)
        self.engine.update(self.optimizer_critic, loss + penalty)
        for function, settings in self.penalties:
            if function.project is not None:
                function.project(self.critic, settings.weight if settings.bound is None else settings.bound)
        real_logits, fake_logits = on_real.logits.detach(), on_fake.logits.detach()
        if self.adaptive.target is not None:
            middle: float | Tensor = self.loss.middle
            if self.loss.compares:
                middle = dist.mean((real_logits.mean() + fake_logits.mean()) / 2)
            self.adaptive.update(dist.mean((real_logits - middle).sign().mean()), self.config.training.batch)
        return {
            "loss_critic": loss.detach(),
            "real_logits": real_logits.mean(),
            "fake_logits": fake_logits.mean(),
            "penalty": penalty.detach(),
        }

    def _generator_step(self, batch: StepBatch) -> Tensor:
        labels, due = batch.labels, self._due("generator")
        choosing = [(term, share) for term, share in self.choosing if share < 1]
        self.critic.requires_grad_(False)  # only the path to the images is needed
        with self.engine.autocast():
            on_fake = self._judge(self._augment(batch.fake), labels)
            on_real, real_logits, fake_logits = None, on_fake.judged, on_fake.judged
            if self.loss.pairs or any(a.term.pairs for a in due):
                with torch.no_grad():
                    on_real = self._judge(self._augment(batch.real), labels)
                real_logits = on_real.judged
            if choosing:
                real_logits, fake_logits = dist.whole(real_logits), dist.whole(fake_logits)
            for term, share in choosing:
                assert term.choose is not None
                chosen = term.choose(fake_logits.mean(1), share)
                real_logits, fake_logits = real_logits[chosen], fake_logits[chosen]
            loss = self.loss.generator(real_logits.flatten(), fake_logits.flatten())
            total: Tensor | None = None
            for active in sorted(due, key=lambda a: not a.term.reported):
                view = replace(
                    self._view(batch.z, labels, active),
                    real=batch.real, fake=batch.fake, on_real=on_real, on_fake=on_fake, inputs=batch.inputs,
                )  # fmt: skip
                assert active.term.generator is not None
                value = active.weight * active.interval * active.term.generator(view)
                if active.term.reported:
                    loss = loss + value
                else:
                    total = (loss if total is None else total) + value
        self.engine.update(self.optimizer_generator, loss if total is None else total)
        self.critic.requires_grad_(True)
        return loss.detach()

    def _due(self, side: str) -> list[ActiveTerm]:
        return [a for a in self.terms if getattr(a.term, side) and self.engine.steps % a.interval == 0]

    def _view(self, z: Tensor, labels: Tensor | None, active: ActiveTerm) -> StepView:
        return StepView(
            z=z,
            labels=labels,
            generator=self.generator,
            critic=self._judge_eagerly,
            latents=self._latents,
            normal=self.engine.normal,
            uniform=self.engine.uniform,
            categorical=self.config.network.categorical,
            seen=self._augment,
            options=active.options,
            memory=dict(self.memory.get_submodule(active.name).named_buffers()) if active.term.memory else {},
        )

    def _judge(self, x: Tensor, labels: Tensor | None) -> Answer:
        answer: Answer = self.judge(x, labels)
        return answer.float()

    def _judge_eagerly(self, x: Tensor, labels: Tensor | None) -> Answer:
        answer: Answer = self.critic.answer(x, labels)
        return answer.float()

    def _logits_eagerly(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return self._judge_eagerly(x, labels).logits

    def _latents(self) -> Tensor:
        return to_prior(self.generator.prior, self.engine.normal(self.generator.latent_dim))


methods.add("gan", GanMethod, "a generator against a critic (Goodfellow et al. 2014)")


def active_terms(config: Config, critic: nn.Module) -> list[ActiveTerm]:
    """The terms of a config, and those that belong to a head which the critic has; a weight of 0 leaves one out."""
    named = {term.name: term for term in config.objective.terms}
    for name in losses.terms:
        head = losses.terms.get(name).head
        if head and getattr(critic, HEADS.get(head, head), None) is not None and name not in named:
            named[name] = TermConfig(name)
        if head and getattr(critic, HEADS.get(head, head), None) is None:
            named.pop(name, None)
    found = []
    for name in [*(n for n in losses.terms if n in named), *(n for n in named if n not in losses.terms)]:
        term, settings = losses.terms.get(name), named[name]
        for option, value in settings.options.items():
            if option not in term.options:
                near = did_you_mean(option, list(term.options))
                raise GanvasError(f"Unknown option {option!r} of term {name!r}.{near}")
            usual = term.options[option]
            if isinstance(usual, float) and (type(value) not in (int, float) or not math.isfinite(value)):
                raise GanvasError(
                    f"Option {option!r} of term {name!r} is {value!r}; it must be a number, for instance {usual}."
                )
        weight = term.weight if settings.weight is None else settings.weight
        if term.most is not None and weight > term.most:
            raise GanvasError(
                f"The weight of term {name!r} is {weight:g}; it must be between 0 and {term.most:g}."
            )
        interval = term.interval if settings.interval is None else settings.interval
        if interval > 1 and not (term.generator or term.critic):
            raise GanvasError(
                f"Term {name!r} applies at every step, and its interval is {interval}. Omit the interval."
            )
        if weight:
            options = {**term.options, **settings.options}
            found.append(ActiveTerm(name, term, weight, interval, options))
    return found


def _memory(terms: Sequence[ActiveTerm]) -> nn.Module:
    """What terms keep from step to step, as buffers."""
    memory = nn.ModuleDict()
    for active in terms:
        if active.term.memory:
            kept = nn.Module()
            for name, start in active.term.memory.items():
                kept.register_buffer(name, torch.tensor(float(start)))
            memory[active.name] = kept
    return memory


HEADS = {"classes": "classify", "codes": "guess", "categories": "guess_categories"}
"""A head of a critic's output -> the layer that makes it."""
HOW = {
    "classes": "--conditional --set network.critic.auxiliary=true",
    "codes": "--set network.critic.codes=2",
    "categories": "--set network.categorical=[10]",
}
"""How a critic gets the head."""


def check_augmentation(config: Config, spec: DataSpec) -> None:
    """Raise `GanvasError` for augmentations that are unknown or not for such samples."""
    for name in config.augment.policy:
        found = augmentations.get(name)
        channels = found.channels
        if spec.kind != "images":
            raise GanvasError(f"--augment is for images, and the data set has {spec.kind}. Omit it.")
        if channels and spec.shape[0] not in channels:
            raise GanvasError(
                f"--augment {name} is for grey or colour images, and the data set has {spec.shape[0]} channels. "
                "Use --augment ada-diffaugment."
            )
        if found.square and spec.shape[1] != spec.shape[2]:
            raise GanvasError(
                f"--augment {name} is for square images, and these are {spec.shape[2]} x {spec.shape[1]} px. Leave it out."
            )
