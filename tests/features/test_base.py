import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganvas import io
from ganvas.checkpoint import hash_of
from ganvas.data import load_dataset
from ganvas.errors import GanvasError
from ganvas.features import Embedded, classifier, decoded, embed, embed_dataset, extractors, open_extractor
from ganvas.features.base import Raw, grey_or_rgb, in_parts
from ganvas.features.cache import path_of

CPU = torch.device("cpu")
IMAGES = torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_raw() -> None:
    assert torch.equal(Raw()(IMAGES).features, IMAGES.flatten(1) / 255)
    points = torch.randn(5, 2)
    assert torch.equal(Raw()(points).features, points)


def test_anybodys_module_and_function() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    wrapped = open_extractor(lambda images: images.float().mean((2, 3)), device="cpu")
    assert torch.equal(wrapped(IMAGES).features, IMAGES.float().mean((2, 3)))
    assert not wrapped.cacheable, "nothing tells two functions apart"
    grey = open_extractor(lambda images: images.float().mean((1, 2, 3)), device="cpu")
    assert grey(IMAGES).features.shape == (len(IMAGES), 1)

    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, images: Tensor) -> Tensor:
            out: Tensor = self.inner(images.float())
            return out

    mine = open_extractor(Mine(), device="cpu")
    assert not mine.cacheable, "nor two modules with the same weights"
    assert mine.id.startswith("custom-mine-")
    before = hash_of(module)
    nn.init.zeros_(module[1].weight)
    assert hash_of(module) != before
    with pytest.raises(GanvasError, match="one row an image"):
        open_extractor(lambda images: images.float().mean(), device="cpu")(IMAGES)


