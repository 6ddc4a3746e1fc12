"""`StandIns` by itself; what its classes do is tested where they are made."""

from __future__ import annotations

from bertfast.models.stand_ins import StandIns


class Stock:
    """What a library wrote."""

    def says(self):
        return "stock"


class Mixin:
    def says(self):
        return f"not {super().says()}"


def test_a_stand_in_has_the_name_of_the_other_and_another_module():
    made = StandIns("bertfast.somewhere", Mixin, body=lambda stock: {"of": stock}).stand_in(Stock)
    assert issubclass(made, Stock)
    assert (made.__module__, made.__qualname__, made.__doc__) == ("bertfast.somewhere", "Stock", Stock.__doc__)
    assert made().says() == "not stock"
    assert made.of is Stock


def test_there_is_one_for_each_class():
    """Though they share a name."""
    stand_ins, other = StandIns("bertfast.somewhere"), type("Stock", (), {})
    first, second = stand_ins.stand_in(Stock), stand_ins.stand_in(other)
    assert first is stand_ins.stand_in(Stock)
    assert first is not second
    assert [stand_ins.stock(kind) for kind in (first, second, Stock, int)] == [Stock, other, None, None]
