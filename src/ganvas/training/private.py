"""A game whose critic learns by DP-SGD (Abadi et al. 2016): what generator and critic know of any one sample is bounded.

Only the critic sees the data, so it alone pays; the generator learns from the critic, which costs nothing (Xie et al. 2018). The
critic takes several steps for each of the generator's, on demand as many as it needs to be ahead (Bie et al. 2023, section 5).
"""

import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ganvas import arrays, dist, losses, networks
from ganvas.config import Config
from ganvas.errors import GanvasError
from ganvas.losses import AdversarialLoss, StepView
from ganvas.networks.layers import BatchNorm, MinibatchStd
from ganvas.privacy import account
from ganvas.registry import did_you_mean
from ganvas.training.engine import Engine
from ganvas.training.gan import ActiveTerm, GanMethod, StepBatch, active_terms
from ganvas.training.method import DataSpec, methods
from ganvas.types import Batch, Guarantee

OPTIONS: dict[str, Any] = {
    "epsilon": 10.0, "delta": 1e-5, "clip": 1.0, "noise": None, "ahead": 0.0, "least": 3, "most": 100, "chunk": None
}  # fmt: skip
"""Of `method.options`: the guarantee; the largest length of a sample's gradient; the standard deviation of the noise over it
(None: the smallest that lasts for the budget in kimg); the share of fresh fakes that the critic must know before the generator
moves (0: it moves after `least`), its steps before that at least, and those after which the generator moves anyhow; samples
whose gradients are held at a time (None: as many as make `HELD` numbers)."""
HELD = 2**24
MOST_COUNTED = 2**53
"""Steps that an account may say."""
USUAL_NOISE = 1.0
"""Where the budget is in minutes, and nobody knows how many steps these are."""
MEMORY = 0.95
"""Of the running share of fakes that the critic knows."""


SECRET = 8 + 4 * 624
"""Bytes of a generator that nobody can guess."""
WORDS = slice(3, 3 + 624)
"""Of a state of torch's generator on the CPU, in words of 64 bits, those of the Mersenne Twister, of 32 bits each."""


def secret_generator(secret: bytes, device: torch.device) -> torch.Generator:
    """Random numbers by `SECRET` bytes of the system.

    Of a seed torch takes 32 bits on the CPU, which can be tried one by one: who knows the weights that a training began and ended
    with finds the noise by them. There all of the state is of the system.
    """
    seed = int.from_bytes(secret[:8], "little") >> 1
    generator = torch.Generator(device).manual_seed(seed)
    if generator.device.type == "cpu":
        state = generator.get_state()
        words = state.view(torch.int64)[WORDS]
        if int(words[0]) != seed % 2**32:
            raise GanvasError(
                "This torch keeps its random numbers in a way that is not known here; train privately with another version."
            )
        words.copy_(torch.from_numpy(np.frombuffer(secret[8:], "<u4").astype(np.int64)))
        generator.set_state(state)
    return generator


class Account(nn.Module):
    """What has been spent, and the secret random numbers of the noise: kept in the state, in no model.

    Whoever knew them could take the noise off again, so that they come from the system and not from the run's seed.
    """

    steps: Tensor
    random: Tensor
    ahead: Tensor
    waited: Tensor

    def __init__(self, secret: bytes, device: torch.device) -> None:
        super().__init__()
        self.generator = secret_generator(secret, device)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("random", self.generator.get_state())
        self.register_buffer("ahead", torch.ones((), dtype=torch.float64))
        self.register_buffer("waited", torch.zeros((), dtype=torch.int64))

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """The account goes on, with secret numbers of its own: two copies of a run that go on with the same noise and other
        schedules would take it off each other. Raises `ValueError` for numbers of a file that no training has counted."""
        # Of another size where the run was on another device.
        own = {"random": self.random.clone()} if "random" in state_dict else {}
        found = super().load_state_dict({**state_dict, **own}, strict, assign)
        # One more than the largest number is the smallest: the generator would never move again.
        counts = all(0 <= int(each) < MOST_COUNTED for each in (self.steps, self.waited))
        if not counts or not 0 <= float(self.ahead) <= 1:
            raise ValueError(
                f"its account is {int(self.steps)} steps, {int(self.waited)} waited, {float(self.ahead):g} ahead"
            )
        return found

    def keep(self) -> None:
        """After numbers were drawn: the next ones are others."""
        self.random.copy_(self.generator.get_state())

    def take_up(self) -> None:
        """Before numbers are drawn."""
        self.generator.set_state(self.random.cpu())


