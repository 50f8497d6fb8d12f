"""The judge of the Fashion-MNIST benchmarks: a small classifier and the Frechet distance of its 128 features.

It is trained here, once, and kept in benchmarks/out/. Its distances compare with each other and with nothing else:
only the Inception-2015 network gives something called FID.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import io
from ganvas.config import DataConfig
from ganvas.data.idx import load_named

OUT = Path(__file__).with_name("out")
FEATURES = 128
EPOCHS = 6
WANTED_ACCURACY = 0.92


class Judge(nn.Module):
    """Three blocks of convolution, batch norm and pooling; 128 ReLU features; 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for outputs in (32, 64, 128):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            layers += [nn.MaxPool2d(2)]
            inputs = outputs
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * 9, FEATURES), nn.ReLU())
        self.head = nn.Linear(FEATURES, 10)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N, 1, 28, 28) -> logits (N, 10)."""
        return self.head(F.dropout(self.body(prepare(images)), 0.3, self.training))


def prepare(images: Tensor) -> Tensor:
    """uint8 -> [-1, 1], laid out for speed."""
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def splits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images and labels, test images and labels."""
    parts: list[Tensor] = []
    for split in ("train", "test"):
        images, labels = (data := load_named("fashion-mnist", DataConfig(), split)).take(
            torch.arange(len(data))
        )
        assert labels is not None
        parts += [images, labels]
    return parts[0], parts[1], parts[2], parts[3]


def load_judge() -> tuple[Judge, float]:
    """The judge and its test accuracy; trains it on the first call."""
    judge = Judge().to(memory_format=torch.channels_last)
    path = OUT / "judge.safetensors"
    if path.is_file():
        tensors, header = io.load_tensors(path)
        judge.load_state_dict(tensors)
        return judge.eval(), header["accuracy"]
    torch.manual_seed(0)
    images, labels, test_images, test_labels = splits()
    batch, steps = 128, len(images) // 128
    optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=EPOCHS * steps)
    start = time.monotonic()
    for _ in range(EPOCHS):
        judge.train()
        order = torch.randperm(len(images))
        for i in range(steps):
            chosen = order[i * batch : (i + 1) * batch]
            loss = F.cross_entropy(judge(images[chosen] if i % 2 else images[chosen].flip(3)), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    judge.eval()
    with torch.no_grad():
        answers = torch.cat([judge(part).argmax(1) for part in test_images.split(1000)])
    accuracy = float((answers == test_labels).float().mean())
    print(
        f"judge: {accuracy:.2%} of the test images right, trained in {time.monotonic() - start:.0f} s",
        file=sys.stderr,
    )
    if accuracy < WANTED_ACCURACY:
        raise SystemExit(f"The judge must reach {WANTED_ACCURACY:.0%}.")
    with io.atomic(path) as temporary:
        io.save_tensors(temporary, judge.state_dict(), {"accuracy": accuracy})
    return judge, accuracy


@torch.no_grad()
def features(judge: Judge, images: Tensor) -> np.ndarray:
    """uint8 (N, 1, 28, 28) -> float64 (N, 128)."""
    return torch.cat([judge.body(prepare(part)) for part in images.split(1000)]).double().numpy()


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Frechet distance of two Gaussians fitted to features (Dowson and Landau 1982, eq. 16)."""
    means = np.square(first.mean(0) - second.mean(0)).sum()
    a, b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    # The trace of the root of a product needs its eigenvalues only; rounding can make tiny ones negative.
    roots = np.sqrt(np.maximum(np.linalg.eigvals(a @ b).real, 0))
    return float(means + np.trace(a) + np.trace(b) - 2 * roots.sum())
