"""Message classes from tables."""

from __future__ import annotations

from typing import Any

from saxflow.sax.schema import Package, build


def test_a_package_becomes_classes_with_maps_oneofs_enums_and_inner_messages() -> None:
    pets = Package(
        "pets",
        messages={
            "Owner": {"pets": (1, "repeated Owner.Pet"), "ages": (2, "map<string,int32>")},
            "Owner.Pet": {
                "name": (1, "string", "label"),
                "number": (2, "int64", "label"),
                "kind": (3, "Kind"),
            },
        },
        enums={"Kind": {"UNKNOWN": 0, "CAT": 1}},
    )
    classes = build(pets)
    pet: Any = classes["pets.Owner.Pet"]
    owner: Any = classes["pets.Owner"](pets=[pet(name="Tom", kind=1)], ages={"Tom": 3})
    again = type(owner).FromString(owner.SerializeToString())
    assert again.pets[0].WhichOneof("label") == "name"
    assert again.pets[0].kind == 1
    assert dict(again.ages) == {"Tom": 3}


def test_two_builds_do_not_share_a_pool() -> None:
    package = Package("twice", messages={"Message": {"text": (1, "string")}})
    assert build(package)["twice.Message"] is not build(package)["twice.Message"]
