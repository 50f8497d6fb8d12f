"""What an autoencoder's codes are drawn from: the normal that training aimed at, or a mixture fitted to the codes of images."""

from dataclasses import replace

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.model import Model
from ganvas.networks import UNKNOWN
from ganvas.networks.coded import MOST_COMPONENTS, Coded, bare


@torch.no_grad()
def fit_prior(model: Model, samples: Tensor, components: int = 10, seed: int = 0) -> Model:
    """The same encoder and decoder, drawn from a mixture of so many normals that is fitted to the codes of samples (n, ...).

    At most 64; 0: from the standard normal, as the decoder takes it. Of a posterior the codes are its means. What was held
    out of the training does not belong among the samples: the model's file goes on saying that it has not seen it.
    Raises `GanvasError` for a model without an encoder, and for 0 where the decoder takes no normal codes.
    """
    known, components = model.info.architecture, arrays.count(components, "components", 0, MOST_COMPONENTS)
    if not components and bare(model.generator).prior == UNKNOWN:
        raise GanvasError(
            "The codes of this decoder are not normal: 0 components draw no picture. Give 1 or more."
        )
    before = {} if known is None else known.codes
    codes = {name: each for name, each in before.items() if name in ("book", "dim")}
    codes |= {"components": components} if components else {}
    generator = bare(model.generator)
    if codes:
        whole = Coded(generator, codes).to(model.device).eval().requires_grad_(False)
        if isinstance(model.generator, Coded):
            whole.book = model.generator.book
        if whole.mixture is not None:
            whole.mixture.fit(model.codes(samples), seed)
        generator = whole
    info = replace(model.info.changed(), latent_dim=generator.latent_dim, prior=generator.prior)
    if known is not None:
        found = replace(known, codes=codes)
        training = None if info.training is None else replace(info.training, network=found)
        info = replace(info, architecture=found, training=training)
    return replace(model, generator=generator, info=info, path=None)
