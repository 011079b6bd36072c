"""JSON as a struct of ours, or VenueDisagrees: whatever is read holds nothing at which a sum or the database fails."""

import functools
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import msgspec

from bot.errors import VenueDisagrees

T = TypeVar("T")
Ms = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]  # UTC; a timestamp ends with the year 9999
LARGEST = 2**63 - 1  # of whole numbers, as the database has them
MOST_PLACES = 30  # before and behind the point; an amount beyond is no amount, and sums with it would overflow


class Payload(msgspec.Struct, frozen=True, rename="camel"):
    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if type(value) is Decimal and not is_amount(value) or type(value) is int and abs(value) > LARGEST:
                raise ValueError(f"{name} is not a number in range")
            if type(value) is str and "\x00" in value:
                raise ValueError(f"{name} holds a NUL, which no text of the database can")


def is_amount(value: Decimal) -> bool:
    return (
        value.is_finite() and abs(value.adjusted()) <= MOST_PLACES and len(value.as_tuple().digits) <= 2 * MOST_PLACES
    )


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def decode(raw: bytes | str | msgspec.Raw, kind: type[T]) -> T:
    """`raw` (JSON) as `kind`; VenueDisagrees where it is not one."""
    wanted: Any = kind  # mypy does not count type[T] as hashable
    try:
        decoded: T = _decoder(wanted).decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        legible = isinstance(error, msgspec.ValidationError)
        raise VenueDisagrees(f"{getattr(kind, '__name__', kind)}: {error}", legible=legible) from None
    return decoded
