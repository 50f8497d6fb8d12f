"""Units of a generator that was built by hand: one draws the top, one the bottom, one does nothing."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import ganvas
from ganvas.cli import main
from ganvas.errors import GanvasError
from ganvas.latent import open_space, paths
from ganvas.latent.dissect import by_effect, dissect, drawing_layers, switch, switched, where_on
from ganvas.latent.space import spaces
from ganvas.model import Model, ModelInfo
from ganvas.networks import build_generator
from ganvas.presets import presets

module = sys.modules["ganvas.latent.dissect"]
overlap, pixel_masks = module._overlap, module._pixel_masks


class Painted(nn.Module):
    """z -> 6 maps of 8 x 8: unit 0 lights the top half, unit 1 the bottom half, the others are not read."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Identity()
        self.top = torch.zeros(8, 8)
        self.top[:4] = 1

    def forward(self, z: Tensor) -> Tensor:
        strength = z[:, :6, None, None].sigmoid()
        places = torch.stack(
            [
                self.top,
                1 - self.top,
                *[torch.rand(8, 8, generator=torch.Generator().manual_seed(i)) for i in range(4)],
            ]
        )
        hidden = self.maps(strength * places)
        return 2 * (hidden[:, :1] + hidden[:, 1:2]) - 1


def space():  # type: ignore[no-untyped-def]
    return open_space(ganvas.wrap(Painted(), latent_dim=6), "z")


def test_the_unit_of_a_mask_and_of_an_attribute() -> None:
    top = torch.zeros(8, 8)
    top[:4] = 1
    found = dissect(space(), n=256, masks={"top": top, "bottom": 1 - top})
    assert found.layers == ("module.maps",)
    first = found.units("top")[0]
    assert (first.index, first.kind) == (0, "mask")
    assert found.units("bottom")[0].index == 1
    assert {unit.index for unit in found.units("brightness", 2)} == {0, 1}
    assert first.agreement > 1.5 * found.agreement["module.maps"][2:, found.concepts.index("top")].max()


@pytest.mark.parametrize("preset", ["biggan", "sagan"])
def test_what_makes_weights_is_no_layer(preset: str) -> None:
    """Weights under spectral norm have four sizes as well, and were taken for maps."""
    network = replace(
        presets.get(preset).network, conditional=True, generator={"channels": 8, "spectral_norm": True}
    )
    generator = build_generator(network, (3, 32, 32), 3)
    model = Model(generator.eval(), None, ModelInfo.of(generator, preset))
    layers = drawing_layers(model)
    assert not any("parametrizations" in name for name in (*layers, *spaces(model)))
    assert dissect(open_space(model, "z"), n=70).layers == tuple(layers)


def test_maps_of_all_samples_are_seen_however_few_are_drawn_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, few = space(), space()
    monkeypatch.setitem(vars(few.model), "at_once", 5)
    expected, found = (dissect(each, n=32).agreement["module.maps"] for each in (whole, few))
    torch.testing.assert_close(found, expected)


def test_maps_are_those_of_their_layer_where_the_next_one_works_in_place() -> None:
    generator = nn.Sequential(
        nn.Unflatten(1, (6, 1, 1)), nn.Upsample(8), nn.ReLU(True), nn.Conv2d(6, 3, 1), nn.Tanh()
    )
    found = dissect(open_space(ganvas.wrap(generator, latent_dim=6), "z"), ["module.1"], n=32)
    weak = found.agreement["module.1"]
    torch.testing.assert_close(found.high["module.1"], found.high["module.1"].clamp(min=0))
    z = open_space(ganvas.wrap(generator, latent_dim=6), "z").numbered(32)
    brightest = z.double().topk(3, dim=0).values.mean(0).float()
    torch.testing.assert_close(found.high["module.1"][:, 0, 0], brightest)
    assert weak.isfinite().all()


def test_what_gives_no_maps_has_no_units() -> None:
    generator = nn.Sequential(
        nn.Linear(6, 64), nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 6, 1), nn.Conv2d(6, 3, 1), nn.Tanh()
    )
    dense = open_space(ganvas.wrap(generator, latent_dim=6), "z")
    with pytest.raises(GanvasError, match=r"'module.0' gives no maps"):
        dissect(dense, ["module.0"], n=32)


def test_switching_off_and_on() -> None:
    where = space()
    found = dissect(where, n=128)
    points = where.numbered(64, 3)
    unit = next(unit for unit in found.units("brightness", 6) if unit.index == 0)
    before = where.decode(points)
    with switched(where.model, [unit]):
        off = where.decode(points)
    with switched(where.model, [unit], found.high):
        on = where.decode(points)
    assert (off[:, :, :4] == -1).all(), "the top is dark"
    assert torch.equal(off[:, :, 4:], before[:, :, 4:]), "the bottom stays"
    assert on[:, :, :4].mean() > before[:, :, :4].mean()
    assert torch.equal(on[:, :, 4:], before[:, :, 4:])
    assert torch.equal(where.decode(points), before), "outside nothing is switched"


