import collections

import pytest
from PIL import Image

from keras_vgg import configs, describe


@pytest.mark.parametrize(
    ("arch", "heading"),
    [
        ("A", "Net A: 11 weight layers, 132,863,336 parameters, 7.61 G multiply-adds"),
        ("D", "Net D: 16 weight layers, 138,357,544 parameters, 15.47 G multiply-adds"),
        ("E", "Net E: 19 weight layers, 143,667,240 parameters, 19.63 G multiply-adds"),
    ],
)
def test_one_net(arch, heading, capsys):
    describe.main(["--arch", arch])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == heading
    assert len(lines) == 3 + len(configs.layer_facts(arch))
    assert lines[-1].split() == ["predictions", "1000", "whole", "input", "4,097,000", "4,096,000"]


def test_rows_of_a_net(capsys):
    describe.main(["--arch", "A-LRN"])
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[3:]}
    assert rows["block1_conv1"] == ["224x224x64", "3", "1,792", f"{3 * 3 * 3 * 64 * 224 * 224:,}"]
    assert rows["block1_lrn"] == ["224x224x64", "3"]
    assert rows["block5_pool"] == ["7x7x512", "150"]


def test_all_six_side_by_side(capsys):
    describe.main([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["A", "A-LRN", "B", "C", "D", "E"]
    rows = {line.split()[0]: line for line in lines[1:] if line}
    assert rows["parameters"].split()[-6:] == ["132.9", "132.9", "133.0", "133.6", "138.4", "143.7"]
    assert rows["multiply-adds"].split()[-6:] == ["7.61", "7.61", "11.31", "11.77", "15.47", "19.63"]
    assert rows["weight"].split()[-6:] == ["11", "11", "13", "16", "16", "19"]
    assert "3 LRN" in "\n".join(lines)
    assert "3 3 1" in "\n".join(lines)


def test_size_classes_and_width_are_heeded(capsys):
    describe.main(["--arch", "B", "--size", "32", "--classes", "10", "--width", "0.125"])
    count = configs.parameter_count("B", input_shape=(32, 32, 3), classes=10, width=0.125)
    heading, *_, last = capsys.readouterr().out.splitlines()
    assert f" {count:,} parameters" in heading
    assert last.split() == ["predictions", "10", "whole", "input", "5,130", "5,120"]


def test_few_multiply_adds_are_counted_in_millions(capsys):
    narrow = ["--size", "32", "--classes", "10", "--width", "0.125"]
    describe.main(["--arch", "A", *narrow])
    assert capsys.readouterr().out.startswith("Net A: 11 weight layers, 445,626 parameters, 2.88 M multiply-adds")
    describe.main(narrow)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("multiply-adds (M)"))
    assert line.split()[2:4] == ["2.88", "2.88"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arch", "F"], "F"),
        (["--size", "31"], "--size: must be at least 32, five poolings halve it (received 31)"),
        (["--classes", "0"], "must be positive (received 0, 1.0)"),
        (["--width", "-1"], "must be positive (received 1000, -1.0)"),
        (["--width", "inf"], "must be positive (received 1000, inf)"),
        (["--width", "nan"], "must be positive (received 1000, nan)"),
        (["--depth", "16"], "--depth"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        describe.main(arguments)
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_public_weights(capsys):
    describe.main(["--weights", "--arch", "E"])
    printed = capsys.readouterr().out
    assert "imagenet_torchvision" in printed
    assert "vgg19-dcbb9e9d.pth" in printed
    assert "143,678,248" in printed
    assert "vgg16" not in printed
    describe.main(["--weights", "--arch", "A-LRN"])
    assert capsys.readouterr().out == "There are no public weights of net A-LRN.\n"


def test_the_diagram_shows_what_table_1_shows(tmp_path, monkeypatch, capsys):
    """Every layer of every column, and in bold what a net has beyond the one to its left."""
    axes = pytest.importorskip("matplotlib.axes").Axes
    drawn, text = [], axes.text

    def recorded(self, x, y, told, **style):
        drawn.append((told, style.get("fontweight")))
        return text(self, x, y, told, **style)

    monkeypatch.setattr(axes, "text", recorded)
    describe.main(["--diagram", str(tmp_path / "nets.png")])
    assert capsys.readouterr().out == f"{tmp_path}/nets.png\n"
    with Image.open(tmp_path / "nets.png") as picture:
        assert picture.text["nets"] == "A, A-LRN, B, C, D, E"
        assert picture.width > picture.height > 1000
    labels = collections.Counter(told for told, _ in drawn)
    assert sum(count for told, count in labels.items() if told.startswith("conv")) == 8 + 8 + 10 + 13 + 13 + 16
    assert (labels["FC-4096"], labels["FC-1000, soft-max"], labels["LRN"]) == (12, 6, 1)
    assert (labels["224×224"], labels["14×14"], labels["max pool"]) == (1, 1, 5)
    assert {"133 M parameters", "138 M parameters", "144 M parameters"} <= set(labels)
    bold = [told for told, weight in drawn if weight == "bold" and told not in configs.CONFIGS]
    new_in_b, new_in_c = ["conv3-64", "conv3-128"], ["conv1-256", "conv1-512", "conv1-512"]
    new_in_d = new_in_e = ["conv3-256", "conv3-512", "conv3-512"]
    assert bold == ["LRN", *new_in_b, *new_in_c, *new_in_d, *new_in_e]


def test_the_diagram_of_one_net_in_another_size(tmp_path, monkeypatch):
    axes = pytest.importorskip("matplotlib.axes").Axes
    told, text = [], axes.text
    monkeypatch.setattr(axes, "text", lambda self, x, y, label, **style: told.append(label) or text(self, x, y, label, **style))
    describe.main(["--diagram", str(tmp_path / "net.png"), "--arch", "B", "--size", "64", "--classes", "7", "--width", "0.25"])
    assert {"conv3-16", "conv3-128", "FC-1024", "FC-7, soft-max", "64×64", "4×4"} <= set(told)
    assert not {"A", "224×224"} & set(told)
