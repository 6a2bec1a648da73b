"""The part of Caffe's protobuf schema that holds weights, as message classes.

`SCHEMA` copies names and numbers from `src/caffe/proto/caffe.proto` of BVLC/caffe; importing this module builds the
message classes from it, and protobuf skips the fields it omits. The classes have their own descriptor pool, so that
Caffe's `caffe_pb2` can be imported alongside.

Example:
    >>> import pathlib
    >>> from keras_vgg.weights import caffe_proto
    >>> path = pathlib.Path("VGG_ILSVRC_16_layers.caffemodel")
    >>> caffe_proto.NetParameter.FromString(path.read_bytes()).layer[1].blobs[0].shape.dim  # doctest: +SKIP
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SCHEMA = {
    # message: fields as (name, number, label, type)
    "BlobShape": (("dim", 1, "packed", "int64"),),
    "BlobProto": (
        ("num", 1, "optional", "int32"),  # the first four: the shape in files from before 2015
        ("channels", 2, "optional", "int32"),
        ("height", 3, "optional", "int32"),
        ("width", 4, "optional", "int32"),
        ("data", 5, "packed", "float"),
        ("diff", 6, "packed", "float"),
        ("shape", 7, "optional", "BlobShape"),
        ("double_data", 8, "packed", "double"),
        ("double_diff", 9, "packed", "double"),
    ),
    # Layers of 2013, each inside a V1 layer. Their blobs are not read; the message is only here to be recognized.
    "V0LayerParameter": (("name", 1, "optional", "string"), ("type", 2, "optional", "string")),
    "V1LayerParameter": (
        ("layer", 1, "optional", "V0LayerParameter"),
        ("name", 4, "optional", "string"),
        ("type", 5, "optional", "int32"),  # an enum in Caffe, encoded the same way
        ("blobs", 6, "repeated", "BlobProto"),
    ),
    "LayerParameter": (
        ("name", 1, "optional", "string"),
        ("type", 2, "optional", "string"),
        ("blobs", 7, "repeated", "BlobProto"),
    ),
    "NetParameter": (
        ("name", 1, "optional", "string"),
        ("layers", 2, "repeated", "V1LayerParameter"),
        ("layer", 100, "repeated", "LayerParameter"),
    ),
}


def _build_classes():
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="keras_vgg/caffe.proto", package="caffe", syntax="proto2")
    for message, fields in SCHEMA.items():
        described = file.message_type.add(name=message)
        for name, number, label, kind in fields:
            field = described.field.add(name=name, number=number)
            field.label = field_type.LABEL_OPTIONAL if label == "optional" else field_type.LABEL_REPEATED
            if kind in SCHEMA:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                field.type = field_type.Type.Value(f"TYPE_{kind.upper()}")
            if label == "packed":
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {message: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{message}")) for message in SCHEMA}


_classes = _build_classes()

BlobShape = _classes["BlobShape"]
BlobProto = _classes["BlobProto"]
V0LayerParameter = _classes["V0LayerParameter"]
V1LayerParameter = _classes["V1LayerParameter"]
LayerParameter = _classes["LayerParameter"]
NetParameter = _classes["NetParameter"]


def field_numbers(message) -> dict[str, int]:
    """Returns the fields of a message class by name."""
    return {field.name: field.number for field in message.DESCRIPTOR.fields}