class FakesAlone(StepView):
    """What a term sees of a private step: whoever asks for real samples is told that there are none, instead of getting fakes."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("real", "on_real"):
            raise GanvasError(
                "Private training cannot have a term that looks at real samples, as one of this run does: what it shows of them "
                "is not clipped. Omit it (objective.terms, --term)."
            )
        return super().__getattribute__(name)


class PrivateGan(GanMethod):
    """`GanMethod` with a critic that learns in private. A step is one of the critic's, and at times one of the generator's."""

    takes_recipes = False  # most recipes hold what breaks the guarantee
    tells_of_data = False
    repeats = False  # its noise is new after every pause

    def __init__(self, engine: Engine, spec: DataSpec) -> None:
        super().__init__(engine, spec)
        self.settings = options_of(self.config)
        self.rate = sampling_rate(self.config, spec)
        self.delta, self.clip = self.settings["delta"], self.settings["clip"]
        self.sigma = noise_of(self.config, spec)
        self.allowed = account.steps_within(self.settings["epsilon"], self.sigma, self.rate, self.delta)
        shared = bytes.fromhex(dist.share(secrets.token_hex(2 * SECRET) if dist.rank() == 0 else ""))
        self.account = Account(shared[:SECRET], engine.device)
        # Loaders read ahead, on each machine as far as it has processors: what they drew from between the noises would make
        # those of the processes differ, and cancel out in part.
        self.choice = secret_generator(shared[SECRET:], engine.device)
        self.networks["account"] = self.account
        weights = sum(p.numel() for p in self.critic.parameters())
        self.chunk = self.settings["chunk"] or max(1, HELD // weights)
        self._last_loss = torch.zeros((), device=engine.device)

    @classmethod
    def check(cls, config: Config, spec: DataSpec) -> None:
        """Everything that would break the guarantee is refused, with the reason."""
        settings = options_of(config)
        if spec.kind == "series":
            raise GanvasError(
                "Private training is for images and points: how series are scaled (their least and largest numbers, last day, "
                "categories) is taken from the data without noise and stands in every file of the model, and windows share rows. "
                "Omit --private."
            )
        super().check(config_of_game(config), spec)
        refuse(config)
        arrays.number(settings["epsilon"], "method.options.epsilon", above=0)
        arrays.number(settings["delta"], "method.options.delta", above=0, most=0.1)
        arrays.number(settings["clip"], "method.options.clip", least=1e-6, most=1e6)
        arrays.number(settings["ahead"], "method.options.ahead", least=0, most=1)
        if settings["ahead"] > 0 and losses.losses.get(config.objective.loss).compares:
            raise GanvasError(
                f"method.options.ahead is the share of fakes that the critic knows, and a {config.objective.loss} critic says "
                "only which of two samples is more real: it takes a real one to know a fake. Omit it, and say by "
                "method.options.least how many steps the critic takes before the generator moves."
            )
        arrays.count(settings["least"], "method.options.least")
        arrays.count(settings["most"], "method.options.most", settings["least"])
        if settings["chunk"] is not None:
            arrays.count(settings["chunk"], "method.options.chunk")
        if spec.count and settings["delta"] * spec.count > 1:
            raise GanvasError(
                f"delta is {settings['delta']:g} and there are {spec.count:,} samples: to publish one of them whole would "
                f"satisfy it. Use at most 1 / samples: --delta {0.1 / spec.count:.1g}."
            )
        critic = networks.build_critic(config.network, spec.shape, spec.num_classes)
        terms = active_terms(config, critic)
        if looking := [a.name for a in terms if a.term.critic or a.term.pairs]:
            raise GanvasError(
                f"Private training cannot have term {', '.join(looking)}: the critic learns by the loss alone, whose "
                "gradients are clipped. Omit what gives it a head (network.critic.auxiliary, network.critic.codes, "
                "network.categorical)."
            )
        if rare := [a.name for a in terms if a.interval > 1]:
            raise GanvasError(
                "Private training moves its generator once the critic is ahead, and counts no steps between: term "
                f"{', '.join(rare)} needs interval 1 (objective.terms)."
            )
        check_alone(critic, spec)
        # Last: to look for the noise that lasts takes a second.
        noise, rate = noise_of(config, spec), sampling_rate(config, spec)
        if spec.count and account.epsilon(noise, rate, 1, settings["delta"]) > settings["epsilon"]:
            raise GanvasError(
                f"One step with noise {noise:g} costs more than epsilon {settings['epsilon']:g}. "
                "Raise method.options.noise, or omit it and give --kimg."
            )

    @classmethod
    def spelled_out(cls, config: Config, spec: DataSpec) -> Config:
        """With the noise that follows from the budget: another budget must not change that of the steps already made."""
        if not cls.follows_budget(config) or not spec.count:
            return config
        options = {**config.method.options, "noise": noise_of(config, spec)}
        return replace(config, method=replace(config.method, options=options))

    @classmethod
    def follows_budget(cls, config: Config) -> bool:
        """Of runs from before the noise was spelled out."""
        return options_of(config)["noise"] is None

    def positions(self, size: int) -> Iterator[Tensor]:
        """Each sample is in a step with the same chance, whatever the others are: what the accountant counts on (Poisson)."""
        while True:
            # In single precision the chance would be a multiple of 2^-24, and above the rate.
            chance = torch.rand(size, generator=self.choice, device=self.engine.device, dtype=torch.float64)
            yield (chance < self.rate).nonzero()[:, 0].cpu()[dist.rank() :: dist.world_size()]

    @property
    def used(self) -> float:
        """Share of the steps that the guarantee allows."""
        return int(self.account.steps) / self.allowed

    def about(self) -> dict[str, Any]:
        """What the snapshot's files say."""
        return {"privacy": self.spent()._asdict()}

    def recall(self, told: Sequence[Mapping[str, Any]]) -> None:
        """What a snapshot cost that the state is older than stays spent: its steps are made again with other noise."""
        said = [each["privacy"].get("epsilon") for each in told if isinstance(each.get("privacy"), dict)]
        most = max((each for each in said if isinstance(each, float)), default=0.0)
        made = account.steps_within(most, self.sigma, self.rate, self.delta) if most > 0 else 0
        self.account.steps.clamp_min_(made)

    def spent(self) -> Guarantee:
        """What has been spent so far."""
        return Guarantee(
            account.epsilon(self.sigma, self.rate, int(self.account.steps), self.delta), self.delta
        )

    def log_figures(self) -> dict[str, float]:
        """Epsilon, for the lines of statistics."""
        return {"epsilon": self.spent().epsilon}

    def why_eager(self) -> str:
        """How many samples a step has is drawn."""
        return "private steps have different numbers of samples"

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """One step of the critic; one of the generator where the critic is ahead, or has taken many without."""
        ((samples, labels),) = batches
        self.account.take_up()
        real, labels = self._real((samples, labels))
        fake_labels = self._some_labels()
        with torch.no_grad():
            _, fake, _ = self._fake(fake_labels)
        figures = self._private_step(real, labels, fake, fake_labels)
        known = dist.mean((figures["fake_logits_of_each"] < self.loss.middle).double().mean())
        a = self.account
        a.ahead.lerp_(known.cpu(), 1 - MEMORY)
        a.waited += 1
        a.steps += 1
        waited, s = int(a.waited), self.settings
        if waited >= s["most"] or (waited >= s["least"] and float(a.ahead) >= s["ahead"]):
            self._move(waited)
            a.waited.zero_()
        a.keep()
        del figures["fake_logits_of_each"]
        if not self.loss.compares:  # one that does has no logit from which on a sample is real
            figures["critic_ahead"] = a.ahead.float().to(real.device)
        return {"loss_generator": self._last_loss, **figures}

    def _move(self, waited: int) -> None:
        """One step of the generator, against the critic as it is, with the terms that look at fakes alone."""
        labels = self._some_labels()
        z, fake, inputs = self._fake(labels)
        # No term and no loss that is let in looks at the real samples of a step of the generator.
        self._last_loss = self._generator_step(StepBatch(fake.detach(), fake, z, labels, inputs))
        self._set_averaging(self.config.training.batch * waited)
        self._average()

    def _view(self, z: Tensor, labels: Tensor | None, active: ActiveTerm) -> StepView:
        view = super()._view(z, labels, active)
        return FakesAlone(**{f.name: getattr(view, f.name) for f in fields(view)})

    def _private_step(
        self, real: Tensor, labels: Tensor | None, fake: Tensor, fake_labels: Tensor | None
    ) -> dict[str, Tensor]:
        """Real and fake samples in one sum of clipped gradients, with noise on it once; then the optimiser's step.

        A real sample more or less changes the sum by at most `clip`. Fakes know of the data only what the generator does, which
        is bounded already; they are clipped alike so that neither side outweighs the other.
        """
        x = torch.cat([real, fake])
        known = None if labels is None or fake_labels is None else torch.cat([labels, fake_labels])
        is_real = torch.arange(len(x), device=x.device) < len(real)
        total = {name: torch.zeros_like(p) for name, p in self.critic.named_parameters()}
        parts = []
        with self.engine.autocast():
            for rows in torch.arange(len(x), device=x.device).split(self.chunk):
                gradients, outputs = clipped(
                    self.critic,
                    self.loss,
                    x[rows],
                    None if known is None else known[rows],
                    is_real[rows],
                    self.clip,
                )
                for name, gradient in gradients.items():
                    total[name] += gradient
                parts.append(outputs)
        share, batch = dist.world_size(), self.config.training.batch
        self.optimizer_critic.zero_grad(set_to_none=True)
        for name, p in self.critic.named_parameters():
            noise = torch.randn(p.shape, generator=self.account.generator, device=p.device)
            # Every process adds the same noise, and the gradients are averaged over the processes. A gradient is laid out like
            # its weights: fused Adam walks through memory.
            p.grad = torch.empty_like(p).copy_((share * total[name] + self.sigma * self.clip * noise) / batch)
        dist.sync_gradients(self.critic.parameters())
        self.optimizer_critic.step()
        values, logits = (torch.cat(each) for each in zip(*parts, strict=True))
        size = max(1, len(real))
        return {
            "loss_critic": values[len(real) :].mean() + values[: len(real)].sum() / size,
            "real_logits": logits[: len(real)].sum() / size,
            "fake_logits": logits[len(real) :].mean(),
            "fake_logits_of_each": logits[len(real) :],
        }

    def _chances(self, samples: Tensor) -> Tensor:
        """Drawn from what nobody knows: how many there are is a secret, too.

        Every process draws for as many as there could be: all must go on with the same numbers, or their noise would differ
        and cancel out in part.
        """
        chances = torch.rand(
            max(self.spec.count, len(samples)), generator=self.account.generator, device=samples.device
        )
        return chances[dist.rank() :: dist.world_size()][: len(samples), None, None, None]

    def _some_labels(self) -> Tensor | None:
        """Classes of fakes, each as often: the shares of the data are nobody's business."""
        classes = self.generator.num_classes
        return (self.engine.uniform() * classes).long().clamp_max(classes - 1) if classes else None


