"""What a game may have besides its loss and its penalties: a registry of terms, each one function or a few lines.

A term adds to the generator's loss, to the critic's, moves the latents before they are drawn from, or chooses which fakes
teach. `objective.terms` names those of a run with their weights; a term that belongs to a head of the critic joins by itself
wherever the critic has that head.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ganvas import dist
from ganvas.losses import auxiliary
from ganvas.losses.augment import augment
from ganvas.registry import Registry


class Output(Protocol):
    """What a critic says of B samples: `ganvas.networks.Answer`, whose other fields are the heads."""

    @property
    def logits(self) -> Tensor:
        """(B,)"""

    @property
    def judged(self) -> Tensor:
        """(B, K): what the loss judges, K = 1 for most critics."""

    @property
    def features(self) -> Tensor:
        """(B, F)"""

    @property
    def classes(self) -> Tensor | None:
        """(B, classes)"""

    @property
    def codes(self) -> Tensor | None:
        """(B, codes)"""

    @property
    def categories(self) -> Tensor | None:
        """(B, sum of the sizes)"""


@dataclass(frozen=True)
class StepView:
    """What a term may look at: this process's part of a batch, B samples. `dist.whole` gives the other parts."""

    z: Tensor
    """(B, Z), before noise is added to it."""
    labels: Tensor | None
    generator: Any
    critic: Callable[[Tensor, Tensor | None], Output]
    """Samples and labels -> its output, differentiable twice."""
    latents: Callable[[], Tensor]
    """Fresh ones (B, Z)."""
    normal: Callable[..., Tensor]
    """Sizes -> standard normal numbers (B, *sizes)."""
    uniform: Callable[..., Tensor]
    categorical: tuple[int, ...] = ()
    """Sizes of the one-hot blocks that z begins with."""
    real: Tensor | None = None
    fake: Tensor | None = None
    on_real: Output | None = None
    """The critic's output on what it saw of the real samples; in the generator's step only where a term `pairs`."""
    on_fake: Output | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """What the generator drew the fakes with beside z: noise, latents mixed in (`GeneratorBase.training_inputs`)."""
    seen: Callable[[Tensor], Tensor] = lambda samples: samples
    """What the critic gets to see of samples: augmented as `real` and `fake` are in its step."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """`TermConfig.options`."""
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    """`Term.memory` as it is now, to be changed in place."""


@dataclass(frozen=True)
class Term:
    """A term's parts; most have one. `generator` and `critic` return a scalar that is multiplied by the weight."""

    generator: Callable[[StepView], Tensor] | None = None
    critic: Callable[[StepView], Tensor] | None = None
    latents: Callable[[StepView, float], Tensor] | None = None
    """(view, weight) -> z moved; the fakes are drawn from it."""
    choose: Callable[[Tensor, float], Tensor] | None = None
    """(logits of the whole batch, weight) -> indices of the fakes that teach the generator."""
    weight: float = 1.0
    """When neither the preset nor the user says one."""
    most: float | None = None
    """The largest weight that means something."""
    falls: bool = False
    """The weight counts from 1 at the start to its own value at half of the budget."""
    interval: int = 1
    """Applied every so many steps, and scaled by the same number."""
    head: str = ""
    """A head of the critic, a field of its output: the term joins wherever there is one."""
    pairs: bool = False
    """Its generator part looks at `on_real`."""
    style_based: bool = False
    """Needs a generator with a mapping network."""
    of_images: bool = False
    """Looks at rows and columns of pixels."""
    reported: bool = True
    """Counts in `loss_generator`; a regulariser does not."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Name -> default of what `TermConfig.options` may hold."""
    memory: Mapping[str, float] = field(default_factory=dict)
    """Name -> start of the numbers that it keeps from step to step; part of the state of a run."""


terms: Registry[Term] = Registry("term")


def _feature_matching(view: StepView) -> Tensor:
    assert view.on_real is not None
    assert view.on_fake is not None
    return auxiliary.feature_matching(dist.whole(view.on_real.features), dist.whole(view.on_fake.features))


