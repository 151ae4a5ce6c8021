from array import array

import pytest

from saxflow.conversion.written import Written


def test_written_describes_an_object_by_its_content():
    assert Written.of("n", b"123456789") == Written("n", 9, "4waSgw==")


@pytest.mark.parametrize(
    "data",
    [
        bytearray(b"123456789"),
        memoryview(b"_123456789_")[1:10],
        memoryview(b"123456789").cast("B", (3, 3)),
    ],
)
def test_every_kind_of_buffer_is_the_same_object(data):
    assert Written.of("n", data) == Written.of("n", b"123456789")


def test_a_size_is_in_bytes_whatever_the_elements():
    wide = memoryview(array("H", [1, 2, 3]))
    assert Written.of("n", wide) == Written.of("n", wide.tobytes())
    assert Written.of("n", wide).size_bytes == 6


def test_nothing_is_an_object_too():
    assert Written.of("n", b"") == Written("n", 0, "AAAAAA==")