def test_where_units_are_on_is_coloured() -> None:
    where = space()
    unit = dissect(where, n=128, masks={"top": Painted().top}).units("top")[0]
    found = where_on(where, [unit], count=5, n=64)
    assert found.shape == (1, 5, 3, 8, 8)
    red, blue = found[0, :, 0].int(), found[0, :, 2].int()
    assert (red[:, :4] > blue[:, :4]).all(), "unit 0 is on in the top half"
    assert torch.equal(red[:, 4:], blue[:, 4:]), "the other half is the picture, dimmed"
    strength = where.numbered(64, 0)[:, 0].topk(5).indices
    light = where.model.to_data(where.decode(where.numbered(64, 0)))[strength, 0, 4:].float() / 3
    torch.testing.assert_close(red[:, 4:].float(), light.round())


def test_causes_come_before_what_only_goes_along() -> None:
    found = dissect(space(), n=128)
    ranked = by_effect(space(), found.units("stroke", 6))
    assert {unit.index for unit, _ in ranked[:2]} == {0, 1}
    assert all(effect < -0.05 for _, effect in ranked[:2])
    assert all(effect == 0 for _, effect in ranked[2:])


def test_mistakes() -> None:
    with pytest.raises(GanvasError, match="no layer 'mops'"):
        dissect(space(), ["mops"])
    with pytest.raises(GanvasError, match=r"is \(4, 4\), the samples are \(8, 8\)"):
        dissect(space(), n=8, masks={"mine": torch.ones(4, 4)})
    with pytest.raises(GanvasError, match="Did you mean 'stroke'"):
        dissect(space(), n=8).units("stroek")
    points = ganvas.wrap(nn.Linear(3, 2), latent_dim=3)
    with pytest.raises(GanvasError, match="for generators of images"):
        dissect(open_space(points, "z"))
    with pytest.raises(GanvasError, match="and this model draws points"):
        switch(open_space(points, "z"))
    with pytest.raises(GanvasError, match="no units to dissect"):
        drawing_layers(points)


@pytest.mark.slow
def test_by_command_on_the_packaged_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Switching off the units of sandals on new samples lowers the share of sandals."""
    out = tmp_path / "a.png"
    flags = ["--concept", "class:Sandal", "--n", "256", "--units", "4", "--out", str(out), "--device", "cpu"]
    assert main(["dissect", "fashion", *flags, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["units"]) == 4
    assert document["after"]["class:Sandal"] < document["before"]["class:Sandal"]
    assert out.is_file()
    assert Path(document["out_units"]).is_file()
    assert (
        main(["dissect", "fashion", "--concept", "mask", "--n", "16", "--out", str(out), "--device", "cpu"])
        == 2
    )
    assert "no concept 'mask'" in capsys.readouterr().err


def test_large_pictures_are_looked_at_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks and pictures of 1,024 px took 8 GB."""
    where, rows = space(), list[int]()
    found = dissect(where, n=64)
    units = found.units("stroke", 3)
    whole = by_effect(where, units), where_on(where, units, 5, 64), switch(where, "stroke", units=2, n=64)
    monkeypatch.setattr(paths, "NUMBERS", 7 * 64)
    monkeypatch.setitem(vars(where.model), "at_once", 16)
    monkeypatch.setattr(
        module, "_overlap", lambda maps, masks: rows.append(masks[0].shape[-1]) or overlap(maps, masks)
    )
    monkeypatch.setattr(
        module, "_pixel_masks", lambda images: rows.append(len(images)) or pixel_masks(images)
    )
    parts = by_effect(where, units), where_on(where, units, 5, 64), switch(where, "stroke", units=2, n=64)
    assert max(rows) <= 16
    assert [unit for unit, _ in parts[0]] == [unit for unit, _ in whole[0]]
    assert [effect for _, effect in parts[0]] == pytest.approx([effect for _, effect in whole[0]], abs=1e-5)
    assert torch.equal(parts[1], whole[1])
    assert parts[2].after == pytest.approx(whole[2].after, rel=1e-5)
    assert torch.equal(parts[2].changed, whole[2].changed)


@pytest.mark.parametrize(("most", "size"), [(1000, 61), (1000, 4), (100, 1), (10**6, 61)])
def test_where_units_are_on_is_found_without_the_maps_of_all_samples(
    monkeypatch: pytest.MonkeyPatch, most: int, size: int
) -> None:
    """Eight units of 4,000 pictures of 128 px took 2.1 GB, of 50,000 26 GB."""
    maps = torch.randn(300, 5, 7, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(module, "MOST_SORTED", most)
    several = module._Strongest(10, len(maps))
    for part in maps.split(size):
        several.add(part)
    assert several.rows.tolist() == maps.amax((1, 2)).topk(10).indices.tolist()
    assert torch.equal(several.maps, maps[several.rows])
    assert several.limit == module._quantile(maps, 1 - module.TOP)


def test_as_many_samples_as_usual_have_room_in_the_largest_published_network() -> None:
    """StyleGAN3-R of 1024 px was refused with the command's own --n."""
    layers = ((1024, 36), (1024, 52), (1024, 84), (1024, 148), (406, 276), (256, 532), (64, 1044), (64, 1024))
    seen = {str(side): torch.empty(1, width, side, side, device="meta") for width, side in layers}
    module._check_room(seen, 512)
    with pytest.raises(GanvasError, match="Look at"):
        module._check_room(seen, 1024)


def test_more_samples_than_there_is_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD", 4 * 6 * 64 * 300)
    dissect(space(), n=300)
    with pytest.raises(GanvasError, match=r"400 samples take .* Look at 300 at most \(--n\)"):
        dissect(space(), n=400)
