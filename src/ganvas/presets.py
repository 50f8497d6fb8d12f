"""Ready-made runs: plain values with the reason for each choice. Imports no torch."""

from dataclasses import replace
from typing import Any

from ganvas.config import (
    AugmentConfig,
    Config,
    MethodConfig,
    NetworkConfig,
    ObjectiveConfig,
    OptimizerConfig,
    Options,
    PenaltyConfig,
    TermConfig,
    TrainingConfig,
)
from ganvas.errors import GanvasError
from ganvas.registry import Registry

presets: Registry[Config] = Registry("preset")

# The default for images of 8 to 64 px, found by measuring Frechet distance at equal minutes on a 2-core CPU
# (benchmarks/time_to_quality.py). When minutes are short, a thin critic and many small steps beat wide networks, and
# the generator's arithmetic is best spent at the small sizes: nothing hidden at the full size of the image.
SMALL = presets.add(
    "small",
    Config(
        preset="small",
        network=NetworkConfig(
            "dcgan",
            latent_dim=64,
            generator={"channels": 48, "last_up": True, "refine": True},
            critic={"channels": 16},
        ),
        objective=ObjectiveConfig(
            "hinge",
            # Lazy R1 costs a second backward pass on one step of eight only. Its weight matters most of all: after
            # 5 CPU minutes of Fashion-MNIST 0.05 stood at 14, 0.2 and 0.6 at 10.
            penalties=(PenaltyConfig("r1", weight=0.4, interval=8),),
        ),
        # No momentum: the other player moves the target. The rate falls to let both settle.
        optimizer=OptimizerConfig("adam", 2e-3, 2e-3, beta1=0.0, beta2=0.99, schedule="cosine"),
        # Minutes on a CPU are about 100 kimg; --kimg or --minutes replace the budget.
        training=TrainingConfig(kimg=600.0, batch=32, ema_kimg=10.0, ema_rampup=0.05, snapshot_kimg=50.0),
    ),
    "default for images of 8 to 64 px: dcgan pair, lazy R1, minibatch std, EMA; good within CPU minutes",
)

# Makhzani et al. 2015 take 8 numbers for MNIST: more leave directions of z that no image's code ever reaches, and what is drawn
# there is half formed. Frechet distance after 40 kimg of the digits, one seed: 12.5 with 16 numbers, 7.9 with 8, 5.1 with
# small batches, a faster critic of codes and a faster autoencoder besides; 6.3 with 12.
AAE = presets.add(
    "aae",
    Config(
        preset="aae",
        method=MethodConfig("aae"),
        network=NetworkConfig(
            "dcgan",
            latent_dim=8,
            generator={"channels": 48, "last_up": True, "refine": True},
            critic={"channels": 32, "minibatch_std": False},
        ),
        objective=ObjectiveConfig("non-saturating", penalties=(PenaltyConfig("r1", weight=0.1),)),
        optimizer=OptimizerConfig("adam", 2e-3, 2e-3, beta1=0.5, beta2=0.99, schedule="cosine"),
        training=TrainingConfig(kimg=400.0, batch=32, ema_kimg=10.0, ema_rampup=0.05, snapshot_kimg=50.0),
    ),
    "adversarial autoencoder: an encoder comes with the generator; reconstructs, and draws from a normal z",
)

PRIVATE = presets.add(
    "private",
    Config(
        preset="private",
        method=MethodConfig("private"),
        network=NetworkConfig(
            "dcgan",
            latent_dim=32,
            generator={"channels": 16, "last_up": True},
            critic={"channels": 8, "minibatch_std": False, "last_conv": False, "templates": True},
        ),
        # Without the term all samples of a class are one: minibatch std and packing, which show that to others' critics, would
        # break the guarantee. What the term looks at is drawn, and costs nothing.
        objective=ObjectiveConfig("non-saturating", terms=(TermConfig("mode-seeking"),)),
        optimizer=OptimizerConfig("adam", 1e-3, 1e-3, beta1=0.5, beta2=0.99),
        training=TrainingConfig(kimg=1000.0, batch=128, ema_kimg=100.0, ema_rampup=0.3, snapshot_kimg=200.0),
    ),
    "a critic that learns with noise: bounds what the model knows of any one image (--private)",
)

