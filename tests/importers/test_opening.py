"""Files of other toolkits as models: every command takes them, and what `ganvas import` writes draws the same."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import ganvas
from ganvas import importers, io
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.latent import directions, invert, spaces
from tests.importers.opened import FILES

MODELS = {
    "stylegan2_ada.pkl": "stylegan2", "stylegan2_of_3.pkl": "stylegan2", "stylegan2_tf.pkl": "stylegan2",
    "rosinality.pt": "stylegan2", "stylegan3_t.pkl": "stylegan3", "stylegan3_r.pkl": "stylegan3",
    "biggan_deep": "biggan", "r3gan.pkl": "r3", "lucidrains": "lucidrains", "lightweight": "lightweight",
}  # fmt: skip
CRITICS = {name for name, family in MODELS.items() if family in ("stylegan2", "stylegan3", "r3")}


@pytest.mark.parametrize("name", MODELS)
def test_a_file_is_a_model(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ganvas.load(FILES / name, device="cpu")
    assert (model.info.name, model.critic is not None) == (MODELS[name], name in CRITICS)
    assert model.info.source in repr(model)
    assert "z" in spaces(model)
    out = tmp_path / "model.safetensors"
    assert main(["import", str(FILES / name), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert model.info.source in said
    assert f", {sum(each.numel() for each in model.generator.parameters()):,} parameters\n" in said
    assert ("its critic came along" in said) == (name in CRITICS)
    assert sum("critic" in line for line in said.splitlines()) == 1, "one word on it, not two that disagree"
    again = ganvas.load(out, device="cpu")
    assert torch.equal(again.sample(4, seed=1), model.sample(4, seed=1)), "the same pixels"
    assert (again.hash, again.info.source, again.info.notes) == (
        model.hash,
        model.info.source,
        model.info.notes,
    )
    if model.critic is not None and again.critic is not None:
        images, labels = model.generator(model.latents(2), model.labels(2)), model.labels(2)
        assert torch.equal(again.critic(images, labels), model.critic(images, labels))
    assert ganvas.load(out, device="cpu", critic=False).critic is None


def test_what_was_found_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["import", str(FILES / "stylegan2_ada.pkl"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["source"] == "StyleGAN2-ADA (PyTorch)"
    assert found["critic"] is True
    assert Path(found["out"]) == Path("stylegan2_ada.safetensors")
    assert io.read_header(Path(found["out"]))["source"] == found["source"]


def test_a_state_dict_as_safetensors(tmp_path: Path) -> None:
    """The same keys without a pickle, as hubs pass them on."""
    from safetensors.torch import save_file

    from ganvas.inert import parameters, read

    tensors = parameters(read(FILES / "stylegan2_ada.pkl")["G_ema"])
    save_file({name: each.contiguous() for name, each in tensors.items()}, tmp_path / "theirs.safetensors")
    model = ganvas.load(tmp_path / "theirs.safetensors", device="cpu")
    whole = ganvas.load(FILES / "stylegan2_ada.pkl", device="cpu")
    assert model.info.name == "stylegan2"
    assert torch.equal(
        model.generator(model.latents(2), model.labels(2)), whole.generator(whole.latents(2), whole.labels(2))
    )


def test_what_is_not_another_toolkit_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.safetensors"
    ganvas.load("fashion", device="cpu").save(path)
    (tmp_path / "text.pkl").write_text("hello")
    (tmp_path / "empty").mkdir()
    for given, words in (
        (path, "is not of another toolkit"), (tmp_path / "gone.pkl", "No such file"),
        (tmp_path / "empty", "is not of another toolkit"), (tmp_path / "text.pkl", "text.pkl"),
    ):  # fmt: skip
        assert main(["import", str(given), "--out", str(tmp_path / "out.safetensors")]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_weights_without_their_config_are_refused(tmp_path: Path) -> None:
    file = importers.find(FILES / "biggan_deep")
    assert file is not None
    shutil.copy(file, tmp_path / "alone.bin")
    with pytest.raises(GanvasError, match=r"config\.json that was written beside them"):
        ganvas.load(tmp_path / "alone.bin", device="cpu")


def test_notes_of_a_file_are_words(tmp_path: Path) -> None:
    """A header from anybody: text that steers no terminal, and not without end."""
    path = tmp_path / "model.safetensors"
    model = ganvas.load(FILES / "lightweight", device="cpu")
    model.save(path)
    tensors, header = io.load_tensors(path)
    for changed, words in (
        ({"notes": ["x"] * 1000}, "notes"), ({"notes": [5]}, "notes"), ({"notes": 5}, "damaged header"),
        ({"source": 5}, "source"),
    ):  # fmt: skip
        io.save_tensors(path, tensors, {**header, **changed})
        with pytest.raises(GanvasError, match=words):
            ganvas.load(path, device="cpu")
    io.save_tensors(path, tensors, {**header, "notes": ["\x1b[2J"], "source": "\x1b]0;x\x07"})
    info = ganvas.load(path, device="cpu").info
    assert (info.notes[0] + info.source).isprintable()
    io.save_tensors(path, tensors, {**header, "notes": ["x" * 100_000]})
    assert ganvas.load(path, device="cpu").info.notes == ("x" * 1000,)


@pytest.mark.parametrize("with_critic", [True, 1, "yes"])
def test_a_claim_of_a_critic_that_is_not_there(tmp_path: Path, with_critic: object) -> None:
    path = tmp_path / "model.safetensors"
    ganvas.load(FILES / "lightweight", device="cpu").save(path)
    tensors, header = io.load_tensors(path)
    io.save_tensors(path, tensors, {**header, "with_critic": with_critic})
    assert ganvas.load(path, device="cpu").critic is None


@pytest.mark.parametrize(
    "name", ["stylegan2_ada.pkl", "stylegan3_t.pkl", "biggan_deep", "r3gan.pkl", "lucidrains", "lightweight"]
)
def test_commands_take_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of each kind through the tools: a sample, directions, a walk, an edit, an inversion."""
    monkeypatch.chdir(tmp_path)
    # Whether they work, and not how exact their figures are: fewer samples of networks that draw slowly.
    monkeypatch.setattr(directions, "EFFECT_SAMPLES", 8)
    monkeypatch.setattr(directions, "CONTROLS", 3)
    monkeypatch.setattr(invert, "CANDIDATES", 16)
    for command in (
        "sample --n 4 --out images.npy",
        "sample --seeds 1,2 --out seeds.png",
        "directions --method random --count 2 --out d.safetensors",
        "edit --direction d.safetensors --n 2 --out edit.png",
        "walk --keys 2 --frames 3 --out walk.png",
        "invert images.npy --method optimise --n 1 --steps 3 --restarts 1 --out found.npz",
    ):
        what, *given = command.split()
        if (name, what) == ("lightweight", "invert"):
            continue  # begins with 2,048 pictures of 128 px; test_every_tool has a small one
        assert main([what, str(FILES / name), *given, "--device", "cpu"]) == 0, (
            command,
            capsys.readouterr().err,
        )
        assert (tmp_path / given[-1]).is_file()


