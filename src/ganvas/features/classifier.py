"""Small classifiers for small images: their last hidden layer is the feature. Bundled, or trained on the user's own labels."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganvas import arrays, io
from ganvas.checkpoint import hash_of, rebuild
from ganvas.config import DataConfig
from ganvas.data import Dataset
from ganvas.data.idx import CLASSES
from ganvas.data.limits import check_memory
from ganvas.device import resolve_device, seeded, stream
from ganvas.errors import GanvasError, counted, printable
from ganvas.features.base import Embedded, Extractor, extractors, grey_or_rgb
from ganvas.series import check_names
from ganvas.types import Shape

FOLDER = Path(__file__).with_name("weights")
WIDTH = 64
"""Features of a bundled classifier: few enough for a stable covariance at 10,000 samples."""
CHANNELS = 16
"""Of its first layer."""
LONGEST_NAME = 100
"""Letters of a classifier's name by its file: it stands in every line of an evaluation."""
MOST_FEATURES = 4096
"""That a classifier's file may say it gives of a picture: twice as many as Inception's."""
MOST_SIDE = 1024
"""Pixels of a side that a classifier's file may say it looks at."""
AT_ONCE = 2**26
"""Numbers of the first layer that are computed at a time: images come in any size, and are brought to the classifier's."""
Body = Literal["plain", "residual"]


class _Residual(nn.Module):
    """Two 3 x 3 convolutions that halve the side, beside a short way of one (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.GELU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.short = nn.Conv2d(inputs, outputs, 1, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.way(x) + self.short(x))


class Classifier(nn.Module):
    """Down to 4 px or so, then `width` ReLU features and logits.

    `plain`: blocks of two 3 x 3 convolutions, batch norm, ReLU and pooling. `residual`: a network of another kind, for judging
    what features of the plain one have guided.
    """

    def __init__(
        self, shape: Shape, classes: int, channels: int = CHANNELS, width: int = WIDTH, body: Body = "plain"
    ) -> None:
        super().__init__()
        self.shape, self.classes, self.channels, self.width, self.kind = shape, classes, channels, width, body
        self.body = _plain(shape, channels, width) if body == "plain" else _residual(shape, channels, width)
        self.head = nn.Linear(width, classes)

    @property
    def spec(self) -> io.Json:
        """What `build` makes it from again, without its weights."""
        return {
            "shape": list(self.shape), "classes": self.classes, "channels": self.channels, "width": self.width, "body": self.kind
        }  # fmt: skip

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (B, C, H, W) -> features (B, width), logits (B, classes)."""
        features: Tensor = self.body(images.float() / 127.5 - 1)
        return features, self.head(F.dropout(features, 0.3, self.training))


def build(spec: io.Json) -> Classifier:
    """The classifier of a `spec`, without its weights. Raises `KeyError`, `TypeError` or `ValueError` for what is none."""
    body = spec.get("body", "plain")  # older files have none
    if body not in get_args(Body):
        raise ValueError(f"an unknown body {body!r}")
    shape = tuple(int(size) for size in spec["shape"])
    if len(shape) != 3 or shape[0] not in (1, 3, 4) or not all(1 <= side <= MOST_SIDE for side in shape[1:]):
        raise ValueError(
            f"a shape of {list(shape)}: expected 1, 3 or 4 channels and sides of up to {MOST_SIDE} px"
        )
    if (width := int(spec["width"])) > MOST_FEATURES:
        raise ValueError(f"{width:,} features: expected up to {MOST_FEATURES:,}")
    return Classifier(shape, int(spec["classes"]), int(spec["channels"]), width, body)


def _plain(shape: Shape, channels: int, width: int) -> nn.Sequential:
    blocks: list[nn.Module] = []
    inputs, (side_y, side_x) = shape[0], shape[1:]
    outputs = channels
    while True:
        for size in (inputs, outputs):
            blocks += [nn.Conv2d(size, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        if min(side_y, side_x) < 8 or outputs >= 8 * channels:
            break
        blocks += [nn.MaxPool2d(2)]
        side_y, side_x = side_y // 2, side_x // 2
        inputs, outputs = outputs, 2 * outputs
    return nn.Sequential(
        *blocks, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9 * outputs, width), nn.ReLU()
    )


def _residual(shape: Shape, channels: int, width: int) -> nn.Sequential:
    blocks: list[nn.Module] = [
        nn.Conv2d(shape[0], channels, 5, padding=2),
        nn.BatchNorm2d(channels),
        nn.GELU(),
    ]
    inputs, side = channels, min(shape[1:])
    while side > 4 or inputs == channels:
        outputs = min(2 * inputs, 8 * channels)
        blocks += [_Residual(inputs, outputs)]
        inputs, side = outputs, (side + 1) // 2
    return nn.Sequential(
        *blocks, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * inputs, width), nn.ReLU()
    )


