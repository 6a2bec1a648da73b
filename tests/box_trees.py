"""Images in VOC's XML and folders, as ILSVRC has them: small ones, the same in every layout."""

import io

from PIL import Image

SIZE = (40, 36)
CLASSES = ("n01440764", "n01443537")
BOX = (4, 1, 20, 30)
IMAGES = {  # by set and class: images and their boxes; None for an image without XML
    "train": {
        CLASSES[0]: {"n01440764_1": [BOX], "n01440764_2": None, "n01440764_3": [(0, 0, 9, 9), (20, 20, 50, 30)]},
        CLASSES[1]: {"n01443537_1": [(30, 25, 10, 5)], "n01443537_2": [(1.5, 2.5, 8.25, 9.75)]},
    },
    "val": {
        CLASSES[0]: {"ILSVRC2012_val_00000002": [BOX]},
        CLASSES[1]: {"ILSVRC2012_val_00000001": [(7, 8, 9, 10), (0, 0, 39, 35)]},
    },
}
"""What these come to: `(label, edges)` of each training image that has XML, and each validation image, by name."""
EXPECTED = {
    "n01440764_1": (0, [[4, 1, 21, 31]]),
    "n01440764_3": (0, [[0, 0, 10, 10], [20, 20, 51, 31]]),
    "n01443537_1": (1, [[10, 5, 31, 26]]),
    "n01443537_2": (1, [[1.5, 2.5, 9.25, 10.75]]),
    "ILSVRC2012_val_00000002": (0, [[4, 1, 21, 31]]),
    "ILSVRC2012_val_00000001": (1, [[7, 8, 10, 11], [0, 0, 40, 36]]),
}


def jpeg(color=(200, 100, 0), size=SIZE):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def xml(objects, size=SIZE):
    """An annotation of `(name, corners)` or `(name, corners, difficult)`; without a size for `None`."""
    told = "".join(
        f"<object><name>{name}</name>{''.join(f'<difficult>{int(flag)}</difficult>' for flag in difficult)}<bndbox>"
        + "".join(f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
        + "</bndbox></object>"
        for name, corners, *difficult in objects
    )
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><folder>f</folder>{sides}{told}</annotation>"


def put(path, content):
    """Writes a file and the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def write_ilsvrc(image_place, xml_place, images=None):
    """Writes the images.

    Args:
        image_place: from set, class and name to the image's path.
        xml_place: the same for its XML; `None` for no XML.
        images: as `IMAGES`.
    """
    for which, classes in (images or IMAGES).items():
        for name, of_class in classes.items():
            for image, boxes in of_class.items():
                put(image_place(which, name, image), jpeg())
                if boxes is not None and xml_place:
                    put(xml_place(which, name, image), xml([(name, box) for box in boxes]))


def solution(which, images=None):
    """Kaggle's CSV file of a set."""
    rows = [
        f"{image},{' '.join(f'{name} {x0} {y0} {x1} {y1}' for x0, y0, x1, y1 in boxes)} \n"
        for name, of_class in (images or IMAGES)[which].items()
        for image, boxes in of_class.items()
        if boxes is not None
    ]
    return f"ImageId,PredictionString\n{''.join(rows)}"
