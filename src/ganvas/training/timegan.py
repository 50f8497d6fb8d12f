"""TimeGAN (Yoon et al. 2019, "Time-series generative adversarial networks"): a game in a latent space that is learned with it.

Embedder and recovery are an autoencoder of the series, step by step (eq. 3, 4 and 7). Generator and critic play in its latents
(eq. 5, 6 and 8). A supervisor says of each latent which one comes next (eq. 9), and both sides learn from that: embedder and
recovery minimise lambda L_S + L_R (eq. 10), the generator eta L_S + L_U (eq. 11). What the equations leave open is as in the
authors' published code: the supervisor is a network of its own, the latents are learned first and then what comes next in
them, the critic sees drawn latents before and behind the supervisor, moments of the drawn series are matched, roots are taken of
mean squares, and the critic takes one step to two of the others.
"""

import copy
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ganvas import dist, losses, networks
from ganvas.config import Config, PenaltyConfig
from ganvas.errors import GanvasError
from ganvas.losses.adversarial import LogitsLoss
from ganvas.losses.penalties import Batch as PenaltyBatch
from ganvas.networks import to_prior
from ganvas.networks.timegan import FAMILY, TimeCritic, TimeGenerator
from ganvas.training import ema
from ganvas.training.engine import Engine, cosine
from ganvas.training.method import DataSpec, Method, Probe, check_options, check_plain, methods
from ganvas.types import Batch

EMBEDDING, SUPERVISED, JOINT = range(3)
"""The three phases."""
CRITIC_EVERY = 2
"""Steps of the others to one of the critic."""
SMALL = 1e-6
"""Added to what a root is taken of."""
FIGURES = (
    "loss_reconstruction", "loss_supervised", "loss_moments", "loss_generator", "loss_critic", "real_logits", "fake_logits",
    "penalty",
)  # fmt: skip