# The networks and rates of `aae`. What is drawn is the mixture of ten normals that each snapshot fits to the codes.
presets.add(
    "ae",
    replace(
        AAE,
        preset="ae",
        method=MethodConfig("ae"),
        # Frechet distance of reconstructions of Fashion-MNIST, one seed: 3.4 of 16 numbers after 198 kimg, 2.5 of 32 after 96.
        network=replace(AAE.network, latent_dim=32, codes={"components": 10}),
        objective=ObjectiveConfig("non-saturating"),
    ),
    "plain autoencoder: reduces the dimension, reconstructs, and draws from a mixture fitted to its codes",
)
presets.add(
    "vae",
    replace(
        AAE,
        preset="vae",
        method=MethodConfig("vae"),
        network=replace(AAE.network, latent_dim=16, codes={"components": 10}),
        objective=ObjectiveConfig("non-saturating"),
    ),
    "variational autoencoder: codes near the normal, drawn from a mixture fitted to them",
)

presets.add(
    "vae-gan",
    replace(
        AAE,
        preset="vae-gan",
        method=MethodConfig("vae-gan", options={"beta": 0.3}),
        network=replace(AAE.network, latent_dim=24, codes={"components": 10}),
        objective=ObjectiveConfig("hinge", penalties=(PenaltyConfig("r1", weight=0.4, interval=8),)),
    ),
    "variational autoencoder with a critic of images: sharper reconstructions and samples",
)
presets.add(
    "bigan",
    replace(
        SMALL,
        preset="bigan",
        method=MethodConfig("bigan"),
        network=replace(SMALL.network, latent_dim=16, critic={"channels": 32, "minibatch_std": False}),
        objective=ObjectiveConfig("non-saturating", penalties=(PenaltyConfig("r1", weight=0.4, interval=8),)),
    ),
    "a GAN whose encoder is learned with it, by a critic of image and code together",
)
presets.add(
    "vq",
    replace(
        AAE,
        preset="vq",
        method=MethodConfig("vq"),
        network=replace(AAE.network, latent_dim=64, codes={"components": 10, "book": 256, "dim": 4}),
        objective=ObjectiveConfig("non-saturating"),
    ),
    "autoencoder with a code book: 16 groups of 4 numbers, each one of 256 vectors",
)

# The game of `toy` on standardised codes, wider: a step costs a hundredth of one on pixels.
presets.add(
    "latent",
    Config(
        preset="latent",
        method=MethodConfig("latent"),
        network=NetworkConfig(
            "mlp",
            generator={"hidden": [256, 256, 256], "act": "leaky", "output": "linear", "residual": True},
            critic={"hidden": [256, 256, 256], "act": "leaky"},
            codes={"components": 10},
        ),
        objective=ObjectiveConfig(
            "relativistic", penalties=(PenaltyConfig("r1", weight=0.1), PenaltyConfig("r2", weight=0.1))
        ),
        optimizer=OptimizerConfig("adam", 1e-3, 1e-3, beta1=0.0, beta2=0.99, schedule="cosine"),
        training=TrainingConfig(
            kimg=2000.0,
            batch=128,
            ema_kimg=50.0,
            ema_rampup=0.05,
            snapshot_kimg=200.0,
            log_kimg=10.0,
            monitor_kimg=40.0,
        ),
    ),
    "a GAN in the latent space of an autoencoder, with --in-latent: minutes on a CPU",
)

TOY = presets.add(
    "toy",
    Config(
        preset="toy",
        network=NetworkConfig(
            "mlp",
            latent_dim=2,
            generator={"hidden": [256, 256, 256], "output": "linear"},
            # Modes of width 0.05 in a square of 8 need sines to be seen: without them 17 % of the samples were good after
            # 400 kimg of the 25 Gaussians, with them (and R2) 38 %.
            critic={"hidden": [256, 256, 256], "act": "leaky", "fourier": 3},
        ),
        # Real against fake with R1 + R2 keeps all modes while the detail comes. Small batches: it is steps that sharpen.
        objective=ObjectiveConfig(
            "relativistic", penalties=(PenaltyConfig("r1", weight=0.1), PenaltyConfig("r2", weight=0.1))
        ),
        optimizer=OptimizerConfig("adam", 1e-3, 1e-3, beta1=0.5, beta2=0.99, schedule="cosine"),
        training=TrainingConfig(
            kimg=1500.0, batch=100, ema_kimg=10.0, snapshot_kimg=150.0, log_kimg=10.0, monitor_kimg=20.0
        ),
    ),
    "default for 2-D points: dense pair, relativistic with R1 + R2, sines in the critic",
)

