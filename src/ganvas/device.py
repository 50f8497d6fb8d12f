"""Where and in what number format to compute, and seeded random streams."""

import operator
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ganvas.errors import GanvasError


def resolve_device(name: str = "auto") -> torch.device:
    """`auto` picks cuda, then mps, then cpu. Raises `GanvasError` for a device that is not there."""
    check_defaults()
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise GanvasError(f"Unknown device {name!r}. Use auto, cpu, cuda or mps.") from error
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    there = device.type != "cuda" or (device.index or 0) < torch.cuda.device_count()
    if not available.get(device.type, False) or not there:
        raise GanvasError(f"Device {name!r} is not available on this machine. Use --device auto or cpu.")
    return device


def check_defaults() -> None:
    """Raise `GanvasError` where torch makes other tensors than usual, or computes with fewer digits: a seed would draw other
    numbers, and layers not fit."""
    if torch.get_default_dtype() != torch.float32:
        raise GanvasError(
            f"torch's default dtype is {torch.get_default_dtype()}, and ganvas computes in float32: "
            "call torch.set_default_dtype(torch.float32)."
        )
    usual = torch.empty(0).device  # asked for, torch 2.9 fails after torch.set_default_device(None)
    if usual.type != "cpu":
        raise GanvasError(
            f"torch's default device is {usual}, and ganvas is told where to compute by device=: "
            'call torch.set_default_device("cpu").'
        )
    for kind in ("cpu", "cuda", "mps", "xpu"):
        if torch.is_autocast_enabled(kind):
            raise GanvasError(
                f"torch.autocast is on ({kind}): a seed would draw other samples, and figures be of other features. "
                f'Call it outside, or inside torch.autocast("{kind}", enabled=False).'
            )


def has_fast_bf16(device: torch.device) -> bool:
    """True when bfloat16 is computed by the hardware. Emulated bf16 is far slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu" and platform.machine().lower() in ("x86_64", "amd64"):
        if not hasattr(torch.cpu, "get_capabilities"):  # as of torch 2.9
            return bool(torch.cpu._is_avx512_bf16_supported())
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def resolve_precision(name: str, device: torch.device) -> str:
    """`auto` -> `bf16` where the hardware has it, else `fp32`. R1 and penalties stay in the same format."""
    if name == "auto":
        return "bf16" if has_fast_bf16(device) else "fp32"
    return name


def autocast(device: torch.device, precision: str, cache: bool = True) -> torch.autocast:
    """The context of a training step: a no-op for fp32. `cache` keeps what was cast until its end."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=cache)


ALONE = threading.RLock()
"""Held by whoever changes what the process has once, its generator of random numbers or its modules: with a lock for each, two
threads that build networks could wait for one another."""


@contextmanager
def seeded(seed: int | None = None) -> Iterator[None]:
    """Inside, torch's own generator on the CPU begins with `seed`, or goes on without one; after it, it is as it was.

    For weights and dropout, which take no `stream`. Other threads wait where they ask for the same.
    """
    with ALONE, torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def stream(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """An independent random stream for one purpose: the same seed and name give the same numbers.

    CPU streams are used where results should not depend on the device (sampling, previews).
    """
    try:
        seed = operator.index(seed)
    except TypeError as error:
        raise GanvasError(f"seed is {seed!r}; it must be a whole number.") from error
    mixed = seed * 0x9E3779B97F4A7C15 % 2**63
    for letter in name.encode():
        mixed = (mixed ^ letter) * 0x100000001B3 % 2**63
    return torch.Generator(device).manual_seed(mixed)
