"""Adversarial losses and critic penalties. A new one is a function and one `register` line."""

from ganvas.losses.adversarial import AdversarialLoss, losses
from ganvas.losses.penalties import Penalty, penalties

__all__ = ["AdversarialLoss", "Penalty", "losses", "penalties"]