def test_a_folder_of_another_toolkit_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has a config.json, too. Nothing is written into it, and what is of runs says that it is none."""
    model = tmp_path / "biggan"
    shutil.copytree(FILES / "biggan_deep", model)
    about = io.read_json(model / "config.json")
    (model / "config.json").write_text(json.dumps({**about, "format_version": 1}))
    before = sorted(model.iterdir())
    for name, seed in (("known.npy", 3), ("held_out.npy", 4)):
        drawn = ganvas.load(model, device="cpu").sample(100, seed=seed)
        np.save(tmp_path / name, drawn.permute(0, 2, 3, 1).numpy())
    known, held_out = str(tmp_path / "known.npy"), str(tmp_path / "held_out.npy")
    common = ["--device", "cpu", "--n", "100"]
    assert main(["eval", str(model), "--reference", known, "--metrics", "frechet", *common]) == 0
    assert (
        main(["audit", str(model), "--data", known, "--held-out", held_out, "--extractor", "raw", *common])
        == 0
    )
    assert sorted(model.iterdir()) == before
    assert "damaged" not in capsys.readouterr().err
    for command in (["diagnose", str(model)], ["train", "--resume", str(model), "--kimg", "1"]):
        assert main(command) == 2
        assert "holds no config.json of a run" in capsys.readouterr().err
    assert main(["eval", str(model), "--snapshots"]) == 2
    assert "wants a run folder" in capsys.readouterr().err


def test_a_checkpoint_that_is_written_anew_while_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mixture of two states was taken for a model."""
    path, opened = tmp_path / "theirs.pt", importers.open_file
    shutil.copy(FILES / "rosinality.pt", path)

    def meanwhile(file: Path) -> importers.Imported:
        found = opened(file)
        os.utime(path, ns=(1, 1))
        return found

    assert ganvas.load(path, device="cpu").hash
    monkeypatch.setattr(importers, "open_file", meanwhile)
    with pytest.raises(GanvasError, match="was changed while it was read"):
        ganvas.load(path, device="cpu")
