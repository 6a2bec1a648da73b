import os

import numpy as np
import pytest
import tensorflow as tf

from keras_vgg.data import listings
from keras_vgg.data.split import hold_out
from keras_vgg.errors import InputError
from keras_vgg.image_files import files_within, find_images


def write(root, *names):
    """Makes files that hold their own name; listings look into none of them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def contents(split):
    """`{what the file holds: label}`, read as the pipeline reads."""
    examples = (split.read(tf.constant(index, tf.int64)) for index in range(split.size))
    return {encoded.numpy().decode(): int(label) for encoded, label in examples}


def test_train_and_val_folders(tmp_path):
    write(tmp_path, "train/emu/1.jpg", "train/cat/2.jpg", "train/cat/1.jpg", "train/dog/x.PNG", "val/dog/9.jpg", "val/cat/8.jpg")
    dataset = listings.open_folder(str(tmp_path))
    assert dataset.classes == ("cat", "dog", "emu")
    assert contents(dataset.train) == {"train/cat/1.jpg": 0, "train/cat/2.jpg": 0, "train/dog/x.PNG": 1, "train/emu/1.jpg": 2}
    assert contents(dataset.validation) == {"val/cat/8.jpg": 0, "val/dog/9.jpg": 1}  # no emu there: labels stay
    assert dataset.train.name_of(0) == str(tmp_path / "train/cat/1.jpg")
    assert tmp_path.name in dataset.description


@pytest.mark.parametrize("name", ["validation", "valid", "test"])
def test_other_names_of_the_validation_folder(tmp_path, name):
    write(tmp_path, "train/a/1", "train/b/2", f"{name}/a/3")
    assert contents(listings.open_folder(str(tmp_path)).validation) == {f"{name}/a/3": 0}


@pytest.mark.parametrize(
    ("train", "validation"), [("Train", "Val"), ("TRAIN", "TEST"), ("training", "validation"), ("Training", "Valid")]
)
def test_names_of_splits_in_capitals_and_in_full(tmp_path, train, validation):
    write(tmp_path, f"{train}/a/1", f"{train}/b/2", f"{validation}/b/3")
    dataset = listings.open_folder(str(tmp_path))
    assert dataset.classes == ("a", "b")
    assert contents(dataset.train) == {f"{train}/a/1": 0, f"{train}/b/2": 1}
    assert contents(dataset.validation) == {f"{validation}/b/3": 1}


def test_a_split_by_its_very_name_comes_first(tmp_path):
    write(tmp_path, "Train/a/1", "train/b/2", "training/c/3", "Val/b/4", "val/b/5")
    dataset = listings.open_folder(str(tmp_path))
    assert (list(contents(dataset.train)), list(contents(dataset.validation))) == (["train/b/2"], ["val/b/5"])


def test_val_comes_before_test(tmp_path):
    write(tmp_path, "train/a/1", "test/a/3", "val/a/4")
    assert list(contents(listings.open_folder(str(tmp_path)).validation)) == ["val/a/4"]


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_a_tenth_is_held_out_without_a_validation_folder(tmp_path, prefix):
    names = [f"{prefix}{name}/{i:02}.jpg" for name in ("a", "b") for i in range(20)]
    write(tmp_path, *names)
    first, second = (listings.open_folder(str(tmp_path)) for _ in range(2))
    train, validation = contents(first.train), contents(first.validation)
    assert (len(train), len(validation)) == (36, 4)
    assert set(train) | set(validation) == set(names)
    assert contents(second.validation) == validation
    for name, label in (train | validation).items():
        assert label == name.startswith(f"{prefix}b")


def test_hidden_files_and_folders_are_no_images(tmp_path):
    write(tmp_path, "a/1.jpg", "a/.DS_Store", "a/Thumbs.db", "b/2.jpg", ".git/config", "notes.txt", "b/desktop.ini")
    write(tmp_path, "a/.ipynb_checkpoints/1-checkpoint.jpg", "b/deep/.hidden/2.jpg")
    dataset = listings.open_folder(str(tmp_path))
    assert dataset.classes == ("a", "b")
    assert set(contents(dataset.train)) | set(contents(dataset.validation)) == {"a/1.jpg", "b/2.jpg"}


def test_files_in_folders_within_a_class_folder_belong_to_it(tmp_path):
    write(tmp_path, "train/a/deep/er/1.jpg", "train/a/0.jpg", "train/b/images/2.JPEG", "val/b/x/3")
    dataset = listings.open_folder(str(tmp_path))
    assert contents(dataset.train) == {"train/a/0.jpg": 0, "train/a/deep/er/1.jpg": 0, "train/b/images/2.JPEG": 1}
    assert contents(dataset.validation) == {"val/b/x/3": 1}


def test_names_in_any_script_and_with_spaces(tmp_path):
    write(tmp_path, "train/Vögel und Käfer/ein Bild.jpg", "train/鸟/1.jpg", "val/鸟/2.jpg")
    dataset = listings.open_folder(str(tmp_path))
    assert dataset.classes == ("Vögel und Käfer", "鸟")
    assert contents(dataset.train) == {"train/Vögel und Käfer/ein Bild.jpg": 0, "train/鸟/1.jpg": 1}


def test_names_that_are_not_utf8_can_be_printed(tmp_path):
    root = os.fsencode(tmp_path)
    for name in (b"train/caf\xe9", b"train/tea", b"val/caf\xe9"):
        os.makedirs(os.path.join(root, name))
        with open(os.path.join(root, name, b"\xff.jpg"), "w") as file:
            file.write(name[:3].decode())
    dataset = listings.open_folder(str(tmp_path))
    assert dataset.classes == ("caf\\xe9", "tea")
    assert contents(dataset.validation) == {"val": 0}
    assert dataset.train.name_of(0) == f"{tmp_path}/train/caf\\xe9/\\xff.jpg"


def test_linked_folders_are_followed_but_not_in_circles(tmp_path):
    write(tmp_path, "data/a/1", "data/b/2", "elsewhere/3")
    (tmp_path / "data" / "a" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data" / "a")
    found = sorted(files_within(tmp_path / "data" / "a"))
    assert found == [str(tmp_path / "data/a/1"), str(tmp_path / "data/a/more/3")]
    assert listings.open_folder(str(tmp_path / "data")).classes == ("a", "b")
    assert find_images([str(tmp_path / "data")]) == (*found, str(tmp_path / "data/b/2"))


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"folder that can be read\. Received: .* \(Permission denied\)"):
        find_images([str(tmp_path)])


def test_a_quoted_comma_after_a_space_is_no_value_more(tmp_path):
    write(tmp_path, "1")
    rows = "".join(f'1, "a, b", {split}\n' for split in ("train", "val"))
    assert listings.open_csv(write_csv(tmp_path, f"path, label, split\n{rows}")).classes == ("a, b",)


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, "pictures/train/a/1", "pictures/val/a/2")
    assert listings.open_folder("~/pictures").train.size == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/a/1", "val/a/2", "val/zebra/3"], "val has classes that .*train has not: zebra"),
        (["train/a/1", "train/b/.hidden", "val/a/2"], "Class folder .*train/b must hold images.*empty"),
        (["train/a/1", "val/a/.hidden"], "Class folder .*val/a must hold images"),
        (["train/1.jpg"], "train must hold one folder per class"),
        (["1.jpg", "2.jpg"], "must hold one folder per class. Received: no folder in it"),
        (["train/a/1", "val/2.jpg"], "val must hold one folder per class"),
        (["a/1"], "at least two"),
    ],
)
def test_folder_that_cannot_be_used_is_named(tmp_path, names, message):
    write(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        listings.open_folder(str(tmp_path))


def test_missing_folder_is_named(tmp_path):
    write(tmp_path, "a_file")
    for name in ("none", "a_file"):
        with pytest.raises(
            InputError, match=f"`folder:` must name a folder of class folders. Received: .*{name}, which is no folder"
        ):
            listings.open_folder(str(tmp_path / name))


def write_csv(root, text, encoding="utf-8"):
    (root / "list.csv").write_text(text, encoding=encoding)
    return str(root / "list.csv")


def test_csv_with_splits(tmp_path):
    write(tmp_path, "i/1", "i/2", "i/3", "i/4")
    rows = f"split,label,path\ntrain,dog,i/1\nval,cat,i/2\ntrain,cat,{tmp_path / 'i/3'}\ntest,dog,i/4\n"
    dataset = listings.open_csv(write_csv(tmp_path, rows))
    assert dataset.classes == ("cat", "dog")
    assert contents(dataset.train) == {"i/1": 1, "i/3": 0}  # in the order of the rows; absolute paths are taken as they are
    assert contents(dataset.validation) == {"i/2": 0, "i/4": 1}


def test_csv_without_splits(tmp_path):
    write(tmp_path, *(f"i/{i}" for i in range(20)))
    dataset = listings.open_csv(write_csv(tmp_path, "path,label\n" + "".join(f"i/{i},{i % 2}\n" for i in range(20))))
    train, validation = contents(dataset.train), contents(dataset.validation)
    assert (len(train), len(validation)) == (18, 2)
    assert train | validation == {f"i/{i}": i % 2 for i in range(20)}


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "9", "2"], ("2", "9", "10")),
        (["10", "9", "x"], ("10", "9", "x")),
        (["NA", "nan", "null"], ("NA", "nan", "null")),
        (["-1", "2", "10"], ("-1", "10", "2")),
    ],
)
def test_whole_numbers_are_sorted_as_numbers_and_everything_else_as_text(tmp_path, labels, classes):
    write(tmp_path, "1")
    rows = "path,label,split\n" + "".join(f"1,{label},{split}\n" for label in labels for split in ("train", "val"))
    dataset = listings.open_csv(write_csv(tmp_path, rows))
    assert dataset.classes == classes
    read = [int(dataset.train.read(tf.constant(i, tf.int64))[1]) for i in range(3)]
    assert [classes[label] for label in read] == labels


def test_csv_of_a_spreadsheet(tmp_path):
    # A byte order mark, quotes, Windows line ends, a blank line at the end.
    write(tmp_path, "a, b.jpg", "c.jpg")
    text = 'path,label,split\r\n"a, b.jpg",x,train\r\nc.jpg,x,val\r\n\r\n'
    dataset = listings.open_csv(write_csv(tmp_path, text, "utf-8-sig"))
    assert contents(dataset.train) == {"a, b.jpg": 0}
    assert contents(dataset.validation) == {"c.jpg": 0}


def test_csv_with_commas_and_spaces_that_say_nothing(tmp_path):
    write(tmp_path, "1", "2")
    text = 'path, label,split\n1, "a",train,\n2, a,val,\n'
    dataset = listings.open_csv(write_csv(tmp_path, text))
    assert dataset.classes == ("a",)
    assert (contents(dataset.train), contents(dataset.validation)) == ({"1": 0}, {"2": 0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\n1,a\n", "must have columns path and label. Received: columns image, label; path missing"),
        ("path;label\n1;a\n", "Received: columns path;label; label and path missing"),
        ("path,label\n1,a\n1,\n", "line 3: `label` is empty"),
        ("path,label\n1,a\n1\n", "line 3: `label` is empty"),
        ("path,label\n1,a\n\n,b\n", "line 4: `path` is empty"),
        ("\npath,label\n1,a\n", "must have columns path and label"),
        ("path,label\n", "must list images. Received: a header alone"),
        ("", "`csv:` must name a readable CSV file. Received: .*list.csv"),
        ("path,label\n1,a,\n\n1,b,y\n", "line 4: more values than the header has names"),
        ("path,label\n1,a,,y\n1,a,x,y\n", "line 2: more values than the header has names"),
        ("path,label,split\n1,a,train\n1,b,val\n1,c,val\n", "its val rows have classes that its train rows have not: b, c"),
        ("path,label\n1,a\n1,a,b,c\n", "`csv:` must name a readable CSV file. Received: .*line 3"),
        ("path,label\nnone/1,a\nnone/2,b\n", "none of its first 2 images exists, e.g. .*none/1"),
        ("path,label,split\n1,a,train\n1,a,dev\n", "`split` must be train or val. Received: 'dev'"),
        ("path,label,split\n1,a,train\n1,a,\n", "`split` must be train or val. Received: ''"),
        ("path,label,split\n1,a,train\n1,b,train\n", "`split` must name both train and val rows. Received: train alone"),
        ("path,label,split\n1,a,val\n1,b,test\n", "`split` must name both train and val rows"),
        ("path,label\n1,a\n", "at least two"),
    ],
)
def test_csv_that_cannot_be_used_is_named(tmp_path, text, message):
    write(tmp_path, "1")
    with pytest.raises(InputError, match=message) as caught:
        listings.open_csv(write_csv(tmp_path, text))
    assert "list.csv" in str(caught.value) or "at least two" in message


def test_missing_csv_and_one_that_is_no_text(tmp_path):
    with pytest.raises(InputError, match=r"`csv:` must name a readable CSV file. Received: .*none\.csv"):
        listings.open_csv(str(tmp_path / "none.csv"))
    with pytest.raises(InputError, match="`csv:` must name a readable CSV file"):
        listings.open_csv(str(tmp_path))
    (tmp_path / "image.csv").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=r"`csv:` must name a readable CSV file. Received: .*image\.csv"):
        listings.open_csv(str(tmp_path / "image.csv"))


@pytest.mark.parametrize(("size", "held_out"), [(2, 1), (3, 1), (10, 1), (100, 10), (104, 10)])
def test_hold_out(size, held_out):
    train, validation = hold_out(size)
    assert len(validation) == held_out
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(size))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
