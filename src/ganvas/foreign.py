"""Generators that ganvas did not make: `ganvas.wrap(module, latent_dim=...)` gives a `Model` that every tool takes."""

import inspect
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganvas.config import Config
from ganvas.errors import GanvasError
from ganvas.model import Model
from ganvas.networks.base import GeneratorBase

Prior = Literal["normal", "uniform", "sphere"]


class WrappedGenerator(GeneratorBase):
    """A foreign module behind the interface of ours; its own layers keep their names below `module`."""

    def __init__(
        self,
        module: nn.Module,
        shape: tuple[int, ...],
        latent_dim: int,
        latent_shape: tuple[int, ...],
        num_classes: int,
        value_range: tuple[float, float],
        prior: Prior,
    ) -> None:
        super().__init__(shape, latent_dim, num_classes, value_range, embed=False)
        self.module, self.latent_shape, self.prior = module, latent_shape, prior

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        z = self.with_labels(z, labels).reshape(len(z), *self.latent_shape)
        drawn: Tensor = self.module(z, labels) if self.num_classes else self.module(z)
        return drawn.reshape(len(z), *self.shape)


def wrap(
    module: nn.Module,
    *,
    latent_dim: int,
    shape: tuple[int, ...] | None = None,
    latent_shape: tuple[int, ...] | None = None,
    num_classes: int = 0,
    value_range: tuple[float, float] | None = None,
    prior: Prior = "normal",
) -> Model:
    """A `Model` around any module that maps latents (B, latent_dim) to samples.

    What is left out is found by running the module: `latent_shape` is (latent_dim,) or (latent_dim, 1, 1), `shape` that of
    its samples, `value_range` (-1, 1) or (0, 1) by the values that it draws. With `num_classes` it gets labels (B,) too. The
    module is put into evaluation mode and its weights are frozen. Raises `GanvasError` saying what does not fit.
    """
    if latent_dim < 1 or prior not in ("normal", "uniform", "sphere"):
        raise GanvasError(
            f"wrap needs latent_dim of at least 1 and a prior of normal, uniform or sphere, got {latent_dim}, {prior!r}."
        )
    module = module.eval().requires_grad_(False)
    shapes = [latent_shape] if latent_shape else [(latent_dim,), (latent_dim, 1, 1)]
    drawn: Tensor | None = None
    errors: list[str] = []
    for candidate in shapes:
        try:
            drawn = _run(module, latent_dim, candidate, num_classes)
            latent_shape = candidate
            break
        except Exception as error:  # whatever a foreign module raises
            errors.append(f"{('B', *candidate)}: {type(error).__name__}: {str(error).splitlines()[0]}")
    if drawn is None or latent_shape is None:
        parameters = list(inspect.signature(module.forward).parameters)
        call = f"{type(module).__name__}.forward({', '.join(parameters)})"
        raise GanvasError(
            f"{call} can not be called with latents of shape {'; or '.join(errors)}. "
            "Give latent_dim, latent_shape and num_classes as it wants them."
        )
    if drawn.dim() < 2 or len(drawn) != 4 or not drawn.is_floating_point():
        raise GanvasError(
            f"{type(module).__name__} gave {tuple(drawn.shape)} of {drawn.dtype} for 4 latents; expected 4 float samples."
        )
    found = shape or tuple(drawn.shape[1:])
    if drawn[0].numel() != torch.Size(found).numel():
        raise GanvasError(
            f"{type(module).__name__} draws {tuple(drawn.shape[1:])}, which is not shape {found}."
        )
    if not torch.isfinite(drawn).all():
        raise GanvasError(f"{type(module).__name__} draws NaN or infinite numbers.")
    low, high = value_range or ((0.0, 1.0) if len(found) == 3 and drawn.min() >= 0 else (-1.0, 1.0))
    generator = WrappedGenerator(module, found, latent_dim, latent_shape, num_classes, (low, high), prior)
    info: dict[str, Any] = {
        "kind": "generator",
        "shape": list(found),
        "num_classes": num_classes,
        "kimg": 0.0,
        "foreign": True,
    }
    return Model(generator.eval(), None, Config(), info)


def _run(module: nn.Module, latent_dim: int, latent_shape: tuple[int, ...], num_classes: int) -> Tensor:
    parameter = next(module.parameters(), torch.zeros(()))
    z = (
        torch.randn(4, latent_dim, generator=torch.Generator().manual_seed(0))
        .to(parameter)
        .reshape(4, *latent_shape)
    )
    with torch.no_grad():
        drawn = module(z, torch.zeros(4, dtype=torch.long, device=z.device)) if num_classes else module(z)
    if not isinstance(drawn, Tensor):
        raise GanvasError(f"it gave a {type(drawn).__name__} and not one tensor")
    return drawn
