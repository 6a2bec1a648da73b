import os

import numpy as np
import pytest
import tensorflow as tf

from keras_vgg.data.class_folders import open_folder
from keras_vgg.data.csv_listing import open_csv
from keras_vgg.data.dataset import hold_out
from keras_vgg.errors import InputError
from keras_vgg.support.image_files import files_within, find_images


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
    dataset = open_folder(str(tmp_path))
    assert dataset.classes == ("cat", "dog", "emu")
    assert contents(dataset.train) == {"train/cat/1.jpg": 0, "train/cat/2.jpg": 0, "train/dog/x.PNG": 1, "train/emu/1.jpg": 2}
    assert contents(dataset.validation) == {"val/cat/8.jpg": 0, "val/dog/9.jpg": 1}  # no emu there: labels stay
    assert dataset.train.name_of(0) == str(tmp_path / "train/cat/1.jpg")
    assert tmp_path.name in dataset.description


@pytest.mark.parametrize("name", ["validation", "valid", "dev", "val_set"])
def test_other_names_of_the_validation_folder(tmp_path, name):
    write(tmp_path, "train/a/1", "train/b/2", f"{name}/a/3")
    assert contents(open_folder(str(tmp_path)).validation) == {f"{name}/a/3": 0}


@pytest.mark.parametrize(
    ("train", "validation"),
    [("Train", "Val"), ("TRAIN", "VAL"), ("Training_Set", "val-images"), ("training", "validation"), ("Train", "Valid")],
)
def test_names_of_splits_in_capitals_and_in_full(tmp_path, train, validation):
    write(tmp_path, f"{train}/a/1", f"{train}/b/2", f"{validation}/b/3")
    dataset = open_folder(str(tmp_path))
    assert dataset.classes == ("a", "b")
    assert contents(dataset.train) == {f"{train}/a/1": 0, f"{train}/b/2": 1}
    assert contents(dataset.validation) == {f"{validation}/b/3": 1}


def test_a_split_by_its_very_name_comes_first(tmp_path):
    write(tmp_path, "Train/a/1", "train/b/2", "training/c/3", "Val/b/4", "val/b/5")
    dataset = open_folder(str(tmp_path))
    assert (list(contents(dataset.train)), list(contents(dataset.validation))) == (["train/b/2"], ["val/b/5"])


def test_val_is_for_validation_and_test_for_tests(tmp_path):
    write(tmp_path, "train/a/1", "test/a/3", "val/a/4")
    dataset = open_folder(str(tmp_path))
    assert (contents(dataset.validation), contents(dataset.test), dataset.notes) == ({"val/a/4": 0}, {"test/a/3": 0}, ())


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *(("train", "test"), ("TRAIN", "Testing"), ("training_set", "test_set"), ("images-train", "images-test")),
        *(("seg_train/seg_train", "seg_test/seg_test"), ("training_set/training_set", "test_set/test_set")),
    ],
)
def test_a_test_set_steers_no_training_under_any_name(tmp_path, train, test):
    images = [f"{train}/{name}/{number}" for name in ("a", "b") for number in range(10)]
    write(tmp_path, *images, f"{test}/b/3", f"{test}/a/4")
    dataset = open_folder(str(tmp_path))
    assert dataset.classes == ("a", "b")
    assert contents(dataset.test) == {f"{test}/a/4": 0, f"{test}/b/3": 1}
    train, validation = contents(dataset.train), contents(dataset.validation)
    assert (len(train), len(validation)) == (18, 2)
    assert sorted(train | validation) == sorted(images)
    assert "validation: 2 images held out of 20 training images" in " ".join(dataset.training_notes)


@pytest.mark.parametrize("beside", [["test/1.jpg"], ["test/unknown/1.jpg"], ["test/a/.hidden"]])
def test_a_test_set_without_known_labels_does_no_harm(tmp_path, beside):
    write(tmp_path, "train/a/1", "train/b/2", "val/b/3", *beside)
    dataset = open_folder(str(tmp_path))
    assert (dataset.train.size, dataset.validation.size, dataset.test) == (2, 1, None)
    (note,) = dataset.notes
    assert note.startswith(f"Note: no test images: {'Class folder ' if '.hidden' in beside[0] else ''}{tmp_path / 'test'}")


