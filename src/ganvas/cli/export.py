"""`ganvas export`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ganvas.cli import _page, _shared

if TYPE_CHECKING:
    from ganvas.model import Model


def run(
    model: Annotated[Path, tyro.conf.Positional],
    *,
    to: Literal["onnx", "page", "hub"] = "onnx",
    out: Path | None = None,
    half: bool = False,
    parts: bool = False,
    inputs: tuple[str, ...] | None = None,
    directions: tuple[Path, ...] = (),
    data: str | None = None,
    share_data: bool = False,
    webgpu: _page.Webgpu = "auto",
    repo: Annotated[str | None, tyro.conf.arg(metavar="ORG/NAME")] = None,
    license: Annotated[str | None, tyro.conf.arg(metavar="ID")] = None,
    public: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Write a generator in a form that works without ganvas, or that others can load.

    onnx: a file for onnxruntime and what else reads ONNX, in any language. It is drawn with before it is kept.

    page: one HTML file in which the generator itself runs, for whoever has a browser and neither Python nor a network.

    hub: a folder for the Hugging Face hub: model card, weights, config, pictures. It is uploaded to --repo, where it is private
    unless --public is given; with --dry-run it is written and stays here. `ganvas.load("hub:ORG/NAME")` opens it.

    Args:
        model: A run or snapshot folder, a .safetensors file, a file of another toolkit, or a name from `ganvas list models`.
        to: What to write.
        out: Where to. Default: the model's name, here.
        half: onnx, page: keep weights as float16: half the size.
        parts: onnx: the mapping (z to w) and the synthesis (w to image) of a style-based generator too, in files beside it.
        inputs: onnx: what else can be given, of psi, noise, truncation, transform and other (a class that is
            mixed in, with its share), as the generator has them. The rest is inside. Default: psi and truncation.
        directions: page: files of `ganvas directions`, put first among the sliders.
        data: page: real images to compare with, as of `ganvas explore`. They stay here without --share-data.
        share_data: page: put small copies of up to 1,000 of these real images into the file, for everybody who gets it. Those
            of the packaged model are inside anyway.
        webgpu: page: put in what draws on graphics cards too, 8.4 MiB more. auto: for pictures of 128 px and more.
        repo: hub: where to upload to.
        license: hub: the licence that the card names, as the hub spells it: apache-2.0, mit, cc-by-4.0.
        public: hub: create --repo for everybody to see. One that exists stays as it is.
        dry_run: hub: write the folder, upload nothing.
        json: Print what was written as JSON.
    """
    from ganvas.errors import GanvasError
    from ganvas.errors import size as in_words
    from ganvas.model_file import load

    name = _shared.named_after(model, "").name.removeprefix("hub:")
    asked = {
        "--half": (half, ("onnx", "page")),
        "--parts": (parts, ("onnx",)),
        "--inputs": (inputs, ("onnx",)),
        "--directions": (directions, ("page",)),
        "--data": (data, ("page",)),
        "--share-data": (share_data, ("page",)),
        "--webgpu": (webgpu != "auto", ("page",)),
        "--repo": (repo, ("hub",)),
        "--license": (license, ("hub",)),
        "--public": (public, ("hub",)),
        "--dry-run": (dry_run, ("hub",)),
    }
    for flag, (value, kinds) in asked.items():
        if value and to not in kinds:
            raise GanvasError(f"{flag} is not for --to {to}. Leave it out.")
    if to == "hub":
        _hub(model, out or Path(f"{name}-hub"), repo, license, public, dry_run, json)
        return
    if to == "page":
        path = out or _shared.named_after(model, ".html")
        found = _page.write(
            path, model, data, "cpu", directions, half=half, share_data=share_data, webgpu=webgpu, quiet=json
        )
        if json:
            _shared.answer(_page.answer(path, found))
        return
    opened = load(model, device="cpu", critic=False)
    said = _onnx(opened, out or _shared.named_after(model, ".onnx"), half, parts, inputs)
    if json:
        _shared.answer({"to": to, "hash": opened.hash, **said})
        return
    for file, size in said["files"].items():
        _shared.say(f"Written to {file} ({in_words(size)})")
    what = "levels of 255" if len(opened.shape) == 3 else "in numbers"
    _shared.say(f"onnxruntime's samples and these differ by at most {said['difference']:.2g} {what}.")


def _onnx(
    model: "Model", out: Path, half: bool, parts: bool, inputs: tuple[str, ...] | None
) -> dict[str, Any]:
    from ganvas.export import onnx

    _shared.outputs(out, ".onnx")
    files, difference = onnx.write(model, out, half=half, parts=parts, optional=inputs)
    return {"files": {str(file): file.stat().st_size for file in files}, "difference": difference}


def _hub(
    path: Path, out: Path, repo: str | None, license: str | None, public: bool, dry_run: bool, json: bool
) -> None:
    from ganvas import hub as address
    from ganvas.errors import GanvasError, size
    from ganvas.export import hub
    from ganvas.model_file import load

    if repo is None and not dry_run:
        raise GanvasError("Where to? Give --repo ORG/NAME, or --dry-run to write the folder alone.")
    if repo is not None:
        address.check_name(repo)
    if not dry_run and repo is not None:
        hub.login(repo)  # before the work
    _shared.outputs(out / address.CONFIG)
    model = load(path, device="cpu")
    files, kept = hub.write(model, out, repo=repo, license=license)
    said = {"to": "hub", "hash": model.hash, "files": {str(file): file.stat().st_size for file in files}}
    said["card"] = "kept" if kept else "written"
    if not dry_run and repo is not None:
        said["url"], said["revision"] = hub.upload(out, repo, model.hash, public=public)
    if json:
        _shared.answer(said)
        return
    for file in files:
        _shared.say(f"Written to {file} ({size(file.stat().st_size)})")
    if kept:
        _shared.say(
            f"{out / address.CARD} is kept as you changed it, whatever model it tells of; remove it for a new one."
        )
    if "url" in said:
        _shared.say(f'Uploaded to {said["url"]}: ganvas.load("hub:{repo}@{said["revision"]}")')
    else:
        _shared.say(
            f"Nothing was uploaded. Read {out / address.CARD}, then give --repo ORG/NAME without --dry-run."
        )