def test_modules_that_differ_in_what_is_no_weight_have_features_of_their_own() -> None:
    class Scaled(nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

        def forward(self, images: Tensor) -> Tensor:
            return images.float().flatten(1) * self.by

    data = load_dataset("digits").subset(torch.arange(20))
    one, two = (embed_dataset(data, open_extractor(Scaled(by), device="cpu")).features for by in (1.0, 2.0))
    np.testing.assert_allclose(two, 2 * one)


def test_grey_and_rgb() -> None:
    rgb = torch.tensor([100, 200, 50], dtype=torch.uint8).view(1, 3, 1, 1)
    assert int(grey_or_rgb(rgb, 1)) == round(0.299 * 100 + 0.587 * 200 + 0.114 * 50)
    assert torch.equal(grey_or_rgb(IMAGES, 3), IMAGES.repeat(1, 3, 1, 1))


def test_names_and_what_fits_the_data(tmp_path: Path) -> None:
    assert open_extractor("auto", load_dataset("digits"), "cpu").id.startswith("classifier-digits-")
    assert open_extractor("auto", load_dataset("toy:ring8"), "cpu").id == "raw"
    np.save(tmp_path / "digits.npy", np.zeros((20, 8, 8, 3), np.uint8))
    namesake = load_dataset(str(tmp_path / "digits.npy"))
    assert namesake.name == "digits"
    assert open_extractor("auto", namesake, "cpu").id.startswith("efficientnet-lite0-"), (
        "it is another data set"
    )
    with pytest.raises(GanvasError, match="no bundled classifier for digits"):
        open_extractor("classifier", namesake, "cpu")
    digits = load_dataset("digits")
    larger = torch.zeros(20, 1, 64, 64, dtype=torch.uint8)
    others = (
        replace(digits, items=larger, shape=(1, 64, 64)),  # a folder of large pictures that is called digits
        replace(digits, class_names=tuple("abcdefghij")),
        replace(digits, labels=None, class_names=()),
    )
    for other in others:
        assert open_extractor("auto", other, "cpu").id.startswith("efficientnet-lite0-")


def test_what_is_refused_for_lack_of_a_classifier_names_what_works_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And says why one of that name is none: its list of those there are named it, as if there were one."""
    monkeypatch.setattr("ganvas.networks.efficientnet.installed", lambda: False)
    digits = load_dataset("digits")
    small = replace(digits, items=digits.items[:, :, ::2, ::2], shape=(1, 4, 4))
    for data, why in (
        (small, "digits as samples of 1 x 4 x 4: the one of that name takes 1 x 8 x 8"),
        (replace(digits, labels=None, class_names=()), "digits with these labels: the one of that name"),
        (replace(digits, name="mine"), r"mine \(bundled, for these data at their own size: digits,"),
    ):
        with pytest.raises(GanvasError, match=why) as error:
            open_extractor("auto", data, "cpu")
        assert "--extractor pyramid" in str(error.value)
        assert open_extractor("pyramid", data, "cpu")(data.take(torch.arange(2))[0]).features.any()
    with pytest.raises(GanvasError, match="--extractor raw"):
        open_extractor("classifier", load_dataset("toy:ring8"), "cpu")


def test_the_pyramid_in_numbers() -> None:
    """Level 51 of 255 everywhere has no detail: a grey level at each scale. A checkerboard of 0 and 255 has half of all range
    around its mean at the finest scale, and none at the next ones."""
    see = open_extractor("pyramid")
    plain = see(torch.full((1, 3, 64, 64), 51, dtype=torch.uint8)).features
    assert plain.shape == (1, 3 * 64 + 3 * 16)
    torch.testing.assert_close(plain[0, :192], torch.full((192,), 0.2))
    torch.testing.assert_close(plain[0, 192:], torch.full((48,), -np.log10(255)).float())
    board = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 255
    found = see(board.to(torch.uint8)[None, None]).features
    assert found.shape == (1, 64 + 2 * 16)
    torch.testing.assert_close(found[0, :64], torch.full((64,), 0.5))
    torch.testing.assert_close(found[0, 64:80], torch.full((16,), np.log10(0.5 + 1 / 255)).float())
    torch.testing.assert_close(found[0, 80:], torch.full((16,), -np.log10(255)).float())
    with pytest.raises(GanvasError, match="Use raw"):
        see(torch.zeros(3, 2))


def test_what_has_guided_a_training_does_not_judge_it() -> None:
    mine = replace(load_dataset("digits"), name="mine")
    assert open_extractor("auto", mine).id.startswith("efficientnet-lite0")
    assert open_extractor("auto", mine, guide="efficientnet-lite0").id == "pyramid-1"
    digits = open_extractor("auto", load_dataset("digits"), guide="efficientnet-lite0")
    assert digits.id.startswith("classifier-digits")
    for choice in ("efficientnet-lite0", open_extractor("efficientnet-lite0")):
        with pytest.raises(GanvasError, match="efficientnet-lite0 guided the training of this model"):
            open_extractor(choice, mine, guide="efficientnet-lite0")


@pytest.mark.parametrize("name", ["classifier-digits", "raw"])
def test_a_file_called_like_an_extractor_is_not_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One of a stranger in the current folder, which nobody had named, measured by a network of its own."""
    wanted = open_extractor(name, device="cpu").id
    (tmp_path / name).write_bytes(b"no network")
    monkeypatch.chdir(tmp_path)
    assert open_extractor(name, device="cpu").id == wanted
    assert open_extractor("auto", load_dataset("digits"), device="cpu").id.startswith("classifier-digits")
    shutil.copy(classifier.FOLDER / "digits.safetensors", "mine")
    assert open_extractor("mine", device="cpu").id == open_extractor("classifier-digits", device="cpu").id


def test_labels_with_a_gap_make_no_million_classes() -> None:
    images = torch.zeros(20, 1, 8, 8, dtype=torch.uint8)
    labels = torch.tensor([1, 1_000_000]).repeat(10)
    with pytest.raises(GanvasError, match="Number the classes from 0 to 1"):
        classifier.train(images, labels, (images, labels), device=CPU)
    with pytest.raises(GanvasError, match="Did you mean 'dinov2'"):
        open_extractor("dinov3", device="cpu")


def test_the_bundled_classifiers_are_small_and_right() -> None:
    assert sum(path.stat().st_size for path in classifier.FOLDER.iterdir()) < 2 * 2**20
    assert {"digits", "fashion-mnist", "mnist"} <= set(classifier.bundled())
    for name in classifier.bundled():
        assert f"classifier-{name}" in extractors
    digits = load_dataset("digits")
    _, held_out = digits.split(0.1)
    images, labels = held_out.take(torch.arange(len(held_out)))
    opened = open_extractor("classifier-digits", device="cpu")
    logits = opened(images).logits
    assert logits is not None
    assert float((logits.argmax(1) == labels).double().mean()) > 0.95
    larger = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    again = opened(larger.expand(-1, 3, -1, -1)).logits
    assert again is not None
    assert float((again.argmax(1) == labels).double().mean()) > 0.9, (
        "other sizes and colours are brought to its own"
    )


@pytest.mark.parametrize("body", ["plain", "residual"])
def test_training_is_repeatable_and_saved_whole(tmp_path: Path, body: classifier.Body) -> None:
    digits = load_dataset("digits")
    images, labels = digits.take(torch.arange(600))
    assert labels is not None
    held_out = (images[500:], labels[500:])
    first, second = (
        classifier.train(images[:500], labels[:500], held_out, epochs=60, body=body, device=CPU)
        for _ in range(2)
    )
    assert hash_of(first.network) == hash_of(second.network)
    assert first.accuracy > 0.8
    classifier.save(tmp_path / "mine.safetensors", first, "mine", {})
    opened = open_extractor(tmp_path / "mine.safetensors", device="cpu")
    assert opened.id == f"classifier-mine-{hash_of(first.network)}", (
        "of eight digits another can be made, and kept for it"
    )
    torch.testing.assert_close(opened(images[:5]).features, first.network(images[:5])[0])
    tensors, header = io.load_tensors(tmp_path / "mine.safetensors")
    assert header["body"] == body
    io.save_tensors(tmp_path / "odd.safetensors", tensors, {**header, "body": "round"})
    with pytest.raises(GanvasError, match="unknown body 'round'"):
        open_extractor(tmp_path / "odd.safetensors", device="cpu")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="No such file"):
        open_extractor(tmp_path / "none.safetensors", device="cpu")
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(GanvasError, match="not a readable safetensors"):
        open_extractor(tmp_path / "bad.safetensors", device="cpu")