def test_what_lies_beside_sets_is_told(tmp_path):
    """As the folder of images to predict, in a set with seg_train and seg_test."""
    write(tmp_path, "seg_train/seg_train/a/1", "seg_train/seg_train/a/2", "seg_test/seg_test/a/3", "seg_pred/seg_pred/4")
    dataset = open_folder(str(tmp_path))
    assert dataset.classes == ("a",)
    assert dataset.notes[0] == f"Note: skipped in {tmp_path}: seg_pred/; used: seg_test/, seg_train/."


@pytest.mark.parametrize("name", ["train", "test", "Valid"])
def test_a_class_may_be_called_as_a_set_is(tmp_path, name):
    others = ("aeroplane", "bus", "car", "tram")
    write(tmp_path, *(f"{each}/{number}" for each in (*others, name) for number in range(4)))
    dataset = open_folder(str(tmp_path))
    assert dataset.classes == tuple(sorted((*others, name)))
    assert dataset.notes == (
        f"Note: {name} in {tmp_path} is treated as a class, since it contains no folders and lies beside classes.",
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["val/a/1", "test/a/2", "cat/3"], "test/, val/, named like sets, beside cat/; rename or move folders that are not sets"),
        (["cat/1", "dog/2", "test/3"], "test/, named like sets, beside cat/, dog/; rename or move folders that are not sets"),
        (["train/1", "test1x/2"], "train/, named like sets, beside test1x/"),
        (["train/a/1", "bus/2", "car/3"], "train/, named like sets, beside bus/, car/"),
        ([f"{name}/1" for name in "abcde"] + ["test/a/2"], "test/, named like sets, beside a/, b/, c/, d/, e/"),
        ([f"{name}/1" for name in ("val", "test", *"abcdef")], "test/, val/, .*beside a/, b/, c/, d/, e/ and 1 more"),
    ],
)
def test_sets_that_might_be_classes_are_refused(tmp_path, names, told):
    write(tmp_path, *names)
    with pytest.raises(InputError, match=f"must contain one folder per class, or sets, such as train, .*. Received: {told}"):
        open_folder(str(tmp_path))


