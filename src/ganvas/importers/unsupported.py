"""Files that are known and cannot be opened: what they are, and what to do."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ganvas.inert import Thing

MOST = 10_000
"""Names that are looked at."""
WRAP = (
    "Build the generator with its own code and give it to ganvas.wrap(module, latent_dim=...): "
    "all tools work with it then."
)


def unsupported(content: Any) -> str | None:
    """What a file that no importer takes holds, and what to do, in a sentence; None where nobody knows it."""
    keys, classes, functions = _names(content)

    def any_key(*parts: str) -> bool:
        return any(part in key for key in keys for part in parts)

    if any(name.endswith(("G_style", "G_style.G_style")) or name.startswith("G_style") for name in functions):
        return f"StyleGAN1 for TensorFlow: StyleGAN2 replaced its network. {WRAP}"
    if any_key("g_synthesis.blocks.", "generator.progression.", "style_mod.", "epi1.top_epi."):
        return f"StyleGAN1 in PyTorch: StyleGAN2 replaced its network. {WRAP}"
    if any_key(".iwt.", ".dwt."):
        return f"SWAGAN (StyleGAN2 on wavelets): its generator draws wavelet coefficients. {WRAP}"
    if any("SuperresSynthesis" in name or "superres" in name.lower() for name in classes) or any_key(
        "head_layer_names"
    ):
        return f"StyleGAN-XL: StyleGAN3 with a head for each size and a mean w for each class. {WRAP}"
    if "generator_smooth" in keys or any_key("early_layer.const", "truncation.w_avg"):
        return (
            "genforce: StyleGAN2 with names of its own. Convert it to StyleGAN2-ADA-PyTorch or rosinality's layout "
            f"with the scripts of that toolkit. Or else: {WRAP[0].lower()}{WRAP[1:]}"
        )
    if any_key("linear0.weight") and any_key("blocks.0.0."):
        return f"StudioGAN: what the network is stands in a YAML file elsewhere. {WRAP}"
    return None


def _names(content: Any) -> tuple[set[str], set[str], set[str]]:
    """Keys of dicts and tensors, classes of objects, and functions that TensorFlow networks were built by."""
    keys: set[str] = set()
    classes: set[str] = set()
    functions: set[str] = set()
    waiting, seen = [content], 0
    passed: set[int] = set()
    while waiting and seen < MOST:
        each = waiting.pop()
        seen += 1
        if isinstance(each, Tensor | str | int | float | bytes) or each is None or id(each) in passed:
            continue
        passed.add(id(each))
        if isinstance(each, Thing):
            classes.add(each.name)
            waiting.append(each.state)
        elif isinstance(each, Mapping):
            keys |= {key for key in each if isinstance(key, str)}
            name = each.get("build_func_name")
            functions |= {name} if isinstance(name, str) else set()
            waiting += list(each.values())[:MOST]
        elif isinstance(each, list | tuple):
            waiting += list(each)[:MOST]
    return keys, classes, functions