class ClassifierExtractor:
    """A trained classifier as an extractor."""

    cacheable = True

    def __init__(
        self,
        network: Classifier,
        name: str,
        device: torch.device,
        info: io.Json,
        class_names: tuple[str, ...] = (),
        is_bundled: bool = False,
    ) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.device, self.info, self.class_names = device, info, class_names
        self.is_bundled = is_bundled
        self.id = f"classifier-{name}-{hash_of(network)}"
        _, height, width = network.shape
        self.resize = f"bilinear to {width if width == height else f'{width} x {height}'} px"

    def __call__(self, samples: Tensor) -> Embedded:
        count = _at_once(self.network.shape, self.network.channels)
        found = [self._embed(part) for part in samples.split(count)]
        features, logits = (torch.cat(each) for each in zip(*found, strict=True))
        return Embedded(features, logits)

    def _embed(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        images = grey_or_rgb(samples.to(self.device), self.network.shape[0])
        if images.shape[2:] != self.network.shape[1:]:
            images = F.interpolate(
                images.float(), self.network.shape[1:], mode="bilinear", antialias=True, align_corners=False
            )
        features, logits = self.network(images)
        return features, logits


def learned(extractor: Extractor, dataset: Dataset, held_out: Dataset) -> str:
    """What a classifier of these data, or of others of their name, has learned of the held-out samples, in words to go on from;
    empty where nothing is known, or does not show."""
    if not isinstance(extractor, ClassifierExtractor) or held_out.indices is None:
        return ""
    info, words = extractor.info, f"{extractor.id} has learned from"
    same = info.get("data") == dataset.fingerprint
    if not same and info.get("name") not in dataset.name.split("+"):
        return ""
    kept, spared = dataset.split(DataConfig().holdout)
    count, held = info.get("trained_on"), info.get("held_out", len(spared))
    if same:
        alike = count in (None, len(kept))  # files of before do not say
    else:  # pictures of another size may be the same ones, which are split alike
        resized = tuple(extractor.network.shape) != tuple(dataset.shape)
        alike = resized and (count, held) == (len(kept), len(spared))
    if alike:
        assert spared.indices is not None
        known = int((~torch.isin(held_out.indices, spared.indices)).sum())
        return f"{words} {known:,} of the {len(held_out):,} held-out samples" if known else ""
    if same and extractor.is_bundled:
        # That of fashion-mnist tells none that it has seen from others: benchmarks/seen_features.py.
        return ""
    if same:
        return f"{words} all of {dataset.name}, the {len(held_out):,} held-out samples too"
    return f"{words} {info['name']} as it was then, perhaps from the {len(held_out):,} held-out samples"


def _at_once(shape: Shape, channels: int) -> int:
    """How many pictures of a shape a classifier sees at a time."""
    return max(1, AT_ONCE // (shape[1] * shape[2] * channels))


class Trained(NamedTuple):
    """A new classifier and its share of right answers on the held-out part."""

    network: Classifier
    accuracy: float
    class_names: tuple[str, ...] = ()
    """In the order of its answers; empty where nobody named them."""


def train(
    images: Tensor,
    labels: Tensor,
    held_out: tuple[Tensor, Tensor],
    *,
    epochs: int | None = None,
    batch: int = 128,
    seed: int = 0,
    body: Body = "plain",
    device: torch.device | None = None,
    advance: Callable[[float], None] | None = None,
) -> Trained:
    """Train on uint8 images (N, C, H, W) with labels (N,) and test on the held-out pair.

    About 100,000 images in all, at least six passes and at most sixty, fewer than `batch` of large ones at a time. Shifts by
    up to a twelfth of the side keep it from learning places by heart. `advance` hears the share that is done.
    """
    device, seed = device or resolve_device(), arrays.seed(seed)
    classes, found = int(labels.max()) + 1, len(labels.unique())
    if found < 2:
        raise GanvasError("A classifier needs labels of at least two classes.")
    if classes > len(images):
        raise GanvasError(
            f"Labels go up to {classes - 1:,} and only {found} of them have images. Number the classes from 0 to {found - 1}."
        )
    epochs = (
        max(6, min(60, round(100_000 / len(images)))) if epochs is None else arrays.count(epochs, "epochs")
    )
    batch = min(batch, max(8, _at_once(tuple(images.shape[1:]), CHANNELS) // 2))
    steps = max(1, len(images) // batch)
    shift = max(1, images.shape[3] // 12)
    random = stream(seed, "classifier")
    with seeded(seed):  # weights and dropout
        network = Classifier(tuple(images.shape[1:]), classes, body=body)
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * steps)
        for epoch in range(epochs):
            order = torch.randperm(len(images), generator=random)
            for step in range(steps):
                chosen = order[step * batch : (step + 1) * batch]
                moved = _shift(images[chosen].to(device), shift, random)
                loss = F.cross_entropy(network(moved)[1], labels[chosen].to(device), label_smoothing=0.05)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                if advance is not None:
                    advance((epoch * steps + step + 1) / (epochs * steps))
    network.eval().requires_grad_(False)
    return Trained(network, accuracy(network, *held_out, device))


def train_on(train_part: Dataset, held_out: Dataset, **options: Any) -> Trained:
    """`train` on the labelled images of a data set, tested on its held-out part. Raises `GanvasError` without labels,
    or for more images than memory is meant to hold."""
    if train_part.is_images and max(train_part.shape[1:]) > MOST_SIDE:
        raise GanvasError(
            f"{train_part.name} has pictures of {train_part.shape[2]} x {train_part.shape[1]} px, and a classifier looks at "
            f"sides of up to {MOST_SIDE:,}. Give a smaller --resolution."
        )
    if not train_part.resident:
        size = (len(train_part) + len(held_out)) * math.prod(train_part.shape)
        check_memory(
            size, f"{train_part.name}, for a classifier to learn from,", "Give a smaller --resolution"
        )
    (images, labels), (test, test_labels) = (
        part.take(torch.arange(len(part))) for part in (train_part, held_out)
    )
    if labels is None or test_labels is None or not train_part.is_images:
        raise GanvasError(f"{train_part.name} has no images with labels to train a classifier on.")
    trained = train(images, labels, (test, test_labels), **options)
    return trained._replace(class_names=train_part.class_names[: trained.network.classes])


@torch.inference_mode()
def accuracy(network: Classifier, images: Tensor, labels: Tensor, device: torch.device) -> float:
    """Share of right answers."""
    parts = images.split(min(1000, _at_once(network.shape, network.channels)))
    answers = torch.cat([network(part.to(device))[1].argmax(1).cpu() for part in parts])
    return float((answers == labels).double().mean())


def save(path: Path, trained: Trained, name: str, more: Mapping[str, object]) -> None:
    """Write one .safetensors file; the same weights always give the same id."""
    network = trained.network
    header = {
        "kind": "classifier",
        "name": name,
        **network.spec,
        "accuracy": round(trained.accuracy, 4),
        **({"class_names": list(trained.class_names)} if trained.class_names else {}),
        **more,
    }
    with io.atomic(path) as temporary:
        io.save_tensors(temporary, network.state_dict(), header)


def load(path: Path, device: torch.device) -> ClassifierExtractor:
    """Open a classifier's .safetensors file. Raises `GanvasError` when it is damaged or something else."""
    tensors, header = io.load_tensors(path)
    if header.get("kind") != "classifier":
        raise GanvasError(
            f"{path} holds a {header.get('kind')}, expected a classifier: ganvas extractor train DATA."
        )
    spec = {
        name: header.get(name) for name in ("shape", "classes", "channels", "width", "body") if name in header
    }
    network = rebuild(path, spec, lambda: build(header), tensors)
    assert isinstance(network, Classifier)
    names = _names_in(path, header, network.classes)
    name = " ".join(printable(str(header.get("name", path.stem))[:LONGEST_NAME]).split())
    return ClassifierExtractor(network, name, device, header, names, path.parent == FOLDER)


def _names_in(path: Path, header: io.Json, classes: int) -> tuple[str, ...]:
    """What a classifier's file calls its classes; empty for one of before, which does not say.

    Raises `GanvasError` for what are no names of so many classes.
    """
    said = header.get("class_names")
    if said is None:
        return CLASSES.get(path.stem, ()) if path.parent == FOLDER else ()
    if not isinstance(said, list) or len(said) != classes or not all(isinstance(name, str) for name in said):
        raise GanvasError(
            f"{path} has a damaged header: class_names are no names of {counted(classes, 'class', 'classes')}."
        )
    check_names(said, f"{path}: the names of classes")
    return tuple(printable(name).replace("\n", "\\n") for name in said)  # as those of data are


def bundled() -> tuple[str, ...]:
    """Data sets that ganvas carries a classifier for."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.safetensors")))


def shape_of(name: str) -> Shape:
    """What the bundled classifier called `name` takes."""
    return tuple(io.read_header(FOLDER / f"{name}.safetensors")["shape"])


def knows(name: str, shape: Shape, class_names: Sequence[str]) -> bool:
    """True when the bundled classifier called `name` was made for such data, and not for a namesake.

    Size, channels and classes must be those that it was trained on: a file of any pictures may have the name.
    """
    if name not in bundled():
        return False
    path = FOLDER / f"{name}.safetensors"
    header = io.read_header(path)
    names = _names_in(path, header, int(header["classes"]))
    return tuple(header["shape"]) == tuple(shape) and tuple(class_names) == names


def _shift(images: Tensor, most: int, random: torch.Generator) -> Tensor:
    """The whole batch moved by one random offset; what leaves on one side is filled with the edge."""
    y, x = (int(v) for v in torch.randint(-most, most + 1, (2,), generator=random))
    height, width = images.shape[2:]
    padded = F.pad(images.float(), (most, most, most, most), mode="replicate")
    return padded[:, :, most + y : most + y + height, most + x : most + x + width].contiguous(
        memory_format=torch.channels_last
    )


def _opener(name: str) -> Callable[[torch.device], ClassifierExtractor]:
    return lambda device: load(FOLDER / f"{name}.safetensors", device)


for _name in bundled():
    extractors.add(f"classifier-{_name}", _opener(_name), f"bundled classifier of {_name}, {WIDTH} features")