SERVERS = ("@eaDir", "#recycle", "@Recycle", "lost+found", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", ".AppleDouble")


@pytest.mark.parametrize("name", SERVERS)
def test_what_file_servers_leave_is_neither_class_nor_image(tmp_path, name):
    images = [f"{part}/{each}/{number}.jpg" for part in ("train", "val") for each in "ab" for number in range(3)]
    beside = ["", "train/", "val/", "train/a/", "val/b/deep/"]
    write(tmp_path, *images, *(f"{place}{name}/x/SYNOPHOTO_THUMB_XL.jpg" for place in beside), "train/a/._1.jpg")
    dataset = open_folder(str(tmp_path))
    assert (dataset.classes, dataset.notes) == (("a", "b"), ())
    assert sorted(contents(dataset.train) | contents(dataset.validation)) == images
    assert open_folder(str(tmp_path / "train")).classes == ("a", "b")
    every = tuple(str(tmp_path / each) for each in images)
    assert find_images([str(tmp_path)]) == every
    assert find_images([f"{tmp_path}/**/*.jpg"]) == every
    thumbnail = str(tmp_path / "train" / name / "x" / "SYNOPHOTO_THUMB_XL.jpg")
    assert find_images([thumbnail]) == find_images([f"{tmp_path}/train/{name}/x/*"]) == (thumbnail,)  # who names it wants it


def test_names_of_classes_are_one_however_they_are_stored(tmp_path):
    """macOS stores é as e and an accent."""
    write(tmp_path, "train/caf\u00e9/1", "train/tea /2", "val/cafe\u0301/3", "val/ tea/4")
    dataset = open_folder(str(tmp_path))
    assert dataset.classes == ("caf\u00e9", "tea")
    assert contents(dataset.validation) == {"val/cafe\u0301/3": 0, "val/ tea/4": 1}


def test_two_folders_for_one_class_are_refused_and_capitals_told(tmp_path):
    write(tmp_path, "a/1", "a/2", "A/3", "b/4")
    dataset = open_folder(str(tmp_path))
    assert dataset.classes == ("A", "a", "b")
    assert dataset.notes == ("Warning: the classes A and a differ only in case; they are treated as two classes.",)
    write(tmp_path, "b /5")
    with pytest.raises(InputError, match=r"a unique name\. Received: 'b' and 'b ', which mean the same class"):
        open_folder(str(tmp_path))


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_a_tenth_is_held_out_without_a_validation_folder(tmp_path, prefix):
    names = [f"{prefix}{name}/{i:02}.jpg" for name in ("a", "b") for i in range(20)]
    write(tmp_path, *names)
    first, second = (open_folder(str(tmp_path)) for _ in range(2))
    train, validation = contents(first.train), contents(first.validation)
    assert (len(train), len(validation)) == (36, 4)
    assert set(train) | set(validation) == set(names)
    assert contents(second.validation) == validation
    for name, label in (train | validation).items():
        assert label == name.startswith(f"{prefix}b")


def test_hidden_files_and_folders_are_no_images(tmp_path):
    write(tmp_path, "a/1.jpg", "a/.DS_Store", "a/Thumbs.db", "b/2.jpg", ".git/config", "notes.txt", "b/desktop.ini")
    write(tmp_path, "a/.ipynb_checkpoints/1-checkpoint.jpg", "b/deep/.hidden/2.jpg")
    dataset = open_folder(str(tmp_path))
    assert dataset.classes == ("a", "b")
    assert set(contents(dataset.train)) | set(contents(dataset.validation)) == {"a/1.jpg", "b/2.jpg"}


def test_files_in_folders_within_a_class_folder_belong_to_it(tmp_path):
    write(tmp_path, "train/a/deep/er/1.jpg", "train/a/0.jpg", "train/b/images/2.JPEG", "val/b/x/3")
    dataset = open_folder(str(tmp_path))
    assert contents(dataset.train) == {"train/a/0.jpg": 0, "train/a/deep/er/1.jpg": 0, "train/b/images/2.JPEG": 1}
    assert contents(dataset.validation) == {"val/b/x/3": 1}


def test_names_in_any_script_and_with_spaces(tmp_path):
    write(tmp_path, "train/Vögel und Käfer/ein Bild.jpg", "train/鸟/1.jpg", "val/鸟/2.jpg")
    dataset = open_folder(str(tmp_path))
    assert dataset.classes == ("Vögel und Käfer", "鸟")
    assert contents(dataset.train) == {"train/Vögel und Käfer/ein Bild.jpg": 0, "train/鸟/1.jpg": 1}


def test_names_that_are_not_utf8_can_be_printed(tmp_path):
    root = os.fsencode(tmp_path)
    for name in (b"train/caf\xe9", b"train/tea", b"val/caf\xe9"):
        os.makedirs(os.path.join(root, name))
        with open(os.path.join(root, name, b"\xff.jpg"), "w") as file:
            file.write(name[:3].decode())
    dataset = open_folder(str(tmp_path))
    assert dataset.classes == ("caf\\xe9", "tea")
    assert contents(dataset.validation) == {"val": 0}
    assert dataset.train.name_of(0) == f"{tmp_path}/train/caf\\xe9/\\xff.jpg"


def test_linked_folders_are_followed_but_not_in_circles(tmp_path):
    write(tmp_path, "data/a/1", "data/b/2", "elsewhere/3")
    (tmp_path / "data" / "a" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data" / "a")
    found = sorted(files_within(tmp_path / "data" / "a"))
    assert found == [str(tmp_path / "data/a/1"), str(tmp_path / "data/a/more/3")]
    assert open_folder(str(tmp_path / "data")).classes == ("a", "b")
    assert find_images([str(tmp_path / "data")]) == (*found, str(tmp_path / "data/b/2"))


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"Expected a readable folder\. Received: .* \(Permission denied\)"):
        find_images([str(tmp_path)])


def test_a_quoted_comma_after_a_space_is_no_value_more(tmp_path):
    write(tmp_path, "1")
    rows = "".join(f'1, "a, b", {split}\n' for split in ("train", "val"))
    assert open_csv(write_csv(tmp_path, f"path, label, split\n{rows}")).classes == ("a, b",)


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, "pictures/train/a/1", "pictures/val/a/2")
    assert open_folder("~/pictures").train.size == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/a/1", "val/a/2", "val/zebra/3"], "val has classes that are missing in .*train: zebra"),
        (["train/a/1", "train/b/.hidden", "val/a/2"], "Class folder .*train/b must contain images.*empty"),
        (["train/a/1", "val/a/.hidden"], "Class folder .*val/a must contain images"),
        (["train/1.jpg"], "train must contain one folder per class"),
        (["1.jpg", "2.jpg"], "must contain one folder per class. Received: no folders"),
        (["train/a/1", "val/2.jpg"], "val must contain one folder per class"),
        (["val/1.jpg", "test/a/2"], "val must contain one folder per class"),
    ],
)
def test_folder_that_cannot_be_used_is_named(tmp_path, names, message):
    write(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        open_folder(str(tmp_path))


def test_missing_folder_is_named(tmp_path):
    write(tmp_path, "a_file")
    for name in ("none", "a_file"):
        with pytest.raises(
            InputError, match=f"`folder:` must name a folder of class folders. Received: .*{name}, which is not a folder"
        ):
            open_folder(str(tmp_path / name))


def write_csv(root, text, encoding="utf-8"):
    (root / "list.csv").write_text(text, encoding=encoding)
    return str(root / "list.csv")


def test_csv_with_splits(tmp_path):
    write(tmp_path, "i/1", "i/2", "i/3", "i/4")
    rows = f"split,label,path\ntrain,dog,i/1\nval,cat,i/2\ntrain,cat,{tmp_path / 'i/3'}\nTest,dog,i/4\n"
    dataset = open_csv(write_csv(tmp_path, rows))
    assert dataset.classes == ("cat", "dog")
    assert contents(dataset.train) == {"i/1": 1, "i/3": 0}  # in the order of the rows; absolute paths are taken as they are
    assert (contents(dataset.validation), contents(dataset.test)) == ({"i/2": 0}, {"i/4": 1})
    assert dataset.notes == ()


def test_test_rows_steer_no_training(tmp_path):
    write(tmp_path, *map(str, range(22)))
    rows = "".join(f"{number},{'ab'[number % 2]},{'test' if number > 19 else 'train'}\n" for number in range(22))
    dataset = open_csv(write_csv(tmp_path, f"path,label,split\n{rows}"))
    train, validation = contents(dataset.train), contents(dataset.validation)
    assert (len(train), len(validation), contents(dataset.test)) == (18, 2, {"20": 0, "21": 1})
    assert train | validation == {str(number): number % 2 for number in range(20)}
    assert "validation: 2 images held out of 20 training images" in dataset.training_notes[0]


def test_labels_are_one_class_however_they_are_stored(tmp_path):
    write(tmp_path, "1", "2", "3")
    text = 'path , label ,split\n1,caf\u00e9 ,train \n2,"  cafe\u0301",train\n3,caf\u00e9\u00a0,Val\n'
    dataset = open_csv(write_csv(tmp_path, text))
    assert dataset.classes == ("caf\u00e9",)
    assert (dataset.train.size, dataset.validation.size, dataset.notes) == (2, 1, ())


def test_images_in_two_splits_and_classes_that_differ_by_capitals_are_told(tmp_path):
    write(tmp_path, "1", "2", "3")
    text = "path,label,split\n1,a,train\n2,A,train\n2,A,val\n3,a,test\n1,a,test\n"
    capitals, shared = open_csv(write_csv(tmp_path, text)).notes
    assert capitals == "Warning: the classes A and a differ only in case; they are treated as two classes."
    expected = f"Warning: 2 images of {tmp_path / 'list.csv'} are in more than one split, e.g. 1 in train and test."
    assert shared == expected


def test_csv_without_splits(tmp_path):
    write(tmp_path, *(f"i/{i}" for i in range(20)))
    dataset = open_csv(write_csv(tmp_path, "path,label\n" + "".join(f"i/{i},{i % 2}\n" for i in range(20))))
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
    dataset = open_csv(write_csv(tmp_path, rows))
    assert dataset.classes == classes
    read = [int(dataset.train.read(tf.constant(i, tf.int64))[1]) for i in range(3)]
    assert [classes[label] for label in read] == labels


def test_csv_of_a_spreadsheet(tmp_path):
    # A byte order mark, quotes, Windows line ends, a blank line at the end.
    write(tmp_path, "a, b.jpg", "c.jpg")
    text = 'path,label,split\r\n"a, b.jpg",x,train\r\nc.jpg,x,val\r\n\r\n'
    dataset = open_csv(write_csv(tmp_path, text, "utf-8-sig"))
    assert contents(dataset.train) == {"a, b.jpg": 0}
    assert contents(dataset.validation) == {"c.jpg": 0}


def test_csv_with_commas_and_spaces_that_say_nothing(tmp_path):
    write(tmp_path, "1", "2")
    text = 'path, label,split\n1, "a",train,\n2, a,val,\n'
    dataset = open_csv(write_csv(tmp_path, text))
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
        ("path,label\n", "must list images. Received: only a header"),
        ("", "`csv:` must name a readable CSV file. Received: .*list.csv"),
        ("path,label\n1,a,\n\n1,b,y\n", "line 4: more values than columns in the header"),
        ("path,label\n1,a,,y\n1,a,x,y\n", "line 2: more values than columns in the header"),
        (
            "path,label,split\n1,a,train\n1,b,val\n1,c,val\n",
            "its validation rows have classes that are missing in its train rows: b, c",
        ),
        ("path,label\n1,a\n1,a,b,c\n", "`csv:` must name a readable CSV file. Received: .*line 3"),
        ("path,label\nnone/1,a\nnone/2,b\n", "none of its first 2 images exists, e.g. .*none/1"),
        ("path,label,split\n1,a,train\n1,a,hold\n", "`split` must be train, val or test. Received: 'hold'"),
        ("path,label,split\n1,a,train\n1,a,\n", "`split` must be train, val or test. Received: ''"),
        ("path,label,split\n1,a,train\n1,b,test\n", "its test rows have classes that are missing in its train rows: b"),
        ("path,label,label \n1,a,b\n", "unique column names. Received: columns path, label, label"),
    ],
)
def test_csv_that_cannot_be_used_is_named(tmp_path, text, message):
    write(tmp_path, "1")
    with pytest.raises(InputError, match=message) as caught:
        open_csv(write_csv(tmp_path, text))
    assert "list.csv" in str(caught.value) or "at least two" in message


def test_missing_csv_and_one_that_is_no_text(tmp_path):
    with pytest.raises(InputError, match=r"`csv:` must name a readable CSV file. Received: .*none\.csv"):
        open_csv(str(tmp_path / "none.csv"))
    with pytest.raises(InputError, match="`csv:` must name a readable CSV file"):
        open_csv(str(tmp_path))
    (tmp_path / "image.csv").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=r"`csv:` must name a readable CSV file. Received: .*image\.csv"):
        open_csv(str(tmp_path / "image.csv"))


@pytest.mark.parametrize(("size", "held_out"), [(2, 1), (3, 1), (10, 1), (100, 10), (104, 10)])
def test_hold_out(size, held_out):
    train, validation = hold_out(size)
    assert len(validation) == held_out
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(size))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
