"""The live page: one HTML file that holds a generator and what runs it, and needs neither Python nor a network.

The generator is inside as ONNX, beside onnxruntime-web, directions and a map. The page draws torch's random numbers itself, so
that seeds and numbers of samples mean what they mean here.
"""

import base64
import gzip
import hashlib
import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.export import onnx
from ganvas.export.onnx import Part, optional_of, to_onnx
from ganvas.latent import LatentSpace
from ganvas.latent.directions import Direction
from ganvas.latent.finders import usual
from ganvas.model import BLOCK, Model
from ganvas.model_data import class_names, shipped_images
from ganvas.networks.biggan import BigGenerator
from ganvas.pictures import smaller
from ganvas.types import Progress, silent
from ganvas.web.landscape import landscape
from ganvas.web.renderer import LAST, LEAST_TRUNCATION, Renderer

STATIC = Path(__file__).parent / "static"
RUNTIME = STATIC / "onnxruntime-web"
SAMPLES = 1024
"""That the slider and the map reach; others are asked for by their number."""
LEAST_NOISE = 16
"""Numbers in a noise map: fewer are drawn by another rule."""
REALS = 1000
REAL_SIDE = 64
"""Real pictures are shown, and compared, at no more pixels than this a side."""
MOST_REAL_VALUES = 2**22
"""Of all real pictures together: 4 MiB before they are compressed."""
MOST_BYTES = 200_000_000
"""Of the weights: a page is read into the memory of a browser several times over."""
MOST_MEANS = 2**23
"""Numbers of the means of all classes, to which truncation pulls: a page lies in memory several times while it is written."""
WIDEST = 1024
"""Numbers in a point above which its typicality is counted coordinate by coordinate."""


def weight_bytes(model: Model, half: bool) -> int:
    """How much room the weights take. Raises `GanvasError` above `MOST_BYTES`."""
    numbers: int = sum(each.numel() for each in model.generator.state_dict().values())
    found: int = numbers * (2 if half else 4)
    if found > MOST_BYTES:
        advice = (
            " Give --half, which halves it." if not half and found <= 2 * MOST_BYTES
            else " Write it as ONNX instead: ganvas export MODEL --to onnx."
        )  # fmt: skip
        raise GanvasError(
            f"The weights take {found / 1e6:,.0f} MB; a page holds at most {MOST_BYTES / 1e6:,.0f} MB.{advice}"
        )
    return found


def check(model: Model, half: bool) -> None:
    """Raise `GanvasError` for a model that no page can hold, before any work is done."""
    weight_bytes(model, half)
    onnx.check(model)
    instead = "Write it as ONNX without truncation instead: ganvas export MODEL --to onnx --inputs other."
    onnx.check_means(model, instead, MOST_MEANS)


