"""Files that look like another toolkit's and were made to cost memory or time: each of a few MB, refused before it does."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganvas import inert
from ganvas.errors import GanvasError
from ganvas.importers import open_file, recognise
from ganvas.importers.parts import Weights
from ganvas.inert import Thing
from tests.importers.opened import content


def state_dict(latent_dim: int = 4, w_dim: int = 4) -> dict[str, Tensor]:
    """A StyleGAN2 of 8 px by NVIDIA's names, without a mean of w."""
    found = {"synthesis.b4.const": torch.randn(2, 4, 4)}
    for name, outputs, kernel in [
        ("b4.conv1", 2, 3), ("b8.conv0", 2, 3), ("b8.conv1", 2, 3), ("b4.torgb", 3, 1), ("b8.torgb", 3, 1)
    ]:  # fmt: skip
        found[f"synthesis.{name}.weight"] = torch.randn(outputs, 2, kernel, kernel)
        found[f"synthesis.{name}.bias"] = torch.zeros(outputs)
        found[f"synthesis.{name}.affine.weight"] = torch.randn(2, w_dim)
        found[f"synthesis.{name}.affine.bias"] = torch.ones(2)
    found["mapping.fc0.weight"], found["mapping.fc0.bias"] = (
        torch.randn(w_dim, latent_dim),
        torch.zeros(w_dim),
    )
    return found


def refused(path: Path, said: str) -> None:
    with pytest.raises(GanvasError, match=said):
        open_file(path)


def test_a_mean_of_w_is_not_drawn_of_whatever_size(tmp_path: Path) -> None:
    """10,000 latents of a million numbers are 40 GB, of a file of 16 MB."""
    torch.save(state_dict(8192), tmp_path / "good.pt")
    assert open_file(tmp_path / "good.pt").network.latent_dim == 8192
    torch.save(state_dict(200_000), tmp_path / "large.pt")
    refused(tmp_path / "large.pt", "a mapping of 200,000 numbers: it is taken of 8,192")


def test_numbers_that_tensors_share_are_not_copied_for_each(tmp_path: Path) -> None:
    """Sixty layers of the same 2 MB would be opened as sixty times as much, and by the thousand fill any memory."""
    found, same = state_dict(512, 512), torch.randn(512, 512)
    for i in range(60):
        found[f"mapping.fc{i}.weight"], found[f"mapping.fc{i}.bias"] = same[:], torch.zeros(512)
    torch.save(found, tmp_path / "model.pt")
    assert (tmp_path / "model.pt").stat().st_size < 2 * same.numel() * 4
    refused(tmp_path / "model.pt", "the same numbers again and again")
    (tmp_path / ".config.json").write_text(json.dumps({"image_size": 8}))
    held = {"GE.blocks.0.conv1.weight": torch.zeros(2, 2, 3, 3)}
    for i in range(200):
        held |= {f"SE.net.{2 * i}.weight": same[:], f"SE.net.{2 * i}.bias": same[0]}
    torch.save({"GAN": held}, tmp_path / "model_1.pt")
    refused(tmp_path / "model_1.pt", "the same numbers again and again")


def test_two_networks_may_share_their_weights() -> None:
    one = torch.randn(8, 8)
    weights = Weights({"a": one, "b": one[:], "c": torch.randn(3)}, "somebody's")
    assert torch.equal(weights.take("a", 2), weights.take("b", 2))


def test_names_do_not_multiply() -> None:
    """The name of a module stands before that of each of its tensors: 60,000 times 500 kB are 30 GB."""
    inner = Thing("m.M", state={"_modules": {}, "_parameters": {}, "_buffers": {"b": torch.zeros(1)}})

    def outer(name: str) -> Thing:
        return Thing("m.M", state={"_modules": {name: inner}, "_parameters": {}, "_buffers": {}})

    assert list(inert.parameters(outer("a" * 298))) == ["a" * 298 + ".b"]
    with pytest.raises(GanvasError, match="a name of more than 300 letters"):
        inert.parameters(outer("a" * 299))
    with pytest.raises(GanvasError, match="a name of 301 letters"):
        Weights({"a" * 301: torch.zeros(1)}, "somebody's")


