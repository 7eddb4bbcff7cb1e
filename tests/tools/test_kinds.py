"""The markers that choose the servers for a test: see kinds.py."""

import pytest

from kinds import chosen

SERVERS = pytest.mark.servers("one", "two", "three").mark


def but(*names, because="a reason"):
    return pytest.mark.not_for(*names, because=because).mark


def test_exceptions_are_left_out():
    assert chosen(SERVERS, []) == ["one", "two", "three"]
    assert chosen(SERVERS, [but("one"), but("three")]) == ["two"]


@pytest.mark.parametrize("exceptions", [
    [but("four")], [but("one"), but("one", "two")],
    [but("one", because="")]], ids=["not there", "twice", "no reason"])
def test_an_exception_that_is_none_is_noticed(exceptions):
    with pytest.raises(AssertionError):
        chosen(SERVERS, exceptions)