presets.add(
    "series",
    Config(
        preset="series",
        network=NetworkConfig(
            "recurrent", latent_dim=32, generator={"channels": 96}, critic={"channels": 96}
        ),
        objective=ObjectiveConfig(
            "relativistic",
            penalties=(
                PenaltyConfig("r1", weight=0.1, weight_end=0.01, interval=2),
                PenaltyConfig("r2", weight=0.1, weight_end=0.01, interval=2),
            ),
        ),
        optimizer=OptimizerConfig("adam", 1e-3, 1e-3, beta1=0.0, beta2=0.99, schedule="cosine"),
        training=TrainingConfig(
            kimg=600.0, batch=64, ema_kimg=10.0, snapshot_kimg=50.0, log_kimg=5.0, monitor_kimg=10.0
        ),
    ),
    "default for series: recurrent pair, chunks of steps, each window with its own centre and half-range",
)

# One layer of 24 units and not the published three of as many: a step costs a third, and the budget is five CPU minutes. Rates,
# batch and momentum are those of the published code.
presets.add(
    "timegan",
    Config(
        preset="timegan",
        method=MethodConfig("timegan"),
        network=NetworkConfig("timegan", latent_dim=16, generator={"channels": 24}, critic={"channels": 24}),
        objective=ObjectiveConfig("non-saturating"),
        optimizer=OptimizerConfig("adam", 1e-3, 1e-3, beta1=0.9, beta2=0.999),
        training=TrainingConfig(
            kimg=1500.0, batch=128, ema_kimg=10.0, snapshot_kimg=100.0, log_kimg=5.0, monitor_kimg=10.0
        ),
    ),
    "TimeGAN: a game in the latents of an autoencoder that is learned with it, step by step; for comparison",
)

# The seed article's pair and figures, to the letter; batch 32 for 100 epochs of 60,000 images.
presets.add(
    "article",
    Config(
        preset="article",
        network=NetworkConfig(
            "mlp",
            latent_dim=100,
            generator={"hidden": [128, 128], "act": "relu", "output": "sigmoid"},
            critic={"hidden": [128, 128], "act": "relu"},
        ),
        # The article writes the generator's loss as cross-entropy against "real", the non-saturating form.
        objective=ObjectiveConfig("non-saturating"),
        optimizer=OptimizerConfig("adam", 2e-4, 2e-4, beta1=0.5, beta2=0.999),
        training=TrainingConfig(kimg=6000.0, batch=32, ema_kimg=0.0),
    ),
    "the article's dense pair: 100-128-128-784 against 784-128-128-1, cross-entropy, Adam 2e-4, batch 32",
)

# The recipe that most people start from: batch norm in both networks, no averaging, no penalty.
presets.add(
    "tutorial",
    Config(
        preset="tutorial",
        network=NetworkConfig(
            "dcgan",
            latent_dim=100,
            generator={"channels": 32, "last_up": True, "init_std": 0.02},
            critic={
                "channels": 32,
                "norm": "batch",
                "minibatch_std": False,
                "last_conv": False,
                "init_std": 0.02,
            },
        ),
        objective=ObjectiveConfig("non-saturating"),
        optimizer=OptimizerConfig("adam", 2e-4, 2e-4, beta1=0.5, beta2=0.999),
        training=TrainingConfig(kimg=1500.0, batch=128, ema_kimg=0.0, channels_last=False),
    ),
    "the well-known DCGAN tutorial recipe, for comparison",
)

# Arjovsky et al. 2017, algorithm 1: RMSprop 5e-5, weights clipped to 0.01, five critic steps.
presets.add(
    "wgan",
    replace(
        SMALL,
        preset="wgan",
        network=replace(SMALL.network, critic={"channels": 32, "minibatch_std": False}),
        objective=ObjectiveConfig(
            "wasserstein", penalties=(PenaltyConfig("clip", bound=0.01),), critic_steps=5
        ),
        optimizer=OptimizerConfig("rmsprop", 5e-5, 5e-5),
        training=replace(SMALL.training, batch=64),
    ),
    "the original Wasserstein GAN: RMSprop, clipped weights, five critic steps",
)

