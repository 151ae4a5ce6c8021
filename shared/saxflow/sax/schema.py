"""Build protobuf message classes from tables, in a descriptor pool of their own.

SAX publishes no Python package of its messages, and generated modules register themselves in the
process-wide pool, where a second copy of `sax.Model` is an error. A private pool lets saxflow live
beside SAX's own generated code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

Fields = Mapping[str, tuple[int, str] | tuple[int, str, str]]
"""Field name -> (number, type[, oneof]); a type is a scalar, `repeated T`, `map<K,V>` or a name."""

_Proto = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Proto.TYPE_BOOL,
    "bytes": _Proto.TYPE_BYTES,
    "double": _Proto.TYPE_DOUBLE,
    "float": _Proto.TYPE_FLOAT,
    "int32": _Proto.TYPE_INT32,
    "int64": _Proto.TYPE_INT64,
    "string": _Proto.TYPE_STRING,
}


@dataclass(frozen=True)
class Package:
    """One proto3 package as data.

    Args:
        name: protobuf package, for example `sax`.
        messages: dotted message name -> its fields; an outer message precedes its inner ones.
        enums: dotted enum name -> value name -> number; the zero value comes first.
        imports: packages whose types the fields name, as `.sax.ExtraInputs`.
    """

    name: str
    messages: Mapping[str, Fields]
    enums: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    imports: tuple[str, ...] = ()


def build(*packages: Package) -> dict[str, type[Message]]:
    """Return `package.Message` -> class, for every message of the packages, inner ones included."""
    pool = descriptor_pool.DescriptorPool()
    classes: dict[str, type[Message]] = {}
    for package in packages:
        pool.AddSerializedFile(_file(package).SerializeToString())
        for name in package.messages:
            full = f"{package.name}.{name}"
            classes[full] = message_factory.GetMessageClass(pool.FindMessageTypeByName(full))
    return classes


def _file(package: Package) -> descriptor_pb2.FileDescriptorProto:
    proto = descriptor_pb2.FileDescriptorProto(
        name=f"{package.name}.proto",
        package=package.name,
        syntax="proto3",
        dependency=[f"{name}.proto" for name in package.imports],
    )
    messages: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name in package.messages:
        outer, _, short = name.rpartition(".")
        messages[name] = (messages[outer].nested_type if outer else proto.message_type).add(
            name=short
        )
    for name, values in package.enums.items():
        outer, _, short = name.rpartition(".")
        enum = (messages[outer] if outer else proto).enum_type.add(name=short)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    for name, fields in package.messages.items():
        _add_fields(messages[name], fields, package, name)
    return proto


def _add_fields(
    message: descriptor_pb2.DescriptorProto, fields: Fields, package: Package, name: str
) -> None:
    for field_name, (number, kind, *oneof) in fields.items():
        if kind.startswith("map<"):
            entry = _map_entry(message, field_name, kind, package)
            kind = f"repeated .{package.name}.{name}.{entry}"
        added = _typed(message.field.add(name=field_name, number=number), kind, package)
        if oneof:
            if not message.oneof_decl:
                message.oneof_decl.add(name=oneof[0])
            added.oneof_index = 0


def _typed(
    target: descriptor_pb2.FieldDescriptorProto, kind: str, package: Package
) -> descriptor_pb2.FieldDescriptorProto:
    repeated, _, bare = kind.rpartition(" ")
    target.label = _Proto.LABEL_REPEATED if repeated else _Proto.LABEL_OPTIONAL
    if bare in _SCALARS:
        target.type = _SCALARS[bare]
        return target
    target.type = _Proto.TYPE_ENUM if bare in package.enums else _Proto.TYPE_MESSAGE
    target.type_name = bare if bare.startswith(".") else f".{package.name}.{bare}"
    return target


def _map_entry(
    message: descriptor_pb2.DescriptorProto, field_name: str, kind: str, package: Package
) -> str:
    """Add the entry message that protobuf keeps behind a map field; return its short name."""
    key, value = kind.removeprefix("map<").removesuffix(">").split(",")
    entry = message.nested_type.add(name=f"{field_name.title().replace('_', '')}Entry")
    entry.options.map_entry = True
    _typed(entry.field.add(name="key", number=1), key, package)
    _typed(entry.field.add(name="value", number=2), value, package)
    return entry.name
