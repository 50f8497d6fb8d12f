"""`ganvas export`"""

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from ganvas.model import Model


def run(
    model: Annotated[Path, tyro.conf.Positional],
    *,
    to: Literal["onnx"] = "onnx",
    out: Path | None = None,
    half: bool = False,
    parts: bool = False,
    inputs: tuple[str, ...] | None = None,
    json: bool = False,
) -> None:
    """Write a generator in a form that works without ganvas.

    onnx: a file for onnxruntime and what else reads ONNX, in any language. It is drawn with before it is kept.

    Args:
        model: A run or snapshot folder, a .safetensors file, a file of another toolkit, or a name from `ganvas list models`.
        to: What to write.
        out: Where to. Default: the model's name, here.
        half: Keep weights as float16: half the size.
        parts: onnx: the mapping (z to w) and the synthesis (w to image) of a style-based generator too, in files beside it.
        inputs: onnx: what else can be given, of psi, noise, truncation and transform, as the generator has them. The rest is
            inside. Default: psi and truncation.
        json: Print what was written as JSON.
    """
    from ganvas.model import load

    opened = load(model, device="cpu", critic=False)
    said = _onnx(opened, out or _place(model, ".onnx"), half, parts, inputs)
    if json:
        print(json_module.dumps({"to": to, "hash": opened.hash, **said}))
        return
    for file, size in said["files"].items():
        print(f"Written to {file} ({size / 2**20:.1f} MiB)")
    what = "levels of 255" if len(opened.shape) == 3 else "in numbers"
    print(f"onnxruntime's samples and these differ by at most {said['difference']:.2g} {what}.")


def _place(model: Path, suffix: str) -> Path:
    return Path(model.resolve().name).with_suffix(suffix)


def _onnx(
    model: "Model", out: Path, half: bool, parts: bool, inputs: tuple[str, ...] | None
) -> dict[str, Any]:
    from ganvas.cli import _shared
    from ganvas.export import onnx

    _shared.outputs(out, ".onnx")
    files, difference = onnx.write(model, out, half=half, parts=parts, optional=inputs)
    return {"files": {str(file): file.stat().st_size for file in files}, "difference": difference}