def test_shared_parts_do_not_multiply_names() -> None:
    """A file of 330 kB whose modules hold the same ones again and again had 3.5 million names, 11 GB."""
    leaf = Thing("m.M", state={"_modules": {}, "_parameters": {f"{i}": torch.zeros(1) for i in range(50)}})
    middle = Thing("m.M", state={"_modules": {f"{i}": leaf for i in range(20)}})
    for wide, good in ((16, True), (17, False)):
        whole = Thing("m.M", state={"_modules": {f"{i}": middle for i in range(wide)}})
        if good:
            assert len(inert.parameters(whole)) == wide * 20 * 50
            continue
        with pytest.raises(GanvasError, match="more than 16,384 modules and tensors"):
            inert.parameters(whole)
        with pytest.raises(GanvasError, match="more than 16,384 modules and tensors"):
            recognise({"G_ema": whole})


@pytest.mark.parametrize(("name", "count"), [("a" * 10**6, 100), ("a", 2**14 + 1)])
def test_components_do_not_multiply_names(name: str, count: int) -> None:
    """One of 1.1 MB had ten thousand names of a million letters."""
    kind, same = "dnnlib.tflib.network.Network", torch.zeros(1)
    leaf = Thing(kind, state={"variables": [(f"{i}", same) for i in range(count)]})
    empty = Thing(kind, state={"variables": []})
    whole = Thing(kind, state={"version": 4, "components": {"synthesis": empty, name: leaf}})
    with pytest.raises(GanvasError, match="more than 16,384 arrays, or names of more than 300 letters"):
        recognise((whole, whole, whole))


def test_a_network_of_more_tensors_than_any_is_refused() -> None:
    """Looked through once for each of thousands of blocks they cost minutes."""
    same = torch.zeros(1)
    with pytest.raises(GanvasError, match="16,385 tensors for one network"):
        Weights({f"t{i}": same for i in range(2**14 + 1)}, "somebody's")


@pytest.mark.parametrize("said", [{"filter_size": 40_000}, {"lrelu_upsampling": 65_536}, {"filter_size": 0}])
@pytest.mark.parametrize("name", ["stylegan3_r.pkl", "stylegan3_t.pkl"])
def test_filters_of_any_size_are_not_designed(name: str, said: dict[str, int]) -> None:
    """A radial one of 80,000 taps has 51 GB."""
    found = content(name)
    found["G_ema"].state["_init_kwargs"].update(said)
    with pytest.raises(GanvasError, match="taps are none"):
        recognise(found)


def test_keys_that_are_numbers_are_counted(tmp_path: Path) -> None:
    """A number's hash is the number: chosen ones meet in a dict, and each is then compared with all before it."""
    for count, good in ((2**15, True), (2**15 + 1, False)):
        path = tmp_path / f"{count}.pkl"
        path.write_bytes(pickle.dumps([torch.zeros(1), dict.fromkeys(range(count))], protocol=4))
        if good:
            assert len(inert.read(path)[1]) == count
        else:
            with pytest.raises(GanvasError, match="32,768 numbers as keys"):
                inert.read(path)


@pytest.mark.parametrize("value", [torch.zeros(3), {}, [1]])
def test_what_no_toolkit_writes_is_a_sentence(value: Any) -> None:
    """Wherever an importer meets it: a tensor where a word is expected is neither equal nor different."""
    found = content("stylegan2_ada.pkl")
    layer = found["G_ema"].state["_modules"]["synthesis"].state["_modules"]["b4"].state["_modules"]["conv1"]
    layer.state["activation"] = value
    with pytest.raises(GanvasError, match=r"not of the kind that this writes|none of lrelu, relu and linear"):
        recognise(found)
