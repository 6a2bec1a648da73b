import numpy as np
import pytest

from keras_vgg.errors import InputError
from keras_vgg.training import checkpoint

ARRAYS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64), np.zeros((0, 4), np.float16)]


def test_gives_back_what_was_saved(tmp_path):
    values = {"epoch": 3, "history": [{"loss": 0.1 + 0.2}], "best": None}
    checkpoint.save(tmp_path / "state.zip", ARRAYS, values)
    arrays, read = checkpoint.load(tmp_path / "state.zip")
    assert read == values == checkpoint.read_values(tmp_path / "state.zip")
    for ours, theirs in zip(arrays, ARRAYS, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)


def test_a_failed_write_keeps_the_old_checkpoint(tmp_path):
    path = tmp_path / "state.zip"
    checkpoint.save(path, ARRAYS, {"epoch": 1})

    class FullDisk:
        def __array__(self, *args, **kwargs):
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left on device"):
        checkpoint.save(path, [*ARRAYS, FullDisk()], {"epoch": 2})
    assert checkpoint.load(path)[1] == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.zip"]


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_damage_is_found(tmp_path, damage):
    path = tmp_path / "state.zip"
    checkpoint.save(path, [np.ones(1000, np.float32)], {})
    data = bytearray(path.read_bytes())
    if damage == "truncate":
        data = data[: len(data) // 2]
    else:
        data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="damaged"):
        checkpoint.load(path)
