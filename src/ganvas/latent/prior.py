"""What an autoencoder's codes are drawn from: the normal that training aimed at, or a mixture fitted to the codes of images."""

from dataclasses import replace

import torch
from torch import Tensor

from ganvas import arrays
from ganvas.errors import GanvasError
from ganvas.model import Model
from ganvas.networks.coded import bare, coded


@torch.no_grad()
def fit_prior(model: Model, samples: Tensor, components: int = 10, seed: int = 0) -> Model:
    """The same encoder and decoder, drawn from a mixture of so many normals that is fitted to the codes of samples (n, ...).

    0: from the standard normal, as the decoder takes it. Of a posterior the codes are its means. Raises `GanvasError` for a model
    without an encoder, and one whose architecture is not known.
    """
    known, components = model.info.architecture, arrays.count(components, "components", 0)
    if known is None:
        raise GanvasError(
            f"The architecture of {model.info.name} is not known: its prior cannot be kept with it."
        )
    codes = {name: each for name, each in known.codes.items() if name in ("book", "dim")}
    codes |= {"components": components} if components else {}
    decoder, found = bare(model.generator), replace(known, codes=codes)
    generator = coded(decoder, found).to(model.device).eval().requires_grad_(False) if codes else decoder
    book = getattr(model.generator, "book", None)
    if codes.get("book"):
        generator.book = book
    if components:
        generator.mixture.fit(model.codes(samples), seed)
    training = model.info.training
    info = replace(
        model.info,
        architecture=found,
        training=None if training is None else replace(training, network=found),
    )
    return replace(model, generator=generator, info=info, path=None)
