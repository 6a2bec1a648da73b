"""What a command left in its folder, so that two runs can be compared bit for bit: without clocks and paths' times."""

import hashlib
import io
import json
import pathlib
import zipfile

import numpy as np
import pandas as pd
import tensorflow as tf

_CLOCKS = {"seconds", "images_per_second", "images/s", "made_at", "date_saved", "shared_object_id"}  # the last: an address
_LEFT = (".writing-", ".fetching-", "tmp", ".tmp")
_UNSTEADY = ("tensorboard/", ".lock", ".seconds.npy", "saved_model.pb", "fingerprint.pb", "variables.data-")
"""Files whose bytes differ between equal runs: clocks, names of events, the order in which graphs and variables are written."""


def left_beside(folder: pathlib.Path) -> list[str]:
    """Returns temporary files and folders anywhere in `folder`."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.startswith(_LEFT))


def of(folder: pathlib.Path) -> dict[str, str]:
    """Returns `{file: digest of what is in it}`; of files that differ between equal runs that they are there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.endswith("broken_images.csv"):
            unsteady = any(part in name for part in _UNSTEADY)
            if "tensorboard/" not in name:
                found[name] = "there" if unsteady else digest(path)
    return found


def digest(path: pathlib.Path) -> str:
    """Returns a digest of a file's content without its clocks; `"damaged"` if it cannot be read."""
    try:
        content = _variables(path) if path.name == "variables.index" else _content(path.name, path.read_bytes())
        return hashlib.sha256(content).hexdigest()[:16]
    except Exception as error:  # whatever the damage makes its reader run into
        return f"damaged: {type(error).__name__}"


def _content(name: str, data: bytes) -> bytes:
    if name.endswith(".json") and data.lstrip()[:1] in (b"{", b"["):
        return json.dumps(_without_clocks(json.loads(data)), sort_keys=True).encode()
    if name.endswith(".csv"):
        table = pd.read_csv(io.BytesIO(data))
        return table.drop(columns=[column for column in table if column in _CLOCKS]).to_csv().encode()
    if name.endswith((".keras", ".zip", ".npz", ".pth")) and data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in sorted(archive.namelist()) if member.removesuffix(".npy") != "fact_images/s"]
            return b"".join(member.encode() + _content(member, archive.read(member)) for member in members)
    if name.endswith(".npy"):
        array = np.load(io.BytesIO(data), allow_pickle=False)
        if array.dtype.kind == "U" and array.ndim == 0 and str(array).startswith("{"):  # facts in JSON
            return _content("facts.json", str(array).encode())
    return data


def _variables(index: pathlib.Path) -> bytes:
    reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    values = {name: reader.get_tensor(name) for name in sorted(reader.get_variable_to_shape_map())}
    return b"".join(name.encode() + (value if isinstance(value, bytes) else value.tobytes()) for name, value in values.items())


def _without_clocks(value):
    if isinstance(value, dict):
        return {name: _without_clocks(each) for name, each in value.items() if name not in _CLOCKS}
    return [_without_clocks(each) for each in value] if isinstance(value, list) else value