# Gulrajani et al. 2017: lambda 10, five critic steps, Adam 1e-4 with betas 0 and 0.9, residual pair.
presets.add(
    "wgan-gp",
    replace(
        SMALL,
        preset="wgan-gp",
        network=NetworkConfig(
            "resnet",
            latent_dim=128,
            generator={"channels": 64},
            critic={"channels": 64, "spectral_norm": False},
        ),
        objective=ObjectiveConfig("wasserstein", penalties=(PenaltyConfig("wgan-gp", 10.0),), critic_steps=5),
        optimizer=OptimizerConfig("adam", 1e-4, 1e-4, beta1=0.0, beta2=0.9, schedule="linear"),
        training=replace(SMALL.training, batch=64),
    ),
    "residual pair with the Wasserstein loss and gradient penalty",
)

# Miyato et al. 2018 at 32 px: hinge, Adam 2e-4 with betas 0 and 0.9, five critic steps, linear decay.
presets.add(
    "sngan",
    replace(
        SMALL,
        preset="sngan",
        network=NetworkConfig(
            "resnet",
            latent_dim=128,
            generator={"channels": 128},
            critic={"channels": 128, "spectral_heads": True},
        ),
        objective=ObjectiveConfig("hinge", critic_steps=5),
        optimizer=OptimizerConfig("adam", 2e-4, 2e-4, beta1=0.0, beta2=0.9, schedule="linear"),
        training=replace(SMALL.training, kimg=32_000.0, batch=64, snapshot_kimg=500.0, log_kimg=10.0),
    ),
    "residual pair with spectral norm and hinge loss: for a GPU",
)


# An hour on a CPU. With equalised learning rates weights are about 1, so rates are ten times those of plain layers; the
# mapping network learns ten times slower, not a hundred times as published: with so few images it would not learn at all.
# Style mixing costs quality in short runs, so it is off. Gamma by runs of 100 kimg: 17.8 with 0.4, 16.0 with 0.8. A rate of 0.04
# is best in so short a run (15.0), where it falls soon; in a long one the monitor shows the same latents wandering.
HOUR = presets.add(
    "hour",
    replace(
        SMALL,
        preset="hour",
        network=NetworkConfig(
            "style",
            latent_dim=64,
            generator={"channels": 32, "last_up": True, "mapping_rate": 0.1, "style_mixing": 0.0},
            critic={"channels": 16, "residual": False},
        ),
        objective=ObjectiveConfig("hinge", penalties=(PenaltyConfig("r1", weight=0.8, interval=8),)),
        optimizer=OptimizerConfig("adam", 1.5e-2, 1.5e-2, beta1=0.0, beta2=0.99, schedule="cosine"),
        training=TrainingConfig(
            kimg=None, minutes=60.0, batch=64, ema_kimg=20.0, snapshot_kimg=100.0, eval_kimg=0.0, log_kimg=4.0,
            monitor_kimg=8.0,
        ),
    ),
    "style-based pair for an hour of CPU on images of 8 to 64 px; exposes w, w+ and styles",
)  # fmt: skip

# Karras et al. 2020 (limited data), configuration `cifar`: batch 64, rate 0.0025, gamma 0.01, EMA 500 kimg, no path length, no
# style mixing. A critic with residual blocks pays off when there is a GPU.
GPU = presets.add(
    "gpu",
    replace(
        HOUR,
        preset="gpu",
        network=NetworkConfig(
            "style",
            latent_dim=512,
            generator={"channels": 128, "style_mixing": 0.0},
            critic={"channels": 128},
        ),
        objective=ObjectiveConfig(
            "non-saturating", penalties=(PenaltyConfig("r1", weight=0.01, interval=16),)
        ),
        optimizer=OptimizerConfig("adam", 2.5e-3, 2.5e-3, beta1=0.0, beta2=0.99),
        training=TrainingConfig(
            kimg=10_000.0,
            batch=64,
            ema_kimg=500.0,
            snapshot_kimg=200.0,
            log_kimg=10.0,
            monitor_kimg=20.0,
            eval_kimg=200.0,
        ),
    ),
    "StyleGAN2 with the published CIFAR-10 settings, for a GPU and images of 28 or 32 px",
)

# Folders of pictures are small more often than not: the critic sees them augmented, by as much as it over-fits (ADA's controller;
# DiffAugment's transforms, which cost a CPU a tenth of ADA's).
ADA = AugmentConfig(policy=("colour", "translation", "cutout"), p=0.0, target=0.6, kimg=100.0)

