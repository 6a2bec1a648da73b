"""All commands under one name: `keras-vgg fit` and `python -m keras_vgg fit` are the same as `python -m keras_vgg.fit`."""

import difflib
import runpy
import sys

import keras_vgg

COMMANDS = {
    "fit": "trains a net",
    "evaluate": "tests nets as in Sec. 3.2",
    "predict": "predicts the classes of images",
    "localise": "tests localization nets by ILSVRC's rules",
    "look": "draws filters and feature maps of a net",
    "extract": "writes descriptors of images (Appendix B)",
    "transfer_eval": "tests nets on other datasets (Table 11)",
    "compare": "compares two folders of images: LPIPS, DISTS, precision and recall",
    "reproduce": "reproduces the paper as a study: plan, tables over seeds, report",
    "style": "renders one image in the style of another",
    "export": "writes a net for TensorFlow Serving and other engines",
    "serve": "serves an exported net on this machine, for testing",
    "client": "requests predictions from a served model",
    "convert": "converts weights between file formats",
    "describe": "prints nets and their public weights",
}
AMERICAN = {"localize": "localise"}


def main() -> None:
    """Runs the command named by the first argument with the others, and ends the process as the command does."""
    name, *arguments = sys.argv[1:] or ["--help"]
    name = AMERICAN.get(name, name)
    if name in ("-h", "--help"):
        lines = [f"  {command:<15}{what}" for command, what in COMMANDS.items()]
        print("\n".join(["usage: keras-vgg COMMAND …", "", *lines, "", "keras-vgg COMMAND --help shows the flags of a command."]))
    elif name == "--version":
        print(f"keras_vgg {keras_vgg.__version__}")
    elif name.replace("-", "_") in COMMANDS:
        module = f"keras_vgg.{name.replace('-', '_')}"
        sys.argv[1:] = arguments
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        told = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(COMMANDS)}."
        print(f"Unknown command {name!r}; {told}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