def test_features_are_kept_and_nothing_is_decoded_twice() -> None:
    digits = load_dataset("digits")
    train, held_out = digits.split(0.1)
    extractor = open_extractor("auto", digits, "cpu")
    decoded.seen = 0
    first = embed_dataset(train, extractor)
    assert decoded.seen == len(train)
    again = embed_dataset(train, extractor)
    assert decoded.seen == len(train)
    np.testing.assert_array_equal(first.features, again.features)
    assert first.logits is not None
    np.testing.assert_array_equal(first.logits, again.logits)
    path = path_of(train, extractor)
    kept, header = io.load_tensors(path)
    del header["format_version"]
    odd = {name: kept[name][:3] for name in kept} | {
        "nan": kept["features"] * float("nan"),
        "flat": kept["features"][0],
    }
    for name, tensor in odd.items():
        where = name if name in kept else "features"
        io.save_tensors(path, {**kept, where: tensor}, header)
        np.testing.assert_array_equal(embed_dataset(train, extractor).features, first.features, name)
    io.save_tensors(path, {name: kept[name] for name in kept if name != "mean"}, header)
    assert embed_dataset(train, extractor).moments is not None
    # Of another type, with a covariance that is none, and somebody else's under this name.
    for changed, said in (
        ({"features": kept["features"].bfloat16()}, {}), ({"cov": kept["cov"] * float("nan")}, {}),
        ({"features": kept["features"] + 1}, {"extractor": "another"}), ({"mean": kept["mean"] + 1}, {"fingerprint": "0" * 16}),
    ):  # fmt: skip
        io.save_tensors(path, {**kept, **changed}, {**header, **said})
        found = embed_dataset(train, extractor)
        np.testing.assert_array_equal(found.features, first.features, str(said))
        assert found.moments is not None
        np.testing.assert_array_equal(found.moments.mean, kept["mean"].numpy())
        np.testing.assert_array_equal(found.moments.cov, kept["cov"].numpy())
    places = {path_of(part, e) for part in (train, held_out, digits) for e in (extractor, Raw())}
    assert len(places) == 6, "another part or another extractor is another file"
    longest = path_of(replace(train, name="\u82b1" * 80), extractor)
    assert len(longest.name.encode()) < 255, "a folder's own name may be as long as a name can be"


