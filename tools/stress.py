"""Injects write errors and kills into commands, and damages their input files: `python tools/stress.py writes`, `kills`,
`damage`.

`writes` makes every writing call of a command fail once with each errno, `kills` kills commands at random instants and restarts
them, `damage` passes damaged weight files and images to the readers. Outcomes are appended to a CSV file; the same command
resumes a stopped one, and prints the table.
"""

import os
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # uses this checkout, whatever is installed

from stressing import shim, zygote

from keras_vgg.support import cli, entry


def main(argv: list[str]) -> int:
    """Parses `argv`, runs the tests and prints the table; returns 1 if there were faults."""
    arguments = _parser().parse_args(argv)
    os.environ |= zygote.ENVIRONMENT
    if arguments.tool == "writes":
        shim.restart_with()
        shim.unlink()
    zygote.load()
    out = pathlib.Path(arguments.out or f"stress-{arguments.tool}.csv").absolute()
    folder = tempfile.mkdtemp(prefix="stress-")  # not TemporaryDirectory, which every child would remove when it ends
    try:
        found = _try(arguments, pathlib.Path(folder), out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{found.table('kind' if arguments.tool == 'damage' else 'command')}\n\n{len(found.faults)} faults; {out}")
    return int(bool(found.faults))


def _try(arguments, folder: pathlib.Path, out: pathlib.Path):
    from stressing import damages
    from stressing.results import Results

    if arguments.tool == "damage":
        results = Results(out, damages.COLUMNS, damages.KEY)
        damages.run(arguments.what, folder, results, count=arguments.count, seed=arguments.seed, say=_say)
        return results
    return _try_commands(arguments, folder, out)


def _try_commands(arguments, folder: pathlib.Path, out: pathlib.Path):
    from stressing import commands, kills, writes
    from stressing.results import Results

    inputs, work = folder / "inputs", folder / "work"
    inputs.mkdir()
    commands.write_inputs(inputs, lambda main, argv: zygote.run(main, argv, inputs, timeout=300))
    server, url = commands.serve(inputs)
    try:
        chosen = commands.make(arguments.commands, inputs, url)
        tool = {"writes": writes, "kills": kills}[arguments.tool]
        results = Results(out, tool.COLUMNS, tool.KEY)
        more = {"lasting": arguments.lasting} if tool is writes else {}
        tool.run(chosen, work, results, count=arguments.count, seed=arguments.seed, say=_say, **more)
    finally:
        server.terminate()
        server.wait()
    return results


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> cli.Parser:
    from stressing.names import COMMANDS, DAMAGED

    parser = cli.Parser(prog="python tools/stress.py", description=__doc__.split("\n")[0])
    tools = parser.add_subparsers(required=True, metavar="TOOL", dest="tool")
    for name, work, count in (
        ("writes", "failing writes", "calls of each command, sampled at random (default: all)"),
        ("kills", "SIGKILL at random instants", "kills per command (default: 50)"),
        ("damage", "damaged weight files and images", "files of each kind (default: 5000)"),
    ):
        tool = tools.add_parser(name, help=work)
        tool.add_argument("--count", type=int, default={"kills": 50, "damage": 5000}.get(name), help=count)
        tool.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
        tool.add_argument("--out", type=cli.path, metavar="FILE", help=f"CSV file of outcomes (default: stress-{name}.csv)")
        if name == "damage":
            tool.add_argument("--what", nargs="+", choices=DAMAGED, default=DAMAGED, help="what to damage (default: all)")
            continue
        tool.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS, help="commands to test (default: all)")
        if name == "writes":
            tool.add_argument("--lasting", action="store_true", help="make all later calls fail too, as on a full disk")
    return parser


if __name__ == "__main__":
    entry.run(main)
