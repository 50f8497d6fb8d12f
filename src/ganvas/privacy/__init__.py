"""What a generator gives away of what it was trained on, and training that bounds it."""

from ganvas.privacy.auditing import Audit, audit
from ganvas.privacy.copies import Copies, find_copies
from ganvas.privacy.inference import Inference, Records, infer
from ganvas.privacy.scores import Attack, Estimate, attack

__all__ = [
    "Attack",
    "Audit",
    "Copies",
    "Estimate",
    "Inference",
    "Records",
    "attack",
    "audit",
    "find_copies",
    "infer",
]
