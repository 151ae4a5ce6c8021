import mmap
from array import array
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.checkpoint.digest import crc32c

CHECK = 0xE3069283
"""Of `123456789`, as every description of CRC-32C gives it."""

# RFC 3720, B.4.
PUBLISHED = [
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (b"123456789", CHECK),
    (b"", 0),
]


@pytest.mark.parametrize(("data", "value"), PUBLISHED)
def test_published_values(data, value):
    assert crc32c(data) == value


@pytest.mark.parametrize(
    "data",
    [
        bytearray(b"123456789"),
        memoryview(b"123456789"),
        memoryview(b"_123456789_")[1:10],
        memoryview(bytearray(b"123456789")),
        array("B", b"123456789"),
    ],
)
def test_every_kind_of_buffer(data):
    assert crc32c(data) == CHECK


def test_mapped_memory_as_the_engine_hands_it_over():
    with mmap.mmap(-1, 9) as memory:
        memory.write(b"123456789")
        with memoryview(memory) as view:
            assert crc32c(view) == CHECK


def test_elements_of_more_than_one_byte_are_digested_as_they_lie():
    values = np.arange(12, dtype=np.float16).reshape(3, 4)
    assert crc32c(memoryview(values)) == crc32c(values.tobytes())


@given(st.binary(max_size=300), st.integers(0, 300))
def test_a_digest_is_continued_wherever_the_data_is_cut(data, place):
    assert crc32c(data[place:], crc32c(data[:place])) == crc32c(data)


def test_a_digest_of_nothing_changes_nothing():
    assert crc32c(b"", CHECK) == CHECK


def test_a_buffer_with_gaps_is_refused():
    with pytest.raises(BufferError):
        crc32c(memoryview(b"1_2_3_4_5_6_7_8_9")[::2])


def test_several_threads_at_once():
    data = bytes(range(256)) * 1024
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(crc32c, [data] * 32)) == {crc32c(data)}
