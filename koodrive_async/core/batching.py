"""Ids and batches of them: validate, halve. Not here: pairing them with a reply (see ``pairing``)."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from koodrive_async.core.errors import InvalidShareId, UsageError

#: The most shareIds in one request (page batchCancel.html: 1..100).
BATCH_SIZE = 100

#: Ids seen are decimal strings of 18-19 digits or UUIDs; nothing says that they stay so.
MAX_ID_LENGTH = 256


def check_share_id(value: object, position: int | None = None) -> str:
    """The value, if it can be a share id: 1..256 printable characters without blanks.

    Raises:
        InvalidShareId: It can't. Numbers are refused too: an id that went through a float is
            another id, and the service's are strings.
    """
    if type(value) is str and value.isalnum() and len(value) <= MAX_ID_LENGTH:
        return value
    where = "" if position is None else f" at position {position}"
    if not isinstance(value, str):
        raise InvalidShareId(
            f"a share id{where} must be a str, not {type(value).__name__}", position=position
        )
    shown = repr(value if len(value) <= 40 else value[:40] + "…")
    if not value:
        reason = "is empty"
    elif len(value) > MAX_ID_LENGTH:
        reason = f"has {len(value)} characters, more than {MAX_ID_LENGTH}: {shown}"
    elif not value.isprintable() or " " in value:
        reason = f"contains blanks or characters that don't print: {shown}"
    else:
        return str.__str__(value)  # of a subclass, the text that it is, not the one it shows
    raise InvalidShareId(f"a share id{where} {reason}", position=position)


def plain_share_ids(values: Sequence[object]) -> bool:
    """Whether all of them are share ids of the kinds seen, at a tenth of the cost of asking each one.

    False means that each must be asked: it may be fine, or say what is wrong with it.
    """
    if set(map(type, values)) != {str}:
        return False
    texts: Sequence[str] = values  # type: ignore[assignment]
    longest, shortest = max(map(len, texts)), min(map(len, texts))
    return shortest > 0 and longest <= MAX_ID_LENGTH and "".join(texts).replace("-", "").isalnum()


def check_text(name: str, value: object) -> str:
    """A text argument of a call: a non-empty string that can be encoded.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a str, not {type(value).__name__}")
    if not value.strip() or not value.isprintable():
        raise UsageError(f"{name} must be non-empty and printable")
    return value


def refuse_single(share_ids: object) -> None:
    """Refuse what is iterable but certainly no collection of ids.

    Raises:
        InvalidShareId: A bare ``str`` (its characters are no ids), ``bytes``, or nothing iterable.
    """
    if isinstance(share_ids, str | bytes | bytearray | memoryview):
        raise InvalidShareId(
            f"share_ids must be a collection of ids, not one {type(share_ids).__name__}; put it in a list"
        )
    if not (hasattr(share_ids, "__iter__") or hasattr(share_ids, "__aiter__")):
        raise InvalidShareId(f"share_ids must be an iterable of ids, not {type(share_ids).__name__}")


@attrs.frozen(slots=True)
class Batch:
    """Ids that go into one request.

    Attributes:
        ids: 1..100 distinct ids.
        places: Where each stands in the report's columns.
    """

    ids: Sequence[str] = attrs.field(repr=lambda ids: f"<{len(ids)}>")
    places: Sequence[int] = attrs.field(repr=False)

    def halves(self) -> tuple[Batch, Batch]:
        """Two batches of (nearly) equal size; of at least two ids."""
        middle = (len(self.ids) + 1) // 2
        return (
            Batch(self.ids[:middle], self.places[:middle]),
            Batch(self.ids[middle:], self.places[middle:]),
        )

    def only(self, wanted: Sequence[int]) -> Batch:
        """The batch of the ids at these indices."""
        return Batch([self.ids[i] for i in wanted], [self.places[i] for i in wanted])