presets.add(
    "photo",
    replace(SMALL, preset="photo", augment=ADA),
    "like small, with adaptive augmentation: colour folders of 32 or 64 px on a CPU within minutes",
)

presets.add(
    "photo-hour",
    replace(HOUR, preset="photo-hour", augment=ADA),
    "like hour, with adaptive augmentation: colour folders of 32 or 64 px on a CPU",
)

# Sauer et al. 2021 have neither a critic of pixels nor a penalty, and batch norm in the small critics. Within minutes that
# draws two or three kinds of pictures; with a plain critic beside it, R1 and no norms it keeps more of them.
presets.add(
    "projected",
    replace(
        SMALL,
        preset="projected",
        network=NetworkConfig(
            "projected",
            latent_dim=64,
            generator=SMALL.network.generator,
            critic={"features": "efficientnet-lite0", "channels": 32, "norm": "none", "pixels": 16},
        ),
        augment=ADA,
    ),
    "like photo, the critic looking through a frozen pretrained network as well (extra features); 8 to 256 px",
)

# Karras et al. 2020 (limited data), configuration `auto` at 64 px: gamma 0.0002 x 64^2 / 32, with ADA's own
# augmentations at their published speed.
presets.add(
    "photo-gpu",
    replace(
        GPU,
        preset="photo-gpu",
        network=NetworkConfig("style", latent_dim=512, generator={"channels": 64}, critic={"channels": 64}),
        objective=ObjectiveConfig(
            "non-saturating",
            penalties=(PenaltyConfig("r1", weight=0.0256, interval=16),),
            terms=(TermConfig("path-length"),),
        ),
        augment=AugmentConfig(policy=("bgc",), p=0.0, target=0.6, limit=1.0),
        training=replace(GPU.training, batch=32, ema_kimg=10.0),
    ),
    "StyleGAN2-ADA for a GPU and colour folders of 64 px",
)

# The same configuration at 256 px: batch 4096 / 256, gamma 0.0002 x 256^2 / 16, EMA of 16 x 10 / 32 kimg. Half its width, so that
# an hour of one GPU shows enough pictures.
presets.add(
    "photo-256",
    replace(
        presets.get("photo-gpu"),
        preset="photo-256",
        network=NetworkConfig("style", latent_dim=512, generator={"channels": 32}, critic={"channels": 32}),
        objective=ObjectiveConfig(
            "non-saturating",
            penalties=(PenaltyConfig("r1", weight=0.8192, interval=16),),
            terms=(TermConfig("path-length"),),
        ),
        training=replace(GPU.training, batch=16, ema_kimg=5.0),
    ),
    "StyleGAN2-ADA for a GPU and colour folders of 128 or 256 px, at half the published width",
)

# Huang et al. 2024 at a size for CPUs: relativistic loss, R1 and R2 in every step, no momentum, no norms.
presets.add(
    "r3",
    replace(
        SMALL,
        preset="r3",
        network=NetworkConfig("r3", latent_dim=64, generator={"channels": 16}, critic={"channels": 16}),
        objective=ObjectiveConfig(
            "relativistic", penalties=(PenaltyConfig("r1", 0.5), PenaltyConfig("r2", 0.5))
        ),
        optimizer=OptimizerConfig("adam", 1e-3, 1e-3, beta1=0.0, beta2=0.99, schedule="cosine"),
    ),
    "R3GAN: relativistic loss with R1 + R2, residual blocks without norms",
)

# Huang et al. 2024 as published for CIFAR-10: four stages of 768 maps, two blocks each, groups of 16; rates, gamma, beta2,
# averaging and augmentation on cosines over 20,000 kimg. Theirs took eight GPUs; add --conditional where there are labels.
presets.add(
    "r3-paper",
    replace(
        GPU,
        preset="r3-paper",
        network=NetworkConfig(
            "r3",
            latent_dim=64,
            generator={"channels": 768, "max_channels": 768, "published": True},
            critic={"channels": 768, "max_channels": 768, "published": True},
        ),
        objective=ObjectiveConfig(
            "relativistic",
            penalties=(
                PenaltyConfig("r1", 0.05, weight_end=0.005),
                PenaltyConfig("r2", 0.05, weight_end=0.005),
            ),
        ),
        augment=AugmentConfig(policy=("bgc-r3", "cutout"), p=0.0, p_end=0.55),
        optimizer=OptimizerConfig(
            "adam", 2e-4, 2e-4, beta1=0.0, beta2=0.9, beta2_end=0.99, schedule="cosine", rate_end=0.25
        ),
        training=replace(
            GPU.training, kimg=20_000.0, batch=512, ema_kimg=0.0, ema_end_kimg=5_000.0, ema_rampup=None
        ),
    ),
    "R3GAN as published for CIFAR-10, with its schedules: for a GPU and days, 28 or 32 px",
)

