"""The targets of tools/fuzz.py under hypothesis: whatever comes from outside is taken or refused in words."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SCRIPT = Path(__file__).parents[1] / "tools" / "fuzz.py"


def opened() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


FUZZ = opened()
SEEDS: dict[str, list[bytes]] = {}


def seeds(name: str) -> list[bytes]:
    if name not in SEEDS:
        SEEDS[name] = FUZZ.TARGETS[name].seeds()
    return SEEDS[name]


@pytest.mark.parametrize("name", list(FUZZ.TARGETS))
def test_the_seeds_are_taken(name: str) -> None:
    """Without this, a target that refuses everything would find nothing."""
    for seed in seeds(name):
        FUZZ.TARGETS[name].run(seed)


@pytest.mark.parametrize("name", list(FUZZ.TARGETS))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_inputs_are_refused_in_words(name: str, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(seeds(name))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(0, 8))
        content[at : at + length] = data.draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from([b"\xff" * 4, b"\0" * 8, b"1e999", b"[" * 50, b'"', b"-1"]),
            )
        )
        if not content:
            break
    FUZZ.once(FUZZ.TARGETS[name], bytes(content))
