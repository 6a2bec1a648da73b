"""A small tree as in VOCdevkit/VOC2007."""

import io

from PIL import Image

OBJECTS = {  # by set and image: objects, of which some are difficult
    "train": {"000012": [("cat", 0)], "000005": [("dog", 0), ("dog", 1), ("person", 1)]},
    "val": {"000007": [("person", 1), ("person", 0)], "000001": []},
    "test": {"000003": [("cat", 1), ("dog", 1), ("cat", 1)]},
}
CLASSES = ("cat", "dog", "person")
LABELS = [[1, 0, 0], [0, 1, -1], [0, 0, 1], [0, 0, 0], [-1, -1, 0]]


def jpeg(color, size=(40, 36)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def annotation(objects):
    told = "".join(
        f"<object><name>{name}</name><pose>Left</pose><difficult>{difficult}</difficult><bndbox><xmin>1</xmin></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
        for name, difficult in objects
    )
    return f"<annotation><folder>VOC2007</folder><size><width>40</width></size>{told}</annotation>"


def write_voc(root, objects=None, color_of=lambda image, objects: (15 * int(image), 0, 0)):
    """Writes a tree as in VOCdevkit/VOC2007."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main", "ImageSets/Layout"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, images in (objects or OBJECTS).items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{image}\n" for image in images))
        (root / "ImageSets" / "Main" / f"cat_{name}.txt").write_text("".join(f"{image} -1\n" for image in images))
        for image, shown in images.items():
            (root / "JPEGImages" / f"{image}.jpg").write_bytes(jpeg(color_of(image, shown)))
            (root / "Annotations" / f"{image}.xml").write_text(annotation(shown))
    return root