def test_bad_features_are_noticed() -> None:
    with pytest.raises(GanvasError, match="NaN"):
        embed(open_extractor(lambda images: images.float() / 0 * 0, device="cpu"), [IMAGES])
    with pytest.raises(GanvasError, match="empty"):
        embed(Raw(), [])


def written(path: Path, **change: object) -> Path:
    """A classifier's file with another header."""
    network = classifier.Classifier((1, 64, 64), 10)
    io.save_tensors(path, network.state_dict(), {"kind": "classifier", "name": "x", **network.spec, **change})
    return path


def test_a_classifier_names_its_classes(tmp_path: Path) -> None:
    digits = replace(load_dataset("digits"), class_names=tuple("jihgfedcba"))
    train, held_out = digits.split(0.9)
    trained = classifier.train_on(train, held_out, epochs=1, device=CPU)
    classifier.save(tmp_path / "mine.safetensors", trained, "mine", {})
    assert classifier.load(tmp_path / "mine.safetensors", CPU).class_names == digits.class_names
    assert (
        classifier.load(classifier.FOLDER / "fashion-mnist.safetensors", CPU).class_names[-1] == "Ankle boot"
    )
    assert classifier.load(written(tmp_path / "before.safetensors"), CPU).class_names == ()


@pytest.mark.parametrize(
    "names", ["0123456789", list("012345678"), [*"012345678", 9], {"0": 1}, 10, ["a" * 1001] * 10]
)
def test_names_of_classes_in_a_file_are_checked(tmp_path: Path, names: object) -> None:
    with pytest.raises(GanvasError, match=r"class_names are no names of 10 classes|1,000 are taken at most"):
        classifier.load(written(tmp_path / "x.safetensors", class_names=names), CPU)


