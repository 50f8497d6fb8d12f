"""Adversarial losses, critic penalties, auxiliary terms and augmentations. A new one is a function and one `add` line."""

from ganvas.losses import auxiliary
from ganvas.losses.adversarial import AdversarialLoss, losses
from ganvas.losses.augment import Adaptive, Augmentation, augment, augmentations
from ganvas.losses.penalties import Penalty, penalties
from ganvas.losses.terms import StepView, Term, terms

__all__ = [
    "Adaptive",
    "AdversarialLoss",
    "Augmentation",
    "Penalty",
    "StepView",
    "Term",
    "augment",
    "augmentations",
    "auxiliary",
    "losses",
    "penalties",
    "terms",
]
