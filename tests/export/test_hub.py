"""Models on the hub: the real client against a server of this machine that keeps folders as the hub does."""

import base64
import errno
import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants

import ganvas
from ganvas import arrays, networks, pictures
from ganvas.cli import main
from ganvas.config import DataConfig, MethodConfig, NetworkConfig, replace_at
from ganvas.errors import GanvasError
from ganvas.export import hub as export
from ganvas.export.hub import card, measured, plain, write
from ganvas.model import Model, ModelInfo
from ganvas.report import interpolation
from ganvas.runs import is_run
from ganvas.series import plain as plain_schema
from ganvas.training import Result
from tests.conftest import same_tensors, series_model

HUB = constants._HF_DEFAULT_ENDPOINT
"""Addresses of repositories must begin like this, whoever answers."""
Commits = dict[str, dict[str, bytes]]


class Server(ThreadingHTTPServer):
    """Repositories by name: commits, oldest first, each with all of its files."""

    def __init__(self) -> None:
        self.repos: dict[str, Commits] = {}
        self.private: dict[str, bool] = {}
        self.asked: list[str] = []
        self.user: str | None = "org"
        self.claims: dict[str, int] = {}
        """File -> size that it is said to have."""
        self.slow: str | None = None
        """File of which a byte comes now and then."""
        self.status: int | None = None
        """With which all is answered."""
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        commits = self.repos.setdefault(repo, {})
        known = {**(list(commits.values())[-1] if commits else {}), **files}
        name = hashlib.sha1(b"".join(known.values()) + str(len(commits)).encode()).hexdigest()
        commits[name] = known
        return name


