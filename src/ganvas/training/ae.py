"""A plain autoencoder (Hinton and Salakhutdinov 2006): encoder and decoder learn to reconstruct, and nothing else.

Its codes may lie anywhere: what is sampled is the mixture of normals that each snapshot fits to them (`network.codes`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from ganvas.training import ema
from ganvas.training.autoencoder import EncodingMethod
from ganvas.training.method import methods
from ganvas.types import Batch


class PlainAutoencoder(EncodingMethod):
    """Mean squared error of the reconstruction. Option `noise`: standard deviation of normal numbers added to the codes in
    training, beside `pull`, the weight of their mean square: the one without the other only scales the codes.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {"noise": 0.0, "pull": 0.0}
    normal = False

    def play(self, batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """One step down the squared error."""
        x, e = self.real(batches[0]), self.engine
        with e.autocast():
            codes = self.encode(self.live, x).codes
            loss = F.mse_loss(self.decode(codes + self.options["noise"] * e.normal(codes.shape[1])), x)
        pull = codes.square().mean()
        e.update(self.optimizers["optimizer_autoencoder"], loss + self.options["pull"] * pull)
        ema.update(self.average, self.live, self.ema_weight, statistics=self.config.training.ema_statistics)
        return {"loss_reconstruction": loss, "code_size": pull.sqrt()}


methods.add(
    "ae", PlainAutoencoder, "plain autoencoder: reconstructs, and draws from a mixture fitted to its codes"
)