# Karras et al. 2018: Wasserstein loss with gradient penalty and drift, Adam 1e-3 with betas 0 and 0.99, both networks
# equalised. The published schedule is 600 + 600 kimg a size; a CPU gets a tenth.
presets.add(
    "progressive",
    replace(
        SMALL,
        preset="progressive",
        network=NetworkConfig(
            "progressive",
            latent_dim=128,
            generator={"channels": 32, "stable_kimg": 40.0, "fade_kimg": 40.0, "published": True},
            critic={"channels": 32, "published": True},
        ),
        objective=ObjectiveConfig(
            "wasserstein", penalties=(PenaltyConfig("wgan-gp", 10.0), PenaltyConfig("drift", 0.001))
        ),
        optimizer=OptimizerConfig("adam", 1e-3, 1e-3, beta1=0.0, beta2=0.99),
        training=replace(SMALL.training, batch=16),
    ),
    "progressive growing with fade-in, Wasserstein loss with gradient penalty",
)

# Zhang et al. 2019: hinge, rates 1e-4 and 4e-4, attention where the maps have half the side, spectral norm in both
# networks and in the heads, labels in the norm and by projection (add --conditional).
presets.add(
    "sagan",
    replace(
        SMALL,
        preset="sagan",
        network=NetworkConfig(
            "resnet",
            latent_dim=128,
            generator={"channels": 64, "norm": "conditional", "attention": 16, "spectral_norm": True},
            critic={"channels": 64, "attention": 16, "spectral_heads": True},
        ),
        objective=ObjectiveConfig("hinge"),
        optimizer=OptimizerConfig("adam", 1e-4, 4e-4, beta1=0.0, beta2=0.9),
        training=replace(SMALL.training, batch=64),
    ),
    "residual pair with self-attention, spectral norm and per-class norm (add --conditional), 32 px",
)

# Brock et al. 2019 at a size for CPUs: one vector of a class for all norms (add --conditional), the whole z in each of them,
# spectral norm in both networks, two steps of the critic for one of the generator, orthogonal regularisation on one step of
# eight only. The rates are twice the published ones, whose batch is 32 times as large.
presets.add(
    "biggan",
    replace(
        SMALL,
        preset="biggan",
        network=NetworkConfig(
            "biggan",
            latent_dim=64,
            generator={"channels": 16, "spectral_norm": True},
            critic={"channels": 64, "spectral_heads": True},
        ),
        objective=ObjectiveConfig("hinge", critic_steps=2, terms=(TermConfig("orthogonal", interval=8),)),
        optimizer=OptimizerConfig("adam", 1e-4, 4e-4, beta1=0.0, beta2=0.999),
        training=replace(SMALL.training, batch=64),
    ),
    "BigGAN-deep's generator, shared class vectors, orthogonal regularisation (add --conditional), 8 to 64 px",
)

WIDTHS = ("channels", "hidden")
"""The options of a network that --size scales; a `max_channels` that is written out, too."""
SIZES = {"xs": 0.5, "s": 1.0, "m": 2.0, "l": 4.0}
"""What --size multiplies the widths of both networks by."""


def resized(config: Config, size: str) -> Config:
    """The same run with networks of another width: every `channels` and `hidden` times what `size` stands for."""
    if size not in SIZES:
        raise GanvasError(f"Unknown size {size!r}. Use {', '.join(SIZES)}.")

    def scale(options: Options) -> dict[str, Any]:
        def wider(value: Any) -> Any:
            return (
                [wider(each) for each in value]
                if isinstance(value, list | tuple)
                else max(1, round(value * SIZES[size]))
            )

        return {
            name: wider(value) if name in (*WIDTHS, "max_channels") else value
            for name, value in options.items()
        }

    network = replace(
        config.network, generator=scale(config.network.generator), critic=scale(config.network.critic)
    )
    return replace(config, network=network)


def default_preset(kind: str) -> str:
    """The preset that `ganvas train DATA` takes for images, series or points when none is named."""
    return {"images": "small", "series": "series", "points": "toy"}[kind]
