#!/usr/bin/env python3
"""Executes notebooks and keeps their outputs: `python tools/notebooks.py notebooks/localization.ipynb --set EPOCHS=2`.

`--set` replaces values of the cell tagged `parameters` for the execution; the file keeps the values of its source. Files that a
notebook writes go to `--cwd`. What differs from run to run without meaning (times, progress, kernel versions, standard error) is
stripped, so that changes to a notebook are small. Large pictures become JPEGs.
"""

import argparse
import ast
import base64
import io
import os
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence

import nbclient
import nbformat
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
_CELL_SECONDS = 3600
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
_LARGE, _QUALITY = 60_000, 88  # bytes of a PNG; of a JPEG
_PROGRESS = re.compile(r"^.*/s  (?:≤ )?\S+ left\n", re.MULTILINE)
_DURATION = re.compile(r"\bdone in [\ddhms]+: ")
_SHOWN = ("image/png", "image/jpeg", "text/html")
"""Kinds of output that replace the text of the same output, which would say `<Figure size …>` or repeat a table."""


def parameters_of(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Returns the only cell tagged `parameters`.

    Raises:
        ValueError: if there is none, or several.
    """
    found = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    if len(found) != 1:
        raise ValueError(f"A notebook must have one cell tagged `parameters`. Received: {len(found)}.")
    return found[0]


def substituted(source: str, values: Mapping[str, str]) -> str:
    """Returns the source of a parameters cell with other values, given as Python expressions by name.

    Raises:
        ValueError: for a name that the cell does not assign.
    """
    lines, replaced = source.split("\n"), set()
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and (name := node.targets[0].id) in values:
            lines[node.lineno - 1 : node.end_lineno] = [f"{name} = {values[name]}"]
            replaced.add(name)
    if unknown := sorted(set(values) - replaced):
        raise ValueError(f"`--set` must name a variable of the parameters cell. Received: {', '.join(unknown)}.")
    return "\n".join(lines)


def execute(notebook: nbformat.NotebookNode, values: Mapping[str, str], cwd: pathlib.Path) -> nbformat.NotebookNode:
    """Returns the notebook with the outputs of an execution in `cwd`, and with its own source.

    Args:
        notebook: the notebook; left as it is.
        values: values of parameters, see `substituted`.
        cwd: working directory. Modules beside the notebooks and this checkout are imported first, whatever is installed.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell raises an error.
        ValueError: as `substituted`.
    """
    ran = nbformat.from_dict(notebook)
    cell = parameters_of(ran)
    source, cell.source = cell.source, substituted(cell.source, values)
    paths = [str(FOLDER), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("MPLBACKEND", None)  # the kernel's own draws into the notebook
    client = nbclient.NotebookClient(ran, timeout=_CELL_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(cwd)}})
    client.execute(env=environment)
    cell.source = source
    return stripped(ran)


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Returns the notebook without what differs from run to run without meaning."""
    found = nbformat.from_dict(notebook)
    found.metadata = nbformat.from_dict({"kernelspec": _KERNEL, "language_info": {"name": "python"}})
    number = 0
    for cell in found.cells:
        cell.metadata = nbformat.from_dict({"tags": tags} if (tags := cell.metadata.get("tags")) else {})
        if cell.cell_type != "code":
            continue
        number += 1
        cell.execution_count = number
        cell.outputs = _joined([output for output in map(_stripped_output, cell.outputs) if output])
    return found


def _stripped_output(output):
    if output.output_type == "stream":
        output.text = _DURATION.sub("done: ", _PROGRESS.sub("", output.text))
        return output if output.name == "stdout" and output.text else None  # TensorFlow's remarks are on standard error
    if output.output_type in ("execute_result", "display_data"):
        output.metadata = nbformat.from_dict({})
        output.data = nbformat.from_dict(_with_small_picture(output.data))
        if any(kind in output.data for kind in _SHOWN):
            output.data.pop("text/plain", None)
    if output.output_type == "execute_result":
        return nbformat.v4.new_output("display_data", output.data)
    return output


def _with_small_picture(data):
    """Returns the data of an output with its PNG made smaller: a large one, which shows photographs, becomes a JPEG."""
    if "image/png" not in data:
        return data
    with Image.open(io.BytesIO(base64.b64decode(data.pop("image/png")))) as picture:
        stored = io.BytesIO()
        picture.convert("RGB").save(stored, "PNG", optimize=True)
        kind = "image/png"
        if stored.tell() > _LARGE:
            stored, kind = io.BytesIO(), "image/jpeg"
            picture.convert("RGB").save(stored, "JPEG", quality=_QUALITY, subsampling=0)
    return data | {kind: base64.b64encode(stored.getvalue()).decode()}


def _joined(outputs: list) -> list:
    """Joins texts that follow one another: how a kernel splits them depends on time."""
    found: list = []
    for output in outputs:
        if found and output.output_type == found[-1].output_type == "stream":
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def main(argv: Sequence[str]) -> int:
    """Parses `argv` and executes each notebook."""
    parser = argparse.ArgumentParser(prog="python tools/notebooks.py", description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="+", type=pathlib.Path, metavar="FILE", help="notebook to execute")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="value of a parameter, as a Python expression"
    )
    parser.add_argument("--cwd", type=pathlib.Path, metavar="FOLDER", help="working directory (default: the notebook's folder)")
    parser.add_argument("--out", type=pathlib.Path, metavar="FOLDER", help="folder for the results (default: in place)")
    arguments = parser.parse_args(argv)
    values = dict(each.split("=", 1) for each in arguments.set)
    for path in arguments.notebooks:
        notebook = nbformat.read(path, as_version=4)
        ran = execute(notebook, values, arguments.cwd or path.parent)
        out = path if arguments.out is None else arguments.out / path.name
        nbformat.write(ran, out)
        print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