def page(
    renderer: Renderer, *, half: bool = False, directions: Sequence[Direction] = (), share_data: bool = False,
    webgpu: bool = False, method: str | None = None, progress: Progress = silent,
) -> bytes:  # fmt: skip
    """The page as UTF-8. `directions` come before those of `method`.

    `webgpu` puts in what computes on graphics cards, 8.4 MiB: the page uses it where it draws the same in less time.

    Real pictures are inside where they are the packaged model's own, and else only with `share_data`: those of the renderer.
    Raises `GanvasError` for weights above `MOST_BYTES`, what ONNX cannot hold, and `share_data` without real pictures.
    """
    model = renderer.model
    check(model, half)
    reals = _reals(renderer, share_data)
    files: dict[str, bytes] = {}
    parts: tuple[Part, ...] = ("mapping", "synthesis") if renderer.space.name == "w" else ("whole",)
    for i, part in enumerate(parts):
        progress("the generator as ONNX", i, len(parts))
        files[part] = to_onnx(model, part, half=half, optional=_inputs(renderer))
    progress("the generator as ONNX", len(parts), len(parts))
    found, given = renderer.directions(method or usual(renderer.space)), {each.name for each in directions}
    sliders = [*directions, *(each for each in found if each.name not in given)]
    facts, numbers = _facts(renderer, sliders, progress)
    if reals is not None:
        numbers["reals"] = reals
    index, packed = _pack(numbers)
    files["numbers"] = packed
    blobs = {name: gzip.compress(content, 9, mtime=0) for name, content in files.items()}
    blobs["runtime"] = (RUNTIME / "ort.wasm.bundle.min.mjs.gz").read_bytes()
    blobs["wasm"] = (RUNTIME / "ort-wasm-simd-threaded.wasm.gz").read_bytes()
    if webgpu:
        blobs["gpu-runtime"] = (RUNTIME / "ort.webgpu.bundle.min.mjs.gz").read_bytes()
        blobs["gpu-wasm"] = (RUNTIME / "ort-wasm-simd-threaded.asyncify.wasm.gz").read_bytes()
    blobs["notices"] = (RUNTIME / "ThirdPartyNotices.txt.gz").read_bytes()
    licence = (RUNTIME / "LICENSE").read_text(encoding="utf-8")
    return _written({**facts, "numbers": index, "parts": parts, "licence": licence}, blobs)


def _inputs(renderer: Renderer) -> list[str]:
    """What the networks are given beside latents and labels: what the explorer changes, too."""
    network: Any = renderer.model.generator
    found = set(optional_of(renderer.model)) - {"psi"}
    if "noise" in found and min(math.prod(each) for each in network.noise_shapes) < LEAST_NOISE:
        found.remove("noise")
    return [name for name in optional_of(renderer.model) if name in found]


def _written(facts: Mapping[str, Any], blobs: Mapping[str, bytes]) -> bytes:
    """The template, filled in one pass: what is filled in is not looked at again."""
    style = (STATIC / "page.css").read_text(encoding="utf-8")
    script = (STATIC / "page.js").read_text(encoding="utf-8")
    # Only these two are run or heeded, by their sums; nothing is loaded from anywhere.
    policy = (
        f"default-src 'none'; script-src '{_sum(script)}' 'wasm-unsafe-eval' blob:; style-src '{_sum(style)}'; "
        "img-src blob: data:; base-uri 'none'; form-action 'none'"
    )
    packed = "\n".join(
        f'<script type="text/plain" id="file-{name}">{base64.b64encode(content).decode()}</script>'
        for name, content in blobs.items()
    )
    filled = {
        "TITLE": html.escape(f"{facts['name']}: a generator that runs in this page"),
        "POLICY": html.escape(policy, quote=False),
        "STYLE": style,
        "SCRIPT": script,
        # Without a "<" nothing in it can end the block, nor begin a comment that would swallow its end.
        "FACTS": json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c"),
        "FILES": packed,
    }
    text = (STATIC / "page.html").read_text(encoding="utf-8")
    return re.sub("@([A-Z]+)@", lambda found: filled[found[1]], text).encode()


