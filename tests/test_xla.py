import pytest
import tensorflow as tf

from keras_vgg.recipe import Recipe
from keras_vgg.support import xla


@pytest.mark.parametrize(
    ("flags", "gpus", "expected"),
    [("fpu avx2 fma", [], True), ("fpu avx2 avx512f avx512bw", [], False), ("fpu avx2 avx512f", ["a GPU"], True), (None, [], True)],
)
def test_convolutions_prefer_xla_unless_the_cpu_has_avx512(tmp_path, monkeypatch, flags, gpus, expected):
    facts = tmp_path / "cpuinfo"
    if flags is not None:
        facts.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    monkeypatch.setattr(xla, "CPU_FACTS", facts)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    assert xla.convolutions_prefer_xla() is expected


@pytest.mark.parametrize(
    ("jit", "crop", "prefers", "expected"),
    [
        (None, 224, True, True),
        (None, 224, False, False),
        (None, 32, True, False),
        (True, 32, False, True),
        (False, 224, True, False),
    ],
)
def test_the_flag_decides_and_else_net_and_machine(jit, crop, prefers, expected):
    assert Recipe(jit=jit, crop=crop, scale=256).uses_jit(1000, prefers) is expected
