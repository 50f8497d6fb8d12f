"""`ganvas info`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ganvas.cli import _shared

if TYPE_CHECKING:
    from ganvas.model import Model


def run(model: Annotated[Path, tyro.conf.Positional], *, json: bool = False) -> None:
    """Say what a model is: its networks, what it was trained on, what bounds its knowledge of that, what an audit found.

    All of it is the word of its file, but for the numbers of the networks.

    Args:
        model: A run or snapshot folder, a .safetensors file, a file of another toolkit, or a name from `ganvas list models`.
        json: Print JSON for programs.
    """
    from ganvas.model_file import load

    found = load(model, device="cpu")
    if json:
        _shared.answer(facts(found))
        return
    _shared.say("\n".join(f"{name:<10}  {line}" for name, line in _lines(found)))


def facts(model: "Model") -> dict[str, Any]:
    """What is known of a model, as JSON; what is not is None."""
    info = model.info
    data, training = info.data, info.training
    return {
        "model": model.place, "hash": model.hash, "family": info.name, "source": info.source or None,
        "shape": list(info.shape), "latent_dim": info.latent_dim, "prior": info.prior, "classes": info.num_classes,
        "class_names": None if info.class_names is None else list(info.class_names),
        "parameters": _count(model.generator), "critic": None if model.critic is None else _count(model.critic),
        "encoder": None if model.encoder is None else _count(model.encoder), "kimg": info.kimg,
        "data": None if data is None else {"name": data.name or None, "fingerprint": data.fingerprint or None},
        "preset": None if training is None else training.preset, "method": None if training is None else training.method.name,
        "privacy": None if info.privacy is None else info.privacy._asdict(),
        "audit": info.header().get("audit"), "notes": list(info.notes),
    }  # fmt: skip


def _count(network: Any) -> int:
    return sum(each.numel() for each in network.parameters())


def _lines(model: "Model") -> list[tuple[str, str]]:
    """The same for people: what, and what is said of it."""
    from ganvas.errors import counted
    from ganvas.types import counted_samples

    said, info = facts(model), model.info
    size = " x ".join(map(str, info.shape))
    classes = f", {counted(info.num_classes, 'class', 'classes')}" if info.num_classes else ""
    others = [f"{name} of {said[name]:,}" for name in ("critic", "encoder") if said[name] is not None]
    networks = [f"generator of {said['parameters']:,} weights", *others]
    data = said["data"] and said["data"]["name"]
    seen = counted_samples(round(1000 * info.kimg), info.shape) if info.kimg else ""
    trained = f", {seen} long" if seen else ""
    trained = f"{data or 'data that its file does not name'}{trained}"
    origin = f"read from a file of {info.source}" if info.source else trained
    how = f" (preset {said['preset']}, method {said['method']})" if info.training else ""
    return [
        ("model", f"{model.place or 'a module'}, weights {said['hash']}"),
        ("draws", f"{info.name}: z of {info.latent_dim} numbers, {info.prior} -> {size}{classes}"),
        ("networks", ", ".join(networks)),
        ("trained on", f"{origin}{how}"),
        (
            "privacy",
            f"{info.privacy}: what it can know of any one sample"
            if info.privacy
            else "nothing bounds what it knows",
        ),
        (
            "audit",
            f"{info.audit}, by {info.audit.samples:,} samples" if info.audit else _audited(model),
        ),
        *(("note", note) for note in info.notes),
    ]


def _audited(model: "Model") -> str:
    """Where an audit lies whose result is not in the model's file: in its run."""
    run = None if model.path is None else model.path.parent.parent.parent
    if run is not None and (run / "evaluation" / "audit.json").is_file():
        return f"of this run, maybe of another snapshot: {run / 'report.html'}"
    return "not known: ganvas audit"