def _sum(text: str) -> str:
    """What a content security policy knows an inline script or style by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _facts(
    renderer: Renderer, directions: Sequence[Direction], progress: Progress
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What the page knows beside the networks: JSON, and tensors by name."""
    model, space = renderer.model, renderer.space
    network: Any = model.generator
    found = landscape(renderer, progress=progress)
    dots = min(SAMPLES, len(found.places))
    colour = next(name for name in ("realism", "density") if name in found.values)
    inputs = _inputs(renderer)
    maps = network.fixed_noise if "noise" in inputs else []
    lengths, white = _shell(space)
    labels = torch.arange(network.num_classes, device=model.device) if network.num_classes else None
    numbers = {
        "middles": space.mean_of(labels).flatten(1),
        "directions": torch.stack([d.vector.flatten() for d in directions]),
        "middle": space.mean.flatten(),
        "lengths": lengths,
        "places": found.places[:dots],
        "colours": _shares(found.values[colour])[:dots],
    } | ({} if white is None else {"white": white})
    numbers |= {f"noise_{i}": each.expand(1, -1, -1, -1) for i, each in enumerate(maps)}
    names = class_names(model)
    facts = {
        "name": Path(renderer.name).name,
        "family": model.info.name,
        "hash": model.hash,
        "shape": list(model.shape),
        "range": list(network.value_range),
        "space": space.name,
        "flat": space.flat,
        "layers": renderer.layers,
        "samples": SAMPLES,
        "last": LAST,
        "block": BLOCK,
        "prior": network.prior,
        "latents": model.latent_dim,
        "start": renderer.start.number,
        "mixes": "other" in inputs,
        "noise": len(maps),
        "uniformNoise": getattr(network, "uniform_noise", False),
        "transform": network.transform.tolist() if "transform" in inputs else None,
        "classes": network.num_classes and [
            names[i] if names else f"class {i}" for i in range(network.num_classes)
        ],
        "truncation": network.truncation if isinstance(network, BigGenerator) and renderer.has_levels(network) else None,
        "leastTruncation": LEAST_TRUNCATION,
        "directions": [
            {"name": d.name, "sigma": d.sigma, "layers": list(d.layers), "effect": round(d.effect, 3)}
            for d in directions
        ],
        "mapColour": colour,
        "source": model.info.source,
    }  # fmt: skip
    return facts, numbers


def _shell(space: LatentSpace) -> tuple[Tensor, Tensor | None]:
    """What `LatentSpace.typicality` counts with: sorted squared lengths of usual points, and what makes steps white: a matrix
    (D, D), a factor for each coordinate (D,), or nothing."""
    if space.name == "z" and space.model.generator.prior in ("normal", "sphere"):
        from scipy.special import gammaincinv  # slow to import

        # Squared lengths are chi-squared; its quantiles.
        shares = (torch.arange(4096, dtype=torch.float64) + 0.5) / 4096
        return torch.from_numpy(2 * gammaincinv(space.size / 2, shares.numpy())), None
    lengths, device = space.known_lengths, space.model.device
    if space.size > WIDEST:
        return lengths, space.whiten(torch.ones(1, space.size, device=device))[0]
    return lengths, space.whiten(torch.eye(space.size, device=device))


def _shares(values: Tensor) -> Tensor:
    """Values within [0, 1], but for the few at both ends."""
    low, high = torch.quantile(values.float(), torch.tensor([0.02, 0.98])).tolist()
    shares: Tensor = ((values.float() - low) / max(high - low, 1e-9)).clamp(0, 1)
    return shares


def _reals(renderer: Renderer, share_data: bool) -> Tensor | None:
    """Real pictures that may be shared, small: uint8 (n, C, H, W)."""
    found = shipped_images(renderer.model)
    if share_data:
        if renderer.real is None:
            raise GanvasError(
                f"There are no real pictures to share: {renderer.unreal} Give --data, or leave out --share-data."
            )
        found = renderer.real.images
    if found is None:
        return None
    factor = max(1, max(found.shape[2:]) // REAL_SIDE)
    most = MOST_REAL_VALUES * factor**2 // found[0].numel()
    return smaller(found[: min(REALS, most)], factor)


def _pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], bytes]:
    """Tensors one behind the other, bytes or float32, and where each begins."""
    index: dict[str, Any] = {}
    packed = b""
    for name, tensor in tensors.items():
        kind = "uint8" if tensor.dtype == torch.uint8 else "float32"
        plain = tensor.detach().cpu() if kind == "uint8" else tensor.detach().cpu().float()
        index[name] = {"at": len(packed), "shape": list(tensor.shape), "kind": kind}
        packed += plain.contiguous().numpy().tobytes()
        packed += bytes(-len(packed) % 4)
    return index, packed