class Handler(BaseHTTPRequestHandler):
    """The few addresses that the client asks for."""

    server: Server

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def say(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        if self.path == "/api/whoami-v2":
            return self.say({"name": self.server.user, "orgs": []})
        if self.server.status is not None:
            return self.answer(self.server.status)
        repo, _, rest = self.path[1:].partition("/resolve/")
        revision, _, name = rest.partition("/")
        commits = self.server.repos.get(repo)
        if commits is None:
            return self.answer(404, X_Error_Code="RepoNotFound")
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        content = commits[commit].get(name)
        if content is None:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        about = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": commit}
        if self.command == "HEAD" and name in self.server.claims:
            about["Content-Length"] = str(self.server.claims[name])
        if self.command == "GET" and name == self.server.slow:
            self.answer(200, **{**about, "Content-Length": str(len(content))})
            with suppress(OSError):  # the client left
                while not self.server.over.wait(0.02):
                    self.wfile.write(content[:1])
            return None
        return self.answer(200, content, **about)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            asked = json.loads(content)
            repo = f"{asked['organization']}/{asked['name']}"
            self.server.private.setdefault(
                repo, asked["visibility"] == "private" if "visibility" in asked else asked["private"]
            )
            return self.say({"url": f"{HUB}/{repo}"})
        if self.path == "/api/validate-yaml":
            return self.say({"errors": [], "warnings": []})
        repo = "/".join(self.path.split("/")[3:5])
        if "/preupload/" in self.path:
            files = json.loads(content)["files"]
            return self.say(
                {"files": [{**each, "uploadMode": "regular", "shouldIgnore": False} for each in files]}
            )
        lines = [json.loads(line)["value"] for line in content.splitlines()]
        files = {each["path"]: base64.b64decode(each["content"]) for each in lines if "path" in each}
        commit = self.server.commit(repo, files)
        return self.say({"commitUrl": f"{HUB}/{repo}/commit/{commit}", "commitOid": commit, "success": True})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """What HF_ENDPOINT names: the client reads it when it is imported."""
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{found.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", address)
        monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
        yield found
        found.over.set()
        found.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def folder(trained: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run as it is shared."""
    out = tmp_path_factory.mktemp("hub") / "digits"
    write(ganvas.load(trained.run.path), out, repo="org/digits", license="apache-2.0")
    return out


@pytest.fixture
def published(server: Server, folder: Path) -> str:
    """Its commit on the server."""
    return server.commit("org/digits", {each.name: each.read_bytes() for each in folder.iterdir()})


def test_what_is_uploaded_is_what_opens(
    server: Server, trained: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command and the real client: a private repository, whose commit draws the same pictures."""
    out = str(tmp_path / "mine")
    command = ["export", str(trained.run.path), "--to", "hub", "--out", out, "--repo", "org/mine", "--json"]
    assert main([*command, "--dry-run"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert not server.asked
    assert "revision" not in said
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert server.private == {"org/mine": True}
    (commit,) = server.repos["org/mine"]
    assert said["revision"] == commit
    assert (
        set(server.repos["org/mine"][commit])
        == {Path(each).name for each in said["files"]}
        == set(hub_files(Path(out)))
    )
    model, original = ganvas.load(f"hub:org/mine@{commit}"), ganvas.load(trained.run.path)
    assert same_tensors(model.generator.state_dict(), original.generator.state_dict())
    assert model.critic is not None
    assert original.critic is not None
    assert same_tensors(model.critic.state_dict(), original.critic.state_dict())
    assert model.hash == original.hash == said["hash"]
    assert main([*command, "--public"]) == 0, "another commit; the repository stays private"
    assert server.private == {"org/mine": True}


def test_an_autoencoder_keeps_its_encoder(server: Server, tmp_path: Path) -> None:
    """It opened as a decoder alone, without a word."""
    settings = {"network.generator.channels": 8, "network.critic.channels": 8, "training.monitor_kimg": 0}
    run = ganvas.train(
        "digits", method="vae", kimg=0.064, batch=32, device="cpu", settings=settings, out=tmp_path, quiet=True, report=False
    ).run  # fmt: skip
    original = ganvas.load(run.path, device="cpu")
    files = write(original, tmp_path / "hub", repo="org/coder", license=None).files
    server.commit("org/coder", {each.name: each.read_bytes() for each in files})
    x = original.sample(4)
    expected = original.encode(x)
    for address in ("hub:org/coder", tmp_path / "hub"):
        assert ganvas.load(address, device="cpu").encode(x).equal(expected)
    # The client keeps links, of a name with the encoder beside it, to files whose names are checksums.
    begun = ganvas.train(
        "digits", in_latent="hub:org/coder", kimg=0.064, batch=32, device="cpu", out=tmp_path, quiet=True,
        report=False,
    ).run  # fmt: skip
    assert ganvas.load(begun.path, device="cpu").sample(2).shape == x[:2].shape


def hub_files(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def test_a_name_is_pinned_when_it_is_fetched(server: Server, published: str, tmp_path: Path) -> None:
    """Then it opens without the network, in commands too, and a later commit counts only where it is asked for."""
    first = ganvas.load("hub:org/digits")
    assert first.path is not None
    assert first.path.parent.name == published
    # The first request of a process asks for a list of its own, /api/agent-harnesses: the client's, no file.
    files = [line.split("/resolve/")[1] for line in server.asked if "/resolve/" in line]
    fetched = {each.split("/")[1] for each in files}
    assert fetched == {"config.json", "generator.safetensors", "critic.safetensors"}, "and nothing else"
    config = json.loads(server.repos["org/digits"][published]["config.json"])
    later = server.commit("org/digits", {"config.json": json.dumps({**config, "later": 1}).encode()})
    server.asked.clear()
    for address in ("hub:org/digits", f"hub:org/digits@{published}"):
        again = ganvas.load(address)
        assert again.path == first.path
    out = tmp_path / "samples.png"
    assert main(["sample", "hub:org/digits", "--n", "4", "--device", "cpu", "--out", str(out)]) == 0
    assert out.is_file()
    assert not server.asked
    newest = ganvas.load("hub:org/digits@main")
    assert newest.path is not None
    assert newest.path.parent.name == later
    assert ganvas.load("hub:org/digits").path == newest.path


def test_a_branch_opens_from_the_cache_without_a_network(
    server: Server, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ganvas.load("hub:org/digits@main")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert ganvas.load("hub:org/digits@main").hash
    with pytest.raises(GanvasError, match="Could not reach org/other"):
        ganvas.load("hub:org/other")


@pytest.mark.parametrize("why", ["cut", "refused", "foreign"])
def test_what_was_fetched_stays_until_the_next_is_whole(
    server: Server, published: str, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """The client moved the name with the first file: a model that lay in the cache was gone without a network, or for good."""
    first = ganvas.load("hub:org/digits", device="cpu")
    changes = {"config.json": b"{}"} if why == "foreign" else {"generator.safetensors": bytes(2**20)}
    later = server.commit("org/digits", changes)
    with monkeypatch.context() as patch:
        if why == "cut":
            server.slow = "generator.safetensors"
            patch.setattr("ganvas.hub.PAUSE", 0.5)
            patch.setattr("ganvas.hub.SLOWEST", 1e9)
        if why == "refused":
            patch.setenv("GANVAS_MAX_GB", "1e-9")
        with pytest.raises(GanvasError):
            ganvas.load("hub:org/digits@main", device="cpu")
    assert any(later in line for line in server.asked)
    assert ganvas.load("hub:org/digits", device="cpu").path == first.path
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for address in ("hub:org/digits", "hub:org/digits@main"):
        assert ganvas.load(address, device="cpu").path == first.path


def test_a_server_that_names_no_commit_is_no_hub(server: Server, published: str) -> None:
    """Nor is what stands in its place without a network; what was fetched before opens then."""
    whole = server.repos["org/digits"]
    server.repos["org/digits"] = {"../../../x": whole[published]}
    with pytest.raises(GanvasError, match=r"Could not reach org/digits .* names no commit"):
        ganvas.load("hub:org/digits", device="cpu")
    server.repos["org/digits"] = whole
    first = ganvas.load("hub:org/digits", device="cpu")
    server.repos["org/digits"] = {"../../../x": whole[published]}
    assert ganvas.load("hub:org/digits@main", device="cpu").path == first.path
    for status, opens in ((503, True), (429, True), (403, False)):
        server.status = status
        if opens:
            assert ganvas.load("hub:org/digits@main", device="cpu").path == first.path
        else:
            with pytest.raises(GanvasError):
                ganvas.load("hub:org/digits@main", device="cpu")


def test_a_changed_byte_is_found(server: Server, folder: Path) -> None:
    files = {each.name: each.read_bytes() for each in folder.iterdir()}
    weights = files["generator.safetensors"]
    server.commit("org/digits", {**files, "generator.safetensors": weights[:-1] + bytes([weights[-1] ^ 1])})
    with pytest.raises(GanvasError, match=r"its checksum differs.* delete ") as refused:
        ganvas.load("hub:org/digits")
    # It is pinned: the server would not be asked again, though it has a whole one by now.
    server.repos["org/digits"] = {name: {**files} for name in server.repos["org/digits"]}
    kept = Path(str(refused.value).split("delete ")[1].split(" and try")[0])
    shutil.rmtree(kept)
    assert ganvas.load("hub:org/digits").hash


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config.json": b"{}"}, "is not a model that ganvas exported: its config.json does not say so"),
        ({"config.json": b"[" * 100}, "more than 32 levels"),
        (
            {"config.json": b" " * (2**24 + 1)},
            "has 16.8 MB; what has more than 16.7772 MB is not fetched\\.$",
        ),
        ({"generator.safetensors": b"\x80\x04."}, "not a readable safetensors file"),
    ],
)
def test_what_others_put_there(server: Server, folder: Path, change: dict[str, bytes], said: str) -> None:
    server.commit("org/digits", {**{each.name: each.read_bytes() for each in folder.iterdir()}, **change})
    with pytest.raises(GanvasError, match=said):
        ganvas.load("hub:org/digits")


def test_more_than_was_announced_is_not_fetched(
    server: Server, published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without end would fill the disk."""
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    commit = server.repos["org/digits"][published]
    server.claims["generator.safetensors"] = len(commit["generator.safetensors"])
    commit["generator.safetensors"] += bytes(25_000_000)
    with pytest.raises(GanvasError, match="goes on after the"):
        ganvas.load("hub:org/digits", device="cpu")
    assert max(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 25_000_000


@pytest.mark.parametrize("file", ["config.json", "generator.safetensors"])
def test_a_byte_now_and_then_is_not_waited_for(
    server: Server, published: str, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """The client's own limit begins anew with each byte."""
    server.slow = file
    monkeypatch.setattr("ganvas.hub.PAUSE", 0.5)
    monkeypatch.setattr("ganvas.hub.SLOWEST", 1e9)
    with pytest.raises(
        GanvasError, match=r"Could not reach org/digits .* did not send what was asked for in"
    ):
        ganvas.load("hub:org/digits", device="cpu")


def test_sizes_have_a_limit(server: Server, published: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked before anything of it is fetched."""
    monkeypatch.setenv("GANVAS_MAX_GB", "0.000001")
    with pytest.raises(GanvasError, match=r"generator.safetensors of org/digits .* set GANVAS_MAX_GB"):
        ganvas.load("hub:org/digits")
    assert not [line for line in server.asked if line.startswith("GET") and "generator" in line]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("hub:org/none", "There is no org/none on the hub, or it is not open to you"),
        ("hub:org/digits@v9", "org/digits has no such revision"),
        ("hub:org/empty", "it holds no config.json"),
        ("hub:digits", "'digits' is no name on the hub; give org/name"),
        ("hub:../../etc", "is no name on the hub"),
        ("hub:org/..", "is no name on the hub"),
        ("hub:org/digits@../../x", "is no revision"),
    ],
)
def test_mistakes(server: Server, published: str, address: str, said: str) -> None:
    server.commit("org/empty", {"weights.bin": b"no"})
    with pytest.raises(GanvasError, match=said):
        ganvas.load(address)


def test_nobody_is_logged_in(folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.hf_api.get_token", lambda: None)
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: None)
    with pytest.raises(GanvasError, match="Nobody is logged in to the hub"):
        export.upload(folder, "org/digits", "")
    assert not server.repos


def test_a_folder_with_another_model_by_now_is_not_uploaded(
    server: Server,
    trained: Result,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of two exports to one folder one said its own hash, and uploaded the other's weights."""
    out, write_ = tmp_path / "out", export.write

    def meanwhile(*given: object, **named: object) -> list[Path]:
        found = write_(*given, **named)  # type: ignore[arg-type]
        write_(ganvas.load("fashion", device="cpu"), out)
        return found

    monkeypatch.setattr(export, "write", meanwhile)
    command = ["export", str(trained.run.path), "--to", "hub", "--out", str(out), "--repo", "org/mine"]
    assert main(command) == 2
    assert "was written anew by another command" in capsys.readouterr().err
    assert "org/mine" not in server.repos


def test_a_module_of_ones_own_can_not_be_shared(tmp_path: Path) -> None:
    mine = ganvas.wrap(
        torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Unflatten(1, (1, 8, 8)), torch.nn.Tanh()),
        latent_dim=4,
        shape=(1, 8, 8),
    )
    with pytest.raises(GanvasError, match="a module of your own"):
        write(mine, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(GanvasError, match=r"hub: models need an extra package.*pip install"):
        ganvas.load("hub:org/name")


def test_the_hubs_own_reader_reads_the_card(folder: Path) -> None:
    found = ModelCard((folder / "README.md").read_text())
    assert found.data.to_dict() == {
        "library_name": "ganvas", "license": "apache-2.0", "pipeline_tag": "unconditional-image-generation",
        "tags": ["gan", "ganvas", "dcgan"],
    }  # fmt: skip
    for name in ("samples.png", "walk.png"):
        assert f"]({name})" in found.text
    assert 'ganvas.load("hub:org/digits")' in found.text


def test_without_a_name_on_the_hub_the_card_has_its_place(trained: Result) -> None:
    lines = card(ganvas.load(trained.run.path), [], None, None).splitlines()
    assert "# dcgan, trained on digits" in lines
    assert 'model = ganvas.load("hub:ORG/NAME")' in lines


def test_the_packaged_model_has_the_licence_of_ganvas(tmp_path: Path) -> None:
    """As its ONNX file says."""
    write(ganvas.load("fashion", device="cpu"), tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert ModelCard(text).data.license == "apache-2.0"
    assert "No licence is named" not in text


def test_without_a_network_it_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client alone would ask six times, and sleep for 23 seconds between."""

    def asleep(seconds: float) -> None:
        raise AssertionError(f"slept for {seconds} s")

    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", asleep)
    monkeypatch.setattr(
        "huggingface_hub.file_download.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(GanvasError, match=r"Could not reach org/far on the hub: .*refused"):
        ganvas.load("hub:org/far")


def test_figures_stand_beside_their_floors(trained: Result, tmp_path: Path) -> None:
    """Those of this snapshot alone, the last of each kind."""
    model = ganvas.load(trained.run.path)
    run = ganvas.Run(tmp_path / "run")
    shutil.copytree(trained.run.path, run.path)
    model.path = run.snapshots[-1] / "generator.safetensors"
    row = {
        "metric": "kid", "value": 0.5, "error": None, "error_kind": "", "floor": 0.25, "floor_n": 180, "n": 200,
        "reference_n": 1617, "seed": 0, "extractor": "classifier|digits", "resize": "", "reference": "/home/me/digits",
        "fingerprint": "f", "source": "x", "snapshot": str(model.path), "kimg": model.info.kimg,
    }  # fmt: skip
    run.append_metrics(
        [
            {**row, "value": 9.0},
            row,
            {**row, "metric": "frechet", "snapshot": "000000/generator.safetensors"},
            {**row, "value": 0.1, "kimg": 0.256},
        ]
    )
    assert len(measured(model)) == 2, "the tiny run has one snapshot, 000000, written anew since 0.256 kimg"
    (line,) = [each for each in card(model, measured(model), "a/b", None).splitlines() if "kid" in each]
    assert line == "| kid | 0.5 | 0.25 (N=180) | 200 | classifier&#124;digits | digits, 1,617 images |"


def test_nobody_elses_words_become_markup() -> None:
    evil = (
        '</td><script>alert(1)</script>\n---\nlicense: mit\n[x](javascript:x) ![](http://e) `a` | www.e.com "'
    )
    spelled = plain(evil)
    assert not set(spelled) & set('<>\n[]()`|"!:/_*.@')
    config = ganvas.Config(data=DataConfig("hub:org/set\nlicense: mit"))
    generator = networks.build_generator(config.network, (1, 8, 8), 2)
    header = {
        "class_names": [evil, "cat"],
        "kimg": 1.0,
        "data": {"name": evil, "fingerprint": "f", "mark": "m"},
    }
    info = ModelInfo.of_run(generator, config, header)
    text = card(Model(generator, None, info), [], "org/name", None)
    found = ModelCard(text)
    assert "license" not in found.data.to_dict()
    assert found.data.to_dict()["datasets"] == ["org/set\nlicense: mit"]
    assert "<script" not in text
    assert "javascript:" not in text


@pytest.mark.parametrize(("method", "loss"), [("gan", True), ("ae", False)])
def test_settings_are_those_that_the_method_has(method: str, loss: bool) -> None:
    config = replace_at(ganvas.Config(), "method.name", method)
    generator = networks.build_generator(config.network, (1, 8, 8), 0)
    text = card(Model(generator, None, ModelInfo.of_run(generator, config, {})), [], None, None)
    assert f"| method | {method} |" in text
    assert ("| loss |" in text) == ("| penalties |" in text) == loss


def test_nothing_of_this_machine_is_shared(trained: Result, tmp_path: Path) -> None:
    model = ganvas.load(trained.run.path)
    here = DataConfig(str(tmp_path / "pictures"), also=("digits", str(tmp_path / "more.zip")))
    assert model.info.data is not None
    assert model.info.training is not None
    model.info = replace(
        model.info,
        data=replace(model.info.data, config=here, mark="secret"),
        training=replace(
            model.info.training,
            data=here,
            training=replace(model.info.training.training, start=str(tmp_path / "before")),
            method=MethodConfig("latent", {"autoencoder": str(tmp_path / "coder.safetensors"), "numbers": 8}),
        ),
    )
    files = write(model, tmp_path / "out").files
    for each in files:
        assert str(tmp_path).encode() not in each.read_bytes()
        assert b"secret" not in each.read_bytes()
    opened = ganvas.load(tmp_path / "out")
    assert opened.info.data is not None
    assert (opened.info.data.config.source, opened.info.data.config.also) == (
        "pictures",
        ("digits", "more.zip"),
    )
    assert opened.info.training is not None
    assert opened.info.training.training.start == "before"
    assert opened.info.training.method.options["autoencoder"] == "coder.safetensors"


def test_a_folder_on_the_disk_is_a_model_and_no_run(folder: Path, trained: Result) -> None:
    """It has a config.json, as runs have."""
    assert is_run(trained.run.path)
    assert not is_run(folder)
    found = ganvas.evaluate(folder, "digits", "sliced-wasserstein", n=50, device="cpu", floor=False)
    assert found.rows
    assert ganvas.load(folder).path == folder / "generator.safetensors"


def test_a_folder_with_other_files_is_left_alone(trained: Result, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".env").write_text("SECRET=1")
    with pytest.raises(GanvasError, match="holds other files, which nobody asked to share"):
        write(ganvas.load(trained.run.path), tmp_path / "out")
    assert [each.name for each in (tmp_path / "out").iterdir()] == [".env"]


def test_a_model_that_draws_nothing_leaves_no_folder(tmp_path: Path) -> None:
    network = NetworkConfig("taesd", 4, generator={"width": 4})
    decoder = networks.build_generator(network, (3, 8, 8), 0)
    with pytest.raises(GanvasError, match="the decoder of an autoencoder"):
        write(Model(decoder, None, ModelInfo.of(decoder, "taesd", architecture=network)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pictures_of_a_model_before_are_taken_away(trained: Result, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(ganvas.load(trained.run.path), folder)
    network = NetworkConfig("mlp", 4)
    points = networks.build_generator(network, (2,), 0).eval()
    assert (folder / "walk.png").is_file()
    files = write(Model(points, None, ModelInfo.of(points, "mlp", architecture=network)), folder).files
    assert "walk.png" not in [each.name for each in files]
    assert not (folder / "walk.png").exists()


def test_the_walk_of_a_card_is_drawn_some_at_a_time(trained: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """All sixty pictures at once took gigabytes from 256 px on."""
    model, seen = ganvas.load(trained.run.path, device="cpu"), list[int]()
    wanted = np.asarray(interpolation(model)).astype(int)
    monkeypatch.setattr(model, "at_once", 16)
    hook = model.generator.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    found = np.asarray(interpolation(model)).astype(int)
    hook.remove()
    assert seen == [16, 16, 16, 12]
    assert np.abs(found - wanted).max() <= 1


def test_a_card_shows_fewer_of_large_samples(
    trained: Result, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A model of 25 kB that draws 2,048 px took 3 GB and minutes for 64 samples and a walk of sixty."""
    model, counts, draw = ganvas.load(trained.run.path, device="cpu"), list[int](), pictures.draw
    usual = interpolation(model)
    side = model.shape[1]
    monkeypatch.setattr(arrays, "TOGETHER", 16 * side**2)
    monkeypatch.setattr(
        pictures, "draw", lambda samples, schema: counts.append(len(samples)) or draw(samples)
    )
    write(model, tmp_path / "hub")
    assert counts == [16]
    grids = list[torch.Tensor]()
    monkeypatch.setattr(pictures, "grid", lambda images, columns: grids.append(images) or usual)
    interpolation(model)
    assert [tuple(each.shape[2:]) for each in grids] == [(side // 2, side // 2)]
    series = series_model()
    monkeypatch.setattr(arrays, "TOGETHER", 2 * 2 * 3 * 48)
    monkeypatch.setattr(pictures, "draw", lambda samples, schema: counts.append(len(samples)) or usual)
    interpolation(series, 2, 6)
    assert counts == [16, 6], "two rows of three"


def test_series_of_a_card_are_in_their_own_units(
    trained: Result, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, seen, draw = ganvas.load(trained.run.path, device="cpu"), list[object](), pictures.draw
    model = replace(model, info=replace(model.info, series=plain_schema(2, 8)))
    monkeypatch.setattr(pictures, "draw", lambda samples, schema: seen.append(schema) or draw(samples))
    write(model, tmp_path / "hub")
    assert seen == [model.info.series]


def test_a_card_that_somebody_has_changed_stays(
    trained: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the way that is described, `--dry-run` and then the upload, it was written over without a word."""
    out = tmp_path / "hub"
    command = ["export", str(trained.run.path), "--to", "hub", "--out", str(out), "--dry-run"]
    assert main(command) == 0
    first = (out / "README.md").read_text()
    assert main([*command, "--license", "mit", "--repo", "org/mine"]) == 0
    assert (out / "README.md").read_text() != first, "as ganvas wrote it, it is written anew"
    assert main(command) == 0
    assert (out / "README.md").read_text() == first
    assert "is kept as you changed it" not in capsys.readouterr().out
    (out / "README.md").write_text(f"{first}\nMade for ORG/NAME by me.\n")
    for _ in range(2):
        assert main([*command, "--repo", "org/mine"]) == 0
        assert (out / "README.md").read_text().endswith("\nMade for org/mine by me.\n")
        assert "is kept as you changed it" in capsys.readouterr().out
    (out / "README.md").write_text(first)
    assert main([*command, "--license", "mit"]) == 0
    assert 'license: "mit"' in (out / "README.md").read_text(), "put back to the letter it is nobody's"
    (out / "README.md").unlink()
    assert main(command) == 0
    assert (out / "README.md").read_text() == first
    config = json.loads((out / "config.json").read_text())
    for each in (None, "digest", {"digest": "x", "mark": "y"}, {**config["card"], "digest": "x"}):
        (out / "config.json").write_text(json.dumps({**config, "card": each}))
        assert main(command) == 2
        assert "holds files that no export of yours wrote" in capsys.readouterr().err
    (out / "config.json").write_text(json.dumps(config))
    (tmp_path / "key").write_text("secret")
    (out / "README.md").unlink()
    (out / "README.md").symlink_to(tmp_path / "key")
    assert main(command) == 2, "a folder from anybody would have a file of this machine uploaded"
    (out / "README.md").unlink()
    (out / "README.md").write_text("x" * (2**20 + 1))
    assert main(command) == 2
    assert "more than 1,048,576 bytes" in capsys.readouterr().err
    (out / "README.md").write_text("mine")
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["card"] == "kept"


def test_a_cache_that_cannot_be_written_keeps_no_export(
    trained: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder stood there, whole, and the command said that others had written it. It cannot be replaced: whose is it?"""
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "file" / "cache"))
    out = tmp_path / "hub"
    command = ["export", str(trained.run.path), "--to", "hub", "--out", str(out), "--dry-run", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["card"] == "written"
    assert main(command) == 2
    assert "or while GANVAS_CACHE could not be written" in capsys.readouterr().err


def test_a_folder_that_is_there_is_replaced_in_one_step(
    trained: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between two of its files left the card of one model beside the weights of another."""
    folder = tmp_path / "hub"
    write(ganvas.load("fashion", device="cpu"), folder)
    (tmp_path / "link").symlink_to(folder)
    before = {each.name: each.read_bytes() for each in sorted(folder.iterdir())}

    def killed(*arguments: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(export, "card", killed)
        write(ganvas.load(trained.run.path), folder)
    assert {each.name: each.read_bytes() for each in sorted(folder.iterdir())} == before
    full = OSError(errno.ENOSPC, "No space left on device")
    other = ganvas.load(trained.run.path)
    with monkeypatch.context() as patch:
        patch.setattr(export, "card", Mock(side_effect=full))
        with pytest.raises(GanvasError, match=rf"writing {folder}\."):
            write(other, folder)
    files = write(ganvas.load(trained.run.path), tmp_path / "link").files
    assert {each.name for each in files} == {each.name for each in folder.iterdir()}
    assert (tmp_path / "link").is_symlink()
    assert {each.name for each in tmp_path.iterdir()} == {"hub", "link"}


def test_a_folder_that_cannot_be_replaced_is_refused_before_the_work(
    trained: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk of its own, as a folder of a container often is, was busy when all was drawn."""
    model = ganvas.load(trained.run.path)
    monkeypatch.setattr(pictures, "draw", Mock(side_effect=AssertionError))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_mount", lambda path: path == tmp_path)
        with pytest.raises(GanvasError, match=r"a disk of its own, .* a new folder in it"):
            write(model, tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GanvasError, match="where you are"):
        write(model, Path("."))
