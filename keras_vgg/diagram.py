"""Table 1 as a picture: nets side by side, block by block, drawn from `configs`."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from keras_vgg import configs
from keras_vgg.configs import Config
from keras_vgg.support import picture, plot_style
from keras_vgg.support.plot_style import INK, PAPER

_WIDTH, _GAP = 1.0, 0.22  # of a column
_POOLING_HEIGHT, _LRN_HEIGHT, _SPACE = 0.3, 0.45, 0.25  # a convolution is one high
_INCHES = 1.45, 0.34  # of a column and of a convolution


def draw_nets(
    path: pathlib.Path, nets: Sequence[Config], *, size: int = configs.TRAINING_SIZE, classes: int = 1000, width: float = 1.0
) -> None:
    """Draws nets side by side, as Table 1 of the paper lists them, and writes a PNG.

    Convolutions show kernel size and filters, one color per block. Layers that a net has beyond the net to its left have a
    dark border, as they are bold in the paper. Poolings are orange lines; beside them is the side of the feature map.

    Args:
        path: the file to write.
        nets: at least one; nets with different numbers of blocks are aligned at the top.
        size: side of the input in pixels.
        classes: number of classes.
        width: factor on all filters and FC units.

    Raises:
        InputError: if matplotlib is not installed, or the file cannot be written.
    """
    rows = [max(_block_height(net, block) for net in nets) for block in range(max(len(net.blocks) for net in nets))]
    heads = max(len(net.top) for net in nets)
    height = sum(rows) + len(rows) * (_POOLING_HEIGHT + _SPACE) + heads + 3.2
    inches = _INCHES[0] * (len(nets) + 0.9), _INCHES[1] * height
    facts = {"nets": ", ".join(net.arch for net in nets), "input": f"{size}x{size}", "classes": classes}
    with picture.drawing(path, inches, dpi=160, facts=facts) as figure:
        axes = figure.add_subplot()
        axes.set(xlim=(-0.75, len(nets) * (_WIDTH + _GAP)), ylim=(height, 0))
        axes.axis("off")
        for column, net in enumerate(nets):
            before = nets[column - 1] if column else None
            _draw_net(axes, column * (_WIDTH + _GAP), net, before, rows, {"size": size, "classes": classes, "width": width})
        _draw_sides(axes, max(nets, key=lambda net: len(net.blocks)), rows, size)


def _block_height(net: Config, block: int) -> float:
    convolutions = net.blocks[block] if block < len(net.blocks) else ()
    return sum(1 + _LRN_HEIGHT * each.lrn for each in convolutions)


def _draw_net(axes, left: float, net: Config, before: Config | None, rows: Sequence[float], facts: Mapping[str, Any]) -> None:
    """Draws one column: its name and size, its blocks, its head."""
    shape = (facts["size"], facts["size"], 3)
    parameters = configs.parameter_count(net.arch, input_shape=shape, classes=facts["classes"], width=facts["width"])
    middle = left + _WIDTH / 2
    known_as = f"{net.known_as[0]}, " if net.known_as else ""
    axes.text(middle, 0.55, net.arch, ha="center", va="center", fontsize=15, fontweight="bold", color=INK)
    axes.text(middle, 1.3, f"{known_as}{net.depth} layers", ha="center", va="center", fontsize=7.5, color=INK)
    axes.text(middle, 1.85, f"{parameters / 1e6:.3g} M parameters", ha="center", va="center", fontsize=7.5, color=INK)
    top = 2.4
    for block, height in enumerate(rows):
        if block < len(net.blocks):
            _draw_block(axes, left, top, net, before, block, facts["width"])
            bottom = top + height
            axes.add_patch(_box(left, bottom + 0.06, _POOLING_HEIGHT - 0.12, plot_style.POOLING, is_new=False))
        top += height + _POOLING_HEIGHT + _SPACE
    units = [configs.scaled_width(each, facts["width"]) for each in net.fully_connected.values()] + [facts["classes"]]
    for number, (name, count) in enumerate(zip(net.top, units, strict=True)):
        label = f"FC-{count}" if name != "predictions" else f"FC-{count}, soft-max"
        _draw_layer(axes, left, top + number, label, plot_style.FC, is_new=False)


def _draw_block(axes, left: float, top: float, net: Config, before: Config | None, block: int, width: float) -> None:
    color = plot_style.BLOCKS[min(block, len(plot_style.BLOCKS) - 1)]
    theirs = list(before.blocks[block]) if before and block < len(before.blocks) else None
    for place, each in enumerate(net.blocks[block]):
        other = theirs[place] if theirs is not None and place < len(theirs) else None
        is_new = before is not None and (other is None or (other.kernel, other.filters) != (each.kernel, each.filters))
        _draw_layer(axes, left, top, f"conv{each.kernel}-{configs.scaled_width(each.filters, width)}", color, is_new=is_new)
        top += 1
        if each.lrn:
            _draw_layer(axes, left, top, "LRN", plot_style.LRN, is_new=before is not None, height=_LRN_HEIGHT)
            top += _LRN_HEIGHT


def _draw_layer(axes, left: float, top: float, label: str, color: str, *, is_new: bool, height: float = 1.0) -> None:
    axes.add_patch(_box(left, top + 0.05, height - 0.1, color, is_new=is_new))
    is_dark = sum(int(color[at : at + 2], 16) * share for at, share in ((1, 0.3), (3, 0.59), (5, 0.11))) < 140
    axes.text(
        left + _WIDTH / 2,
        top + height / 2,
        label,
        ha="center",
        va="center",
        fontsize=8 if height == 1 else 6.5,
        fontweight="bold" if is_new else "normal",
        color=PAPER if is_dark else INK,
    )


def _box(left: float, top: float, height: float, color: str, *, is_new: bool):
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=0.06"
    edge, width = (INK, 1.6) if is_new else (color, 0.0)
    return FancyBboxPatch((left, top), _WIDTH, height, boxstyle=style, facecolor=color, edgecolor=edge, linewidth=width)


def _draw_sides(axes, net: Config, rows: Sequence[float], size: int) -> None:
    """Writes the side of the feature map to the left of each block, and what the lines are."""
    top, side = 2.4, size
    for block, height in enumerate(rows):
        axes.text(-0.12, top + 0.5, f"{side}×{side}", ha="right", va="center", fontsize=8, color=INK)
        for each in net.blocks[block]:
            side = -(-side // each.stride)
        axes.text(
            -0.12, top + height + _POOLING_HEIGHT / 2, "max pool", ha="right", va="center", fontsize=7, color=plot_style.POOLING
        )
        side = (side - net.pooling.size) // net.pooling.stride + 1
        top += height + _POOLING_HEIGHT + _SPACE