def test_names_of_classes_in_a_file_rewrite_no_screen(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", class_names=["\x1b[2Ja\nb", *"123456789"])
    assert classifier.load(path, CPU).class_names[0] == "\\x1b[2Ja\\nb"


@pytest.mark.parametrize(
    "shape", [[1, 2048, 2048], [1, 8, 65_536], [1, 0, 64], [7, 64, 64], [1, 64], [1, 64, 64, 64]]
)
def test_a_classifier_of_huge_pictures_is_refused(tmp_path: Path, shape: list[int]) -> None:
    """Its weights know nothing of the size, to which all images are brought: 17 GB of 2048 px."""
    with pytest.raises(GanvasError, match="does not fit its own config"):
        classifier.load(written(tmp_path / "x.safetensors", shape=shape), CPU)


def test_few_large_pictures_are_looked_at_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert classifier.AT_ONCE // (1024**2 * classifier.Classifier((1, 64, 64), 10).channels) == 4
    monkeypatch.setattr(classifier, "AT_ONCE", classifier.AT_ONCE // 64)
    extractor = classifier.load(written(tmp_path / "x.safetensors", shape=[1, 128, 128]), CPU)
    seen: list[int] = []
    extractor.network.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    found = extractor(IMAGES[:6])
    assert seen == [4, 2]
    assert found.logits is not None
    assert (found.features.shape, found.logits.shape) == ((6, 64), (6, 10))


def test_large_networks_see_a_few_pictures_at_a_time_on_a_cpu() -> None:
    seen = []

    def see(part: Tensor) -> Embedded:
        seen.append(len(part))
        return Embedded(part.flatten(1).float(), part.flatten(1).float()[:, :2])

    found = in_parts(see, IMAGES.repeat(6, 1, 1, 1), CPU)
    assert seen == [32, 32, 8]
    assert torch.equal(found.features, IMAGES.repeat(6, 1, 1, 1).flatten(1).float())
    assert found.logits is not None
    assert len(found.logits) == 72


def test_a_classifier_learns_of_fewer_large_pictures_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(classifier, "_shift", lambda images, *_: seen.append(len(images)) or images)
    images = torch.randint(0, 256, (40, 1, 256, 256), dtype=torch.uint8)
    labels = torch.arange(40) % 2
    classifier.train(images, labels, (images[:2], labels[:2]), epochs=1, device=CPU)
    assert seen == [32]


def test_a_classifier_is_not_trained_on_more_than_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a set streams, and all of it at once would be asked for."""
    monkeypatch.setattr("ganvas.data.limits.ALWAYS", 2**10)
    monkeypatch.setenv("GANVAS_RESIDENT_MB", "0.01")
    for i in range(40):
        path = tmp_path / "many" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (i, i, i)).save(path)
    data = load_dataset(str(tmp_path / "many"))
    assert not data.resident
    with pytest.raises(GanvasError, match="GANVAS_RESIDENT_MB"):
        classifier.train_on(*data.split(0.1))


def test_features_are_joined_as_they_come() -> None:
    """In one array that grows: of all parts and their whole there were two, 5 GB of 200,000 pictures of 32 px."""
    points = torch.randn(1000, 3)
    sizes = [1, 7, 300, 2, 290, 400]
    found = embed(Raw(), points.split(sizes))
    assert np.array_equal(found.features, points.numpy())
    assert found.features.flags.owndata
    assert found.logits is None
    points[999, 1] = torch.nan
    with pytest.raises(GanvasError, match="NaN or infinity"):
        embed(Raw(), points.split(sizes))
    with pytest.raises(GanvasError, match="the set is empty"):
        embed(Raw(), [])


def test_a_classifier_file_chooses_no_amount_of_memory(tmp_path: Path) -> None:
    """5.5 MB with 65,536 features took `ganvas eval` 2 GB, and no end of time."""
    for width in (4096, 4097):
        network, path = classifier.Classifier((1, 8, 8), 2, 1, width), tmp_path / "x.safetensors"
        classifier.save(path, classifier.Trained(network, 0.5), "x", {})
        if width > 4096:
            with pytest.raises(GanvasError, match="4,097 features: expected up to 4,096"):
                classifier.load(path, CPU)
        else:
            assert classifier.load(path, CPU)(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).features.shape == (
                2,
                width,
            )


def test_answers_of_thousands_of_classes_are_not_kept_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 20,000 classes, a file of 0.7 MB, they took 6 GB of 30,000 pictures."""
    images = torch.zeros(6, 1, 8, 8, dtype=torch.uint8)

    class Sees(Raw):
        def __call__(self, samples: Tensor) -> Embedded:
            return Embedded(samples.flatten(1).float(), torch.zeros(len(samples), 5))

    assert embed(Sees(), images.split(2)).logits is not None
    monkeypatch.setattr("ganvas.features.base.MOST_ANSWERS", 4)
    found = embed(Sees(), images.split(2))
    assert found.logits is None
    assert found.features.shape == (6, 64)
