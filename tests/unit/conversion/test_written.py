from saxflow.conversion.written import Written


def test_written_describes_an_object_by_its_content():
    assert Written.of("n", b"123456789") == Written("n", 9, "4waSgw==")
