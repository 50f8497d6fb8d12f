"""Ready-made runs: plain values with the reason for each choice. Imports no torch."""

from dataclasses import replace

from ganvas.config import (
    Config,
    NetworkConfig,
    ObjectiveConfig,
    OptimizerConfig,
    PenaltyConfig,
    TrainingConfig,
)
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

TOY = presets.add(
    "toy",
    Config(
        preset="toy",
        network=NetworkConfig(
            "mlp",
            latent_dim=2,
            generator={"hidden": [256, 256, 256], "output": "linear"},
            critic={"hidden": [256, 256, 256], "act": "leaky"},
        ),
        objective=ObjectiveConfig("non-saturating", penalties=(PenaltyConfig("r1", weight=0.1),)),
        optimizer=OptimizerConfig("adam", 1e-3, 1e-3, beta1=0.0, beta2=0.99, schedule="cosine"),
        training=TrainingConfig(kimg=2000.0, batch=256, ema_kimg=10.0, snapshot_kimg=200.0, log_kimg=20.0),
    ),
    "default for 2-D points: dense pair with R1",
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
        objective=ObjectiveConfig("wasserstein", penalties=(PenaltyConfig("clip", 0.01),), critic_steps=5),
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
        network=NetworkConfig("resnet", latent_dim=128, generator={"channels": 128}, critic={"channels": 128}),
        objective=ObjectiveConfig("hinge", critic_steps=5),
        optimizer=OptimizerConfig("adam", 2e-4, 2e-4, beta1=0.0, beta2=0.9, schedule="linear"),
        training=replace(SMALL.training, kimg=32_000.0, batch=64, snapshot_kimg=500.0, log_kimg=10.0),
    ),
    "residual pair with spectral norm and hinge loss: for a GPU",
)


def default_preset(is_images: bool) -> str:
    """The preset that `ganvas train DATA` takes when none is named."""
    return "small" if is_images else "toy"
