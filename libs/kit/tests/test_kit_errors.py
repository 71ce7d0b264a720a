"""What went wrong, out of what several tasks raised."""

from __future__ import annotations

from cipherward_kit.errors import first_cause


def test_the_first_cause_is_an_exception_and_no_group_however_deep_it_lies() -> None:
    cause = ValueError("the first")
    inner = BaseExceptionGroup("inner", [cause, KeyError("the second")])
    group = BaseExceptionGroup("outer", [BaseExceptionGroup("middle", [inner]), OSError("third")])
    assert first_cause(group) is cause
