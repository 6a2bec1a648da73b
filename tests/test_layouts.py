import ml_dtypes
import numpy as np
import pytest

from keras_vgg.weights import layouts, variable
from keras_vgg.weights.stored_array import StoredArray


def numbers(*shape, dtype="float32"):
    return np.random.default_rng(0).normal(0, 1, shape).astype(dtype)


def stored(array, asked=None):
    """An array that notes in `asked` which rows were read."""

    def rows(start, stop):
        if asked is not None:
            asked.append((start, stop))
        return array[start:stop]

    return StoredArray(array.shape, array.dtype, rows)


# --- Permutations ---------------------------------------------------------------------------------------------------------


def test_convolution_by_hand():
    kernel = np.array([[[[1, 2, 3]]], [[[4, 5, 6]]]])  # 2 filters of 1 channel, 1 high, 3 wide
    keras = layouts.conv_to_keras(kernel)
    assert keras.tolist() == [[[[1, 4]], [[2, 5]], [[3, 6]]]]
    assert layouts.conv_from_keras(keras).tolist() == kernel.tolist()


def test_every_number_of_a_kernel_is_where_its_indices_say():
    kernel = numbers(5, 4, 3, 2)
    keras = layouts.conv_to_keras(kernel)
    assert keras.shape == (3, 2, 4, 5)
    for out, channel, row, column in np.ndindex(kernel.shape):
        assert keras[row, column, channel, out] == kernel[out, channel, row, column]


def test_inputs_of_fc1_by_hand():
    # Two channels of a map one high and two wide: PyTorch takes c0x0 c0x1 c1x0 c1x1, Keras c0x0 c1x0 c0x1 c1x1.
    matrix = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    keras = layouts.fc_to_keras(matrix, 2)
    assert keras.tolist() == [[1, 5], [3, 7], [2, 6], [4, 8]]
    assert layouts.fc_from_keras(keras, 2).tolist() == matrix.tolist()


def test_fc1_gives_the_same_for_a_map_flattened_either_way():
    matrix, feature_map = numbers(6, 4 * 3 * 2), numbers(4, 3, 2)  # channels, height, width
    expected = matrix @ feature_map.reshape(-1)
    flat = feature_map.transpose(1, 2, 0).reshape(-1)
    np.testing.assert_allclose(flat @ layouts.fc_to_keras(matrix, 6), expected, rtol=1e-5)
    assert not np.allclose(flat @ layouts.fc_to_keras(matrix, 2), expected, rtol=0.1)


def test_other_fc_layers_are_transposed():
    matrix = numbers(5, 7)
    np.testing.assert_array_equal(layouts.fc_to_keras(matrix), matrix.T)
    np.testing.assert_array_equal(layouts.fc_from_keras(matrix), matrix.T)


@pytest.mark.parametrize("spatial", [(1, 1), (2, 2), (3, 2), (1, 6)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_there_and_back_is_the_identity(spatial, dtype):
    places = spatial[0] * spatial[1]
    matrix = numbers(5, 4 * places, dtype=dtype)
    back = layouts.fc_from_keras(layouts.fc_to_keras(matrix, places), places)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, matrix)
    kernel = numbers(5, 4, *spatial, dtype=dtype)
    np.testing.assert_array_equal(layouts.conv_from_keras(layouts.conv_to_keras(kernel)), kernel)


@pytest.mark.parametrize("spatial", [(1, 1), (3, 2)])
def test_fc_layer_as_convolution_is_the_matrix(spatial):
    kernel, places = numbers(5, 4, *spatial), spatial[0] * spatial[1]
    keras = layouts.fc_to_keras(kernel, places)
    np.testing.assert_array_equal(keras, layouts.fc_to_keras(kernel.reshape(5, -1), places))
    # A fully convolutional net in Keras has this kernel; it flattens to the matrix.
    np.testing.assert_array_equal(keras, layouts.conv_to_keras(kernel).reshape(-1, 5))


# --- Variables, read in parts ---------------------------------------------------------------------------------------------

VARIABLES = {
    "vector": (variable.as_it_lies, numbers(11), lambda array: array),
    "Keras' matrix": (variable.as_it_lies, numbers(11, 6), lambda array: array),
    "Keras' kernel": (variable.as_it_lies, numbers(3, 3, 4, 5), lambda array: array),
    "kernel": (variable.convolution, numbers(5, 4, 3, 3), layouts.conv_to_keras),
    "fc1": (
        lambda name, array: variable.fc_matrix(name, array, 6),
        numbers(11, 24),
        lambda array: layouts.fc_to_keras(array, 6),
    ),
    "fc1 as convolution": (
        lambda name, array: variable.fc_matrix(name, array, 6),
        numbers(11, 4, 3, 2),
        lambda array: layouts.fc_to_keras(array, 6),
    ),
}


@pytest.mark.parametrize("part_bytes", [1, 100, 250, 10**9])
@pytest.mark.parametrize("case", VARIABLES)
def test_parts_cover_every_element_once(case, part_bytes, monkeypatch):
    monkeypatch.setattr(variable, "PART_BYTES", part_bytes)
    make, array, to_keras = VARIABLES[case]
    made = make("its name", stored(array))
    expected = to_keras(array)
    assert (made.array, made.shape) == ("its name", expected.shape)
    times, values = np.zeros(made.shape, int), np.full(made.shape, np.nan, np.float32)
    parts = list(made.parts())
    for part in parts:
        assert part.values.dtype == np.float32
        times[part.index] += 1
        values[part.index] = part.values
    assert (times == 1).all()
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(made.read(), expected)
    assert made.read().flags.c_contiguous  # checksums go over it
    if part_bytes == 1 and case != "kernel":
        assert len(parts) == len(array)


@pytest.mark.parametrize("case", ["Keras' matrix", "fc1", "fc1 as convolution"])
def test_large_variables_are_asked_for_in_pieces_and_only_when_wanted(case, monkeypatch):
    monkeypatch.setattr(variable, "PART_BYTES", 200)
    make, array, _ = VARIABLES[case]
    asked = []
    parts = make("", stored(array, asked)).parts()
    assert not asked
    for _ in parts:
        pass
    rows = 200 // array[0].nbytes
    assert asked == [(start, min(start + rows, 11)) for start in range(0, 11, rows)]


@pytest.mark.parametrize("dtype", ["float16", "float64", ml_dtypes.bfloat16, ">f4"])
@pytest.mark.parametrize("case", VARIABLES)
def test_any_float_becomes_float32(case, dtype):
    make, array, to_keras = VARIABLES[case]
    array = array.astype(dtype)
    values = make("", stored(array)).read()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, to_keras(array.astype(np.float32)))


def test_place_of_a_part_by_hand():
    part = variable.Part(1, 4, np.zeros((7, 2, 3), np.float32))
    assert part.index == (slice(None), slice(4, 6))
