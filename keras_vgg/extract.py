"""Writes descriptors of images (Appendix B): `python -m keras_vgg.extract --model vgg16 --dataset folder:PATH --out features.npz`.

Running the same command again resumes a killed one. Features of views are kept beside the file, for other combinations of nets
and scales; that folder may be deleted.
"""

import pathlib
import sys

from keras_vgg.errors import InputError
from keras_vgg.precision import told
from keras_vgg.support import cli, entry, files
from keras_vgg.support.counts import agree, counted, none_could
from keras_vgg.support.image_files import find_images


def main(argv: list[str]) -> None:
    """Parses `argv` and writes the file."""
    arguments = _parser().parse_args(argv)
    if bool(arguments.dataset) == bool(arguments.images):
        raise InputError("Pass either --dataset (digits, folder:PATH, csv:FILE or tfds:NAME[/CONFIG]) or --images.")
    if arguments.images and (arguments.split or arguments.limit_images):
        raise InputError("`--split` and `--limit-images` apply to datasets. Pass them without --images.")
    if arguments.batch < 1:
        raise InputError(f"`--batch` must be at least 1. Received: {arguments.batch}.")
    entry.import_tensorflow()
    from keras_vgg.data.datasets import open_dataset
    from keras_vgg.descriptors import descriptor_file, extraction, inputs
    from keras_vgg.descriptors.descriptor import DescriptorProtocol
    from keras_vgg.evaluation.run import devices_for
    from keras_vgg.identity import digest_of_images

    out = pathlib.Path(arguments.out)
    descriptor_file.check_path(out)
    folder = out.with_suffix(".parts")
    files.check_file(out)
    files.check_folder(folder)
    protocol = DescriptorProtocol(**cli.given(arguments, *cli.OF_DESCRIPTOR))
    sources = [extraction.open_feature_source(model, preprocessing=arguments.preprocessing) for model in arguments.model]
    devices = devices_for(arguments.replicas)
    if arguments.images:
        given = inputs.of_files(find_images(arguments.images))
    else:
        given = inputs.of_dataset(
            open_dataset(arguments.dataset, limit_images=arguments.limit_images), arguments.split or inputs.ALL
        )
    computed = f", computed in {protocol.precision}" if told(protocol.precision) else ""
    print(f"data: {given.description}, {counted(given.split.size, 'image')}{computed}", *given.notes, sep="\n", flush=True)
    for source in sources:
        print(f"{source.name}: {source.preprocessing_text}", flush=True)
    found = extraction.extract(given.split, sources, protocol, folder, batch=arguments.batch, devices=devices, stream=sys.stdout)
    if found.left_out == len(found.values):
        raise InputError(f"{none_could(found.left_out, 'image', 'be used').capitalize()}; see {folder} for the reasons.")
    of_data = {"data": given.description, "data images": given.split.size, "problems": found.problems}
    of_data |= {"images sha256": digest_of_images(found.fingerprints, found.labels)}
    facts = extraction.facts_of(sources, found.digests, protocol) | of_data
    content = descriptor_file.DescriptorFile(
        found.values, found.labels, found.names, given.parts, given.classes, facts, fingerprints=found.fingerprints
    )
    number = content.save(out, keep_broken=arguments.keep_broken)
    found.discard()  # the file contains them now
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    left = found.left_out
    kept = agree(left, "has a row of NaN", "have rows of NaN")
    lost = f", {counted(left, 'image')} {kept if arguments.keep_broken else 'left out'}" if left else ""
    print(f"{out}: descriptors of {counted(number, 'image')}, {found.values.shape[1]} each{lost}")
    print(f"{folder}: {size / 1e6:.3g} MB, for other combinations of these nets and scales; may be deleted")


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m keras_vgg.extract", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--model", type=cli.path, action="append", required=True, metavar="PATH",
        help="run folder, weight file or public name (vgg16), with or without its top; descriptors of several nets are stacked",
    )  # fmt: skip
    cli.add_net_flags(parser, "dataset", split="split of the dataset (default: all)")
    parser.add_argument(
        "--images", type=cli.path, nargs="+", metavar="IMAGE", help="image files, globs or folders, instead of --dataset"
    )
    parser.add_argument("--out", type=cli.path, required=True, metavar="FILE", help="output file, .npz or .parquet")
    cli.add_net_flags(parser, *cli.OF_DESCRIPTOR)
    parser.set_defaults(pooling=None)  # the default is that of `DescriptorProtocol`
    parser.add_argument(
        "--keep-broken",
        action="store_true",
        help="write rows of NaN for images that could not be used, instead of skipping them",
    )
    cli.add_net_flags(parser, "preprocessing", "batch", "replicas", "limit-images")
    return parser


if __name__ == "__main__":
    entry.run(main)
