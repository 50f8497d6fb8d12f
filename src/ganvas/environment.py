"""The variables that ganvas reads, and what it runs on: what `ganvas env` shows."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from ganvas import io
from ganvas.cache import cache_folder
from ganvas.data.limits import LIMITS

VARIABLES = {
    "GANVAS_CACHE": "where downloads, features and models of the hub are kept",
    "GANVAS_INCEPTION": "file of published Inception weights, for FID",
    "GANVAS_DINOV2": "file of published DINOv2 weights",
    "GANVAS_RESIDENT_MB": "how much data may stay in memory; default: a third of it",
    "GANVAS_MAX_GB": "by how much a file may grow when it is unpacked; size of a file of a hub: model",
    "GANVAS_MAX_FILES": "files in a .zip; samples of an array in fewer than a fourth of as many bytes",
    "GANVAS_MAX_CLASSES": "different labels",
    "GANVAS_MAX_MEGAPIXELS": "of one picture",
}
"""Name -> what it says. `ganvas env` lists these, and docs/commands.md."""
PACKAGES = ("torch", "numpy", "safetensors", "pillow", "onnxruntime", "huggingface_hub", "tensorboard")
"""Whose versions are worth knowing when something is odd; the last ones are of extras."""


def facts() -> io.Json:
    """`versions`, `device`, `threads`, `cache`, and `variables`: name -> its value (None: not set), default and meaning."""
    import torch

    from ganvas.device import resolve_device

    versions = {"ganvas": version("ganvas"), "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    device = resolve_device("auto")
    folder = cache_folder()
    variables = {
        name: {"value": os.environ.get(name) or None, "default": _default(name), "meaning": meaning}
        for name, meaning in VARIABLES.items()
    }
    return {
        "versions": versions,
        "platform": f"{platform.system()} {platform.machine()}",
        "program": sys.executable,
        "device": device.type,
        "device_name": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor(),
        "threads": torch.get_num_threads(),
        "cache": str(folder),
        "cache_writable": io.writable(folder),
        "variables": variables,
    }


def _default(name: str) -> str | None:
    if name == "GANVAS_CACHE":
        return "ganvas in the user's cache folder"
    return f"{LIMITS[name]:,.0f}" if name in LIMITS else None