class TimeGan(Method):
    """Three phases: latents; what comes next in them; the game, in which all learn.

    Options: `embedding` and `supervised`, the shares of the budget for the first two phases; `lambda` (eq. 10) and `eta`
    (eq. 11), the weights of what comes next beside the reconstruction and beside the critic's verdict; `moments`, the weight
    of the drawn columns' means and deviations at each step.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "embedding": 0.1, "supervised": 0.1, "lambda": 0.1, "eta": 10.0, "moments": 10.0,
    }  # fmt: skip
    has_loss = True

    def __init__(self, engine: Engine, spec: DataSpec) -> None:
        super().__init__(engine, spec)
        config, seed = self.config, self.config.training.seed
        self.options: dict[str, Any] = {**self.OPTIONS, **config.method.options}
        self.loss = losses.losses.get(config.objective.loss)
        self.penalties = [(losses.penalties.get(p.name), p) for p in config.objective.penalties]
        self.generator: TimeGenerator = self.place(
            networks.build_generator(config.network, spec.shape, 0, seed)
        )
        self.critic: TimeCritic = self.place(networks.build_critic(config.network, spec.shape, 0, seed))
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.networks = {"generator": self.generator, "critic": self.critic, "average": self.average}
        self.autoencoder = nn.ModuleList([self.critic.embedder, self.generator.recovery])
        self.drawing = nn.ModuleList([self.generator.maker, self.generator.supervisor])
        rate = config.optimizer.lr_generator
        self.optimizers = {
            "optimizer_autoencoder": engine.optimizer(self.autoencoder, rate),
            "optimizer_generator": engine.optimizer(self.drawing, rate),
            "optimizer_critic": engine.optimizer(self.critic.judge, config.optimizer.lr_critic),
        }
        self.phase = EMBEDDING

    @classmethod
    def check(cls, config: Config, spec: DataSpec) -> None:
        """The family's networks, on series without classes; shares and weights."""
        name = config.method.name
        if spec.kind != "series":
            raise GanvasError(
                f"Method {name} is for series, and the data holds {spec.kind}. Omit --method, or --preset."
            )
        check_plain(config)
        check_options(cls.OPTIONS, config.method.options, name)
        options = {**cls.OPTIONS, **config.method.options}
        if (shares := options["embedding"] + options["supervised"]) >= 1:
            raise GanvasError(
                f"method.options.embedding and supervised are shares of the budget, {shares:g} in all; less than 1 leaves a "
                "rest to the game."
            )
        if config.network.name != FAMILY or config.network.critic_name not in ("", FAMILY):
            raise GanvasError(
                f"Method {name} trains networks of its own. Use --network {FAMILY}, or omit it."
            )
        losses.losses.get(config.objective.loss)
        for penalty in config.objective.penalties:
            if losses.penalties.get(penalty.name).loss is None:
                raise GanvasError(
                    f"Penalty {penalty.name!r} is not for method {name}. Use --penalty r1 or none."
                )
        with torch.device("meta"):
            networks.build_generator(config.network, spec.shape, 0)
            networks.build_critic(config.network, spec.shape, 0)

    def prepare(self, progress: float) -> None:
        """The phase: a run that goes on with a longer budget does not go back to an earlier one. Averaging and weights."""
        t, first = self.config.training, self.options["embedding"]
        due = [progress >= 0, progress >= first, progress >= first + self.options["supervised"]]
        self.phase = max(self.reached, *(phase for phase, is_due in enumerate(due) if is_due))
        half_life = ema.half_life_images(
            cosine(t.ema_kimg, t.ema_end_kimg, progress), t.ema_rampup, self.engine.images
        )
        self.ema_weight = self.engine.set_knob("ema", ema.weight(t.batch, half_life))
        self.weights = [
            self.engine.set_knob(f"penalty {i}", cosine(p.weight, p.weight_end, progress))
            for i, (_, p) in enumerate(self.penalties)
        ]

    @property
    def reached(self) -> int:
        """The phase that there was a step of: each begins with an optimiser of its own."""
        if self.optimizers["optimizer_critic"].state:
            return JOINT
        return SUPERVISED if self.optimizers["optimizer_generator"].state else EMBEDDING

    def kind(self) -> Hashable:
        """The phase, whether the critic learns, and which penalties are due."""
        return self.phase, self._judging, tuple(map(self._due, self.penalties))

    def _due(self, penalty: tuple[losses.Penalty, PenaltyConfig]) -> bool:
        return self.engine.steps // CRITIC_EVERY % penalty[1].interval == 0

    @property
    def _judging(self) -> bool:
        # The first step of the game is the critic's, wherever it falls: that there was one is how the phase is known.
        return self.reached < JOINT or self.engine.steps % CRITIC_EVERY == 0

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """A step of the phase."""
        x = batches[0][0]
        found = dict.fromkeys(FIGURES, torch.zeros((), device=x.device))
        if self.phase == EMBEDDING:
            found["loss_reconstruction"] = self._embed(x, 0.0)["loss_reconstruction"]
        elif self.phase == SUPERVISED:
            # What the phase before left is no gradient of this one.
            self.optimizers["optimizer_autoencoder"].zero_grad(set_to_none=True)
            found["loss_supervised"] = self._supervise(x)
        else:
            found |= self._play_game(x)
        ema.update(self.average, self.generator, self.ema_weight)
        return {name: value.detach() for name, value in found.items()}

    def _embed(self, x: Tensor, weight: float) -> dict[str, Tensor]:
        """Embedder and recovery: L_R (eq. 7), and `weight` times L_S (eq. 10)."""
        with self.engine.autocast():
            h = self.critic.embedder(x)
            again = self.generator.recovery(h, x.shape[2]).float()
            next_step = self._next(h) if weight else torch.zeros((), device=x.device)
        error = _root_mean(again - x)
        self._update("optimizer_autoencoder", error + weight * next_step)
        return {"loss_reconstruction": error, "loss_supervised": next_step}

    def _supervise(self, x: Tensor) -> Tensor:
        """The supervisor alone: L_S (eq. 9) in latents that stay."""
        with self.engine.autocast():
            error = self._next(self._latents(x))
        self._update("optimizer_generator", error)
        return error

    def _play_game(self, x: Tensor) -> dict[str, Tensor]:
        """Judge, when it is due; then generator and supervisor; then embedder and recovery."""
        z = to_prior(self.generator.prior, self.engine.normal(self.generator.latent_dim))
        h = self._latents(x)
        with self.engine.autocast():
            drawn = self.generator.drawn(z)
            led = self.generator.led(drawn)
        judged = self._judge(h, led, drawn) if self._judging else {}
        # Figures are means over all steps, and only some of them have a critic's.
        found = {name: CRITIC_EVERY * value for name, value in judged.items()}
        found |= self._generate(x, h, led, drawn)
        return found | self._embed(x, self.options["lambda"])

    def _judge(self, h: Tensor, led: Tensor, drawn: Tensor) -> dict[str, Tensor]:
        """The critic: L_U (eq. 8), drawn latents both as they are led by the supervisor and as they were."""
        real = h.detach().clone().requires_grad_(True)
        fake = led.detach().clone().requires_grad_(True)
        with self.engine.autocast():
            on_real, on_fake, on_drawn = (
                self.critic.judge(torch.cat([real, fake, drawn.detach()])).float().chunk(3)
            )
            loss = self._against(self.loss.critic, on_real, on_fake, on_drawn)
            penalty = torch.zeros((), device=h.device)
            seen = PenaltyBatch(
                lambda latents, labels: self.critic.judge(latents).float().mean(1), real, fake, on_real.mean(1), on_fake.mean(1),
                None, self.engine.uniform(1, 1),
            )  # fmt: skip
            for each, weight in zip(self.penalties, self.weights, strict=True):
                function, settings = each
                if function.loss is not None and self._due(each):
                    penalty = penalty + weight * settings.interval * function.loss(seen)
        self._update("optimizer_critic", loss + penalty)
        return {
            "loss_critic": loss, "penalty": penalty, "real_logits": on_real.mean(), "fake_logits": on_fake.mean()
        }  # fmt: skip

    def _generate(self, x: Tensor, h: Tensor, led: Tensor, drawn: Tensor) -> dict[str, Tensor]:
        """Generator and supervisor: L_U, eta L_S (eq. 11), and the moments of what is drawn."""
        still = nn.ModuleList([self.critic.judge, self.generator.recovery]).requires_grad_(False)
        with self.engine.autocast():
            on_fake, on_drawn = self.critic.judge(torch.cat([led, drawn])).float().chunk(2)
            # Few losses compare: else a third of the work is not done.
            on_real = self.critic.judge(h).float() if self.loss.pairs else on_fake
            fooled = self._against(self.loss.generator, on_real, on_fake, on_drawn)
            next_step = self._next(h)
            series = self.generator.recovery(led, x.shape[2]).float()
        moments = moments_apart(dist.whole(series), dist.whole(x))
        loss = fooled + self.options["eta"] * next_step + self.options["moments"] * moments
        self._update("optimizer_generator", loss)
        still.requires_grad_(True)
        return {"loss_generator": fooled, "loss_moments": moments}

    @staticmethod
    def _against(loss: LogitsLoss, real: Tensor, led: Tensor, drawn: Tensor) -> Tensor:
        """One side's part of L_U, the mean over both kinds of drawn latents."""
        return (loss(real.flatten(), led.flatten()) + loss(real.flatten(), drawn.flatten())) / 2

    def _latents(self, x: Tensor) -> Tensor:
        """h of series, without a gradient."""
        with torch.no_grad(), self.engine.autocast():
            h: Tensor = self.critic.embedder(x)
        return h.float()

    def _next(self, h: Tensor) -> Tensor:
        """How far what the supervisor expects lies from the latents that come (eq. 9)."""
        once = 1 if self.generator.fixed else 0
        return _root_mean((h[:, once + 1 :] - self.generator.led(h)[:, once:-1]).float())

    def _update(self, name: str, loss: Tensor) -> None:
        self.engine.update(self.optimizers[name], loss)

    def exports(self) -> Mapping[str, nn.Module]:
        """The averaged generator with supervisor and recovery, and the critic with the embedder."""
        return {"generator": self.average, "critic": self.critic}

    def probe(self) -> Probe:
        """The pair as it is; what is drawn before the game is nothing to look at."""
        t = self.config.training
        average = self.average if t.ema_kimg or t.ema_end_kimg else None
        pair = {"generator": self.generator, "critic": self.critic}
        return Probe(self.generator, average, self.critic, pair, begun=self.reached == JOINT)


def _root_mean(errors: Tensor) -> Tensor:
    """Root of the mean square of the whole batch."""
    return (dist.whole(errors.square().flatten(1).mean(1)).mean() + SMALL).sqrt()


def moments_apart(drawn: Tensor, real: Tensor) -> Tensor:
    """Mean distance of the means and of the deviations of each channel at each step, over the batch (B, C, T)."""
    means = (drawn.mean(0) - real.mean(0)).abs().mean()
    deviations = [(x.var(0, correction=0) + SMALL).sqrt() for x in (drawn, real)]
    return means + (deviations[0] - deviations[1]).abs().mean()


methods.add(
    "timegan",
    TimeGan,
    "series: a game in the latents of an autoencoder that is learned with it (Yoon et al. 2019)",
)