def _mode_seeking(view: StepView) -> Tensor:
    assert view.fake is not None
    known = None if view.labels is None else dist.whole(view.labels)
    return auxiliary.mode_seeking(dist.whole(view.fake), dist.whole(view.z), known)


def _class_loss(output: Output | None, labels: Tensor | None) -> Tensor:
    assert output is not None
    assert output.classes is not None
    assert labels is not None
    return auxiliary.class_loss(output.classes, labels)


def _categories(view: StepView) -> Tensor:
    assert view.on_fake is not None
    assert view.on_fake.categories is not None
    return auxiliary.category_loss(view.on_fake.categories, view.z, view.categorical)


def _codes(view: StepView) -> Tensor:
    assert view.on_fake is not None
    assert view.on_fake.codes is not None
    return auxiliary.code_loss(view.on_fake.codes, view.z[:, sum(view.categorical) :])


def _path_length(view: StepView) -> Tensor:
    """Squared distance of the path lengths to their running mean, on half the batch as published."""
    generator, z = view.generator, view.latents()
    rows = torch.arange(max(1, len(dist.whole(z)) // 2), device=z.device)
    if view.labels is not None:
        # Batches are sorted by class: the first half of one would never hold the last classes.
        rows = 2 * rows

    def some(part: Tensor) -> Tensor:
        """This process's part of that half of the whole batch."""
        return dist.mine(dist.whole(part)[rows])

    z, labels = some(z), None if view.labels is None else some(view.labels)
    w_plus = generator.broadcast(generator.mapping(z, labels))
    inputs = generator.training_inputs(view.normal, view.uniform)
    drawn = generator.synthesis(generator.styles(w_plus), [some(each) for each in inputs["noise"]])
    lengths = auxiliary.path_lengths(drawn, w_plus, some(view.normal(*drawn.shape[1:])))
    mean = generator.path_mean.lerp(dist.mean(lengths.detach().mean()), 0.01)
    generator.path_mean.copy_(mean)
    penalty: Tensor = (lengths - mean).square().mean()
    return penalty


def _orthogonal(view: StepView) -> Tensor:
    """Of every weight of the generator but the vectors of classes, of all norms or of each, which begin alike."""
    tables = {id(m.weight) for m in view.generator.modules() if isinstance(m, nn.Embedding)}
    weights = view.generator.parameters()
    return auxiliary.orthogonality(w for w in weights if w.dim() > 1 and id(w) not in tables)


def _towards_real(view: StepView, step: float) -> Tensor:
    """One natural-gradient step of z: z + a g / (b + |g|^2) with g the gradient of the logit (LOGAN, Wu et al. 2019).

    The step itself is not differentiated through, which saves the second derivatives.
    """
    with torch.enable_grad():
        start = view.z.detach().requires_grad_(True)
        logits = view.critic(view.generator(start, view.labels).float(), view.labels).logits
        (g,) = torch.autograd.grad(logits.sum(), start)
    moved: Tensor = step * g / (view.options["damping"] + g.square().sum(1, keepdim=True))
    return (view.z + moved).detach()


def _lecam(view: StepView) -> Tensor:
    """Squared distance of the real logits to the fakes' running mean, and the other way round (Tseng et al. 2021, eq. 5)."""
    assert view.on_real is not None
    assert view.on_fake is not None
    real, fake = view.on_real.judged, view.on_fake.judged
    for name, logits in (("real", real), ("fake", fake)):
        mean = dist.mean(logits.detach().mean())
        view.memory[name].lerp_(mean, 1 - view.options["decay"])
    of_real: Tensor = (real - view.memory["fake"]).square().mean()
    return of_real + (fake - view.memory["real"]).square().mean()


def _balanced_consistency(view: StepView) -> Tensor:
    """Shifted and mirrored images must have the logits that they had, real and drawn ones (Zhao et al. 2021, eq. 1 and 2)."""
    assert view.real is not None
    assert view.fake is not None
    assert view.on_real is not None
    assert view.on_fake is not None
    total = torch.zeros((), device=view.z.device)
    for samples, before in ((view.real, view.on_real), (view.fake, view.on_fake)):
        moved = augment(samples, ("flip", "translation"), 1.0, view.uniform, view.generator.value_range)
        total = total + (before.judged - view.critic(moved, view.labels).judged).square().mean()
    return total


def _beside(view: StepView) -> Tensor:
    """(B, Z) near z, drawn from with the noise and the mixed latents of the fakes, beside which they would be far away."""
    near = view.z + view.options["sigma"] * view.normal(view.z.shape[1])
    drawn: Tensor = view.generator(near, view.labels, **view.inputs).float()
    return drawn


def _latent_consistency(view: StepView) -> Tensor:
    """What is drawn from near latents must have logits near those of the fakes (Zhao et al. 2021, eq. 3)."""
    assert view.on_fake is not None
    with torch.no_grad():
        near = view.seen(_beside(view))
    return (view.on_fake.judged - view.critic(near, view.labels).judged).square().mean()


def _latent_difference(view: StepView) -> Tensor:
    """And must not be the same, which the generator sees to: the mean square of the difference, negative (eq. 4)."""
    assert view.fake is not None
    apart: Tensor = (view.fake - _beside(view)).square().mean()
    return -float(view.options["apart"]) * apart


terms.add(
    "auxiliary",
    Term(
        generator=lambda view: _class_loss(view.on_fake, view.labels),
        critic=lambda view: _class_loss(view.on_real, view.labels),
        head="classes",
    ),
    "the critic names the class, the generator is told (AC-GAN, Odena et al. 2017); by critic.auxiliary",
)
terms.add(
    "categories",
    Term(_categories, _categories, head="categories"),
    "the critic guesses the one-hot codes of z (InfoGAN, Chen et al. 2016); by network.categorical",
)
terms.add(
    "codes",
    Term(_codes, _codes, weight=0.1, head="codes"),
    "the critic guesses numbers of z (InfoGAN, Chen et al. 2016); by critic.codes",
)
terms.add(
    "feature-matching",
    Term(_feature_matching, pairs=True),
    "mean features of the critic must agree (Salimans et al. 2016)",
)
terms.add(
    "lecam",
    Term(critic=_lecam, weight=0.1, memory={"real": 0.0, "fake": 0.0}, options={"decay": 0.99}),
    "logits stay near the other side's running mean, for little data (Tseng et al. 2021)",
)
terms.add(
    "bcr",
    Term(critic=_balanced_consistency, weight=10.0, of_images=True),
    "shifted and mirrored images, real and drawn, keep their logits (balanced consistency, Zhao et al. 2021)",
)
terms.add(
    "zcr",
    Term(_latent_difference, _latent_consistency, weight=5.0, options={"sigma": 0.05, "apart": 0.1}),
    "near latents give other images with near logits (latent consistency, Zhao et al. 2021)",
)
terms.add(
    "mode-seeking",
    Term(_mode_seeking, weight=0.1),
    "samples must move when their latents do (Mao et al. 2019)",
)
terms.add(
    "path-length",
    Term(_path_length, weight=2.0, interval=4, style_based=True, reported=False),
    "equal steps in w give equal changes, for style-based generators (Karras et al. 2020)",
)
terms.add(
    "orthogonal",
    Term(_orthogonal, weight=1e-4, reported=False),
    "weights of the generator at right angles to each other, for truncated z (BigGAN, Brock et al. 2019)",
)
terms.add(
    "latent-optimisation",
    Term(latents=_towards_real, weight=0.9, options={"damping": 0.1}),
    "every latent takes a step towards what the critic takes for real (LOGAN, Wu et al. 2019)",
)
terms.add(
    "top-k",
    Term(choose=auxiliary.top_k, weight=0.5, most=1.0, falls=True),
    "only the most convincing share of the fakes teaches the generator (Sinha et al. 2020)",
)