def clipped(
    critic: nn.Module, loss: AdversarialLoss, x: Tensor, labels: Tensor | None, is_real: Tensor, clip: float
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
    """Gradients of the critic's loss for each sample (n, ...), each no longer than `clip`, summed: by name of the parameter.

    Beside them each sample's loss and logit (n,). Equation of algorithm 1, Abadi et al. 2016.
    """
    parameters = {name: p.detach() for name, p in critic.named_parameters()}
    apart = torch.zeros(1, device=x.device)

    def of_one(weights: dict[str, Tensor], x: Tensor, label: Tensor | None, real: Tensor) -> Any:
        logit = (
            functional_call(critic, weights, (x[None], None if label is None else label[None]))
            .float()
            .reshape(1)
        )
        half = loss.critic(apart, apart) / 2  # what the absent side adds
        value = torch.where(real, loss.critic(logit, apart), loss.critic(apart, logit)) - half
        return value, (value.detach(), logit.detach()[0])

    each, outputs = vmap(grad(of_one, has_aux=True), (None, 0, None if labels is None else 0, 0))(
        parameters, x, labels, is_real
    )
    squares = torch.stack([g.flatten(1).float().square().sum(1) for g in each.values()]).sum(0)
    scale = (clip / squares.sqrt().clamp_min(1e-12)).clamp_max(1)
    return {name: torch.einsum("n,n...->...", scale, g.float()) for name, g in each.items()}, outputs


def options_of(config: Config) -> dict[str, Any]:
    """The options of a config with the usual ones for the rest. Raises `GanvasError` for unknown ones."""
    for name in config.method.options:
        if name not in OPTIONS:
            raise GanvasError(
                f"Method 'private' has no option {name!r}.{did_you_mean(name, list(OPTIONS))} Known: {', '.join(OPTIONS)}."
            )
    return {**OPTIONS, **config.method.options}


def sampling_rate(config: Config, spec: DataSpec) -> float:
    """Chance of a sample to be in a step."""
    return min(1.0, config.training.batch / max(1, spec.count))


def noise_of(config: Config, spec: DataSpec) -> float:
    """The noise that was asked for, or the smallest that lasts for the budget."""
    settings, t = options_of(config), config.training
    if settings["noise"] is not None:
        return arrays.number(settings["noise"], "method.options.noise", least=account.LEAST_NOISE, most=1e6)
    if t.kimg is None or not spec.count:
        return USUAL_NOISE
    steps = max(1, math.ceil(t.kimg * 1000 / t.batch))
    return account.noise_for(settings["epsilon"], sampling_rate(config, spec), steps, settings["delta"])


def refuse(config: Config) -> None:
    """Raise `GanvasError` for what breaks the guarantee, or would be paid for without being counted."""
    n, o, t, a, d = config.network, config.objective, config.training, config.augment, config.data
    unclipped = [p.name for p in o.penalties if losses.penalties.get(p.name).loss is not None]
    projecting = [p.name for p in o.penalties if p.name not in unclipped]
    terms = [losses.terms.get(each.name) for each in o.terms if each.weight != 0]
    looking = any(term.critic or term.pairs for term in terms)
    reasons = (
        (unclipped, f"penalty {', '.join(unclipped)}", "its gradient is of several samples, or cannot be clipped for each",
         "--penalty none"),
        (projecting, f"penalty {', '.join(projecting)}", "the lengths of gradients are bounded, the weights are not",
         "--penalty none"),
        (t.freeze_critic, "training.freeze_critic", "noise reaches all of the critic's layers", "omit it"),
        (looking, "terms that look at real samples", "what they show of them is not clipped", "omit --term"),
        (n.pack > 1, "network.pack", "a packed sample is judged beside others", "omit it"),
        (a.policy or a.pseudo or a.target is not None, "augmentation",
         "it is drawn for whole batches, and adapts to the real samples", "--augment none"),
        (o.instance_noise, "objective.instance_noise", "it is drawn for whole batches", "omit it"),
        (o.critic_steps > 1, "objective.critic_steps", "method private counts the critic's steps itself (method.options.most)",
         "omit it"),
        (d.balance, "--balance", "how often a sample is drawn would depend on the others", "omit it"),
        (d.select < 1, "data.select", "which samples are kept would depend on the others", "omit it"),
        (t.eval_kimg, "--eval-kimg", "to choose the best snapshot by its distance to the data tells of them, and is not counted",
         "omit it"),
        (t.duality_steps, "training.duality_steps", "it trains on the data without noise", "omit it"),
        (t.on_collapse != "warn", "--on-collapse", "to stop or go back when samples differ from the data tells of them",
         "omit it"),
        (t.start, "--start", "what the weights of that model know of the data is not counted", "omit it"),
        (t.compile, "training.compile", "gradients are taken for each sample", "omit it"),
    )  # fmt: skip
    for holds, what, why, instead in reasons:
        if holds:
            raise GanvasError(f"Private training cannot have {what}: {why}. Instead: {instead}.")
    if losses.losses.get(o.loss).pairs or not _adds_up(losses.losses.get(o.loss)):
        raise GanvasError(
            f"Private training cannot have loss {o.loss!r}: it compares real samples with fakes, so that a sample's gradient "
            "depends on others. Use --loss non-saturating, hinge or wasserstein."
        )


def _adds_up(loss: AdversarialLoss) -> bool:
    """Whether the critic's loss is a mean over samples, each alone."""
    r, f = torch.tensor([0.3, -1.2]), torch.tensor([0.7, 2.1])
    each = [loss.critic(r[i : i + 1], f[j : j + 1]) for i in range(2) for j in range(2)]
    crossed = torch.isclose(each[0] + each[3], each[1] + each[2], rtol=1e-5, atol=1e-6)
    return bool(crossed & torch.isclose(loss.critic(r, f), (each[0] + each[3]) / 2, rtol=1e-5, atol=1e-6))


def check_alone(critic: nn.Module, spec: DataSpec) -> None:
    """Raise `GanvasError` for a critic in whose verdict on a sample others have a part."""
    for module in critic.modules():
        if isinstance(module, BatchNorm | nn.modules.batchnorm._BatchNorm | MinibatchStd):
            what = "minibatch std" if isinstance(module, MinibatchStd) else "batch norm"
            how = "minibatch_std=false" if isinstance(module, MinibatchStd) else "norm=group"
            raise GanvasError(
                f"Private training cannot have a critic with {what}: a sample would be judged beside others. "
                f"--set network.critic.{how}."
            )
        if torch.nn.utils.parametrize.is_parametrized(module):
            raise GanvasError(
                "Private training cannot have a critic with spectral norm: its weights depend on each other past the clipping. "
                "--set network.critic.spectral_norm=false."
            )
    x = torch.rand(4, *spec.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = torch.zeros(4, dtype=torch.int64) if getattr(critic, "num_classes", 0) else None
    with torch.no_grad():
        together = critic(x, labels)
        alone = critic(x[:1], None if labels is None else labels[:1])
    if not torch.allclose(together[:1], alone, rtol=1e-3, atol=1e-4):
        raise GanvasError(
            "Private training cannot have this critic: its verdict on a sample changes with those beside it."
        )


def config_of_game(config: Config) -> Config:
    """The config without the options of this method, for what any game checks."""
    return replace(config, method=replace(config.method, options={}))


methods.add(
    "private", PrivateGan, "a game whose critic learns by DP-SGD: bounds what a model knows of any one sample"
)
