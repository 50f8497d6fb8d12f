"""The latent space: spaces (`space`) and ways through them (`paths`)."""

from ganvas.latent.paths import (
    Path,
    Perception,
    equal_steps,
    geodesic,
    last_key,
    pyramid,
    step_lengths,
    style_mixing,
    through,
    variation,
)
from ganvas.latent.space import HiddenLayer, LatentSpace, LatentStyles, LatentW, LatentZ, open_space, spaces

__all__ = [
    "HiddenLayer",
    "LatentSpace",
    "LatentStyles",
    "LatentW",
    "LatentZ",
    "Path",
    "Perception",
    "equal_steps",
    "geodesic",
    "last_key",
    "open_space",
    "pyramid",
    "spaces",
    "step_lengths",
    "style_mixing",
    "through",
    "variation",
]
