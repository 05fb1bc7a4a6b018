"""JSON objects to values, tolerantly. The only file that knows cattrs.

Tolerant: field types drift between versions of the pages, so numbers that come as strings (and
the other way round) are read, unknown fields kept, fields of a wrong shape left at their default.
Refuses to judge what a code means; that is ``verdict``'s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar, get_args, get_origin

import attrs
import cattrs

from koodrive_async.core.errors import BadReply
from koodrive_async.core.jsontext import Json
from koodrive_async.core.models import CancelReply, ShareSubResponse, SubResponses

T = TypeVar("T")

#: Longer than any code seen; a number of thousands of digits is no code.
_LONGEST_CODE = 64
_INTEGER = re.compile(r"-?[0-9]{1,64}", re.ASCII)


# -- codes and messages ---------------------------------------------------------------------------


def read_code(value: object) -> str | None:
    """A code as text: integers and strings of digits alike ("0" is success); None if it is neither.

    ``code`` is String in the tables and Integer in the examples (batchCancel.html); gateway codes are
    words ("APIG.0308"). Booleans, null and floats are no codes: success must not be read into them.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        text = str(value) if value.bit_length() < _LONGEST_CODE * 3 else None
    elif isinstance(value, str):
        text = value.strip()
        if _INTEGER.fullmatch(text):
            text = str(int(text))
    else:
        return None
    return text if text and len(text) <= _LONGEST_CODE else None


def read_text(value: object) -> str:
    """A text from a string or a number; "" from anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return ""


@attrs.frozen(slots=True)
class Envelope:
    """What every reply has in one of three shapes (koodrive-api section 9, error bodies).

    Attributes:
        code: The code as text, or None where there is none that can be read.
        message: The text that goes with it, as it came.
        request_id: The gateway's id of the request, or "".
        data: The whole object.
    """

    code: str | None
    message: str
    request_id: str
    data: Json = attrs.field(repr=False)


def read_envelope(data: Json) -> Envelope:
    """Code and text: of ``{code,msg}``, ``{error:{...}}`` or ``{error_code,error_msg,request_id}``."""
    source = data
    if "code" not in data and "error_code" not in data and isinstance(data.get("error"), dict):
        # createShare.html (2024-07-30): {"error": {"errorData": {...}, ...}}; its fields are not documented.
        source = data["error"]
        inner = source.get("errorData")
        if "code" not in source and isinstance(inner, dict):
            source = inner
    return Envelope(
        code=read_code(source.get("code", source.get("error_code"))),
        message=_first_text(source, "msg", "message", "error_msg"),
        request_id=read_text(data.get("request_id"))[:_LONGEST_CODE],
        data=data,
    )


def _first_text(source: Json, *names: str) -> str:
    return next((text for name in names if (text := read_text(source.get(name)))), "")


# -- the hot reply --------------------------------------------------------------------------------


def has_sub_responses(data: Json) -> bool:
    """Whether the reply answers for single ids."""
    listed = data.get("subResponseList")
    return isinstance(listed, list) and bool(listed)


def only_successes(data: Json) -> bool:
    """Whether every item of the list of sub-responses has the code 0."""
    return all(
        isinstance(item, dict) and read_code(item.get("code")) == "0" for item in data["subResponseList"]
    )


def read_cancel_reply(envelope: Envelope) -> CancelReply:
    """The reply to batchCancel and exitShare. By hand: cattrs costs four times as much here."""
    listed = envelope.data.get("subResponseList")
    subs: Sequence[ShareSubResponse] | None = None
    if isinstance(listed, list):
        subs = _read_columns(listed)
        if subs is None:
            subs = [_read_sub(item) if isinstance(item, dict) else _UNREADABLE for item in listed]
    return CancelReply(code=envelope.code or "", message=envelope.message, sub_responses=subs)


_FIELDS = itemgetter("shareId", "code", "msg")


def _read_columns(listed: Sequence[Any]) -> SubResponses | None:
    """What nearly every reply is, read without a look at each item; None where some item is unusual."""
    try:
        ids, codes, messages = zip(*map(_FIELDS, listed), strict=True)
    except (KeyError, TypeError, ValueError):
        return None
    if not set(map(type, ids)) == set(map(type, messages)) == {str} or "" in messages:
        return None
    if set(map(type, codes)) not in ({str}, {int}):
        return None
    read = {code: read_code(code) for code in set(codes)}
    return SubResponses(ids, tuple(map(read.__getitem__, codes)), messages)


def _read_sub(item: Json) -> ShareSubResponse:
    share_id, code = item.get("shareId"), item.get("code")
    message = item.get("msg") or item.get("message")
    return ShareSubResponse(
        share_id if type(share_id) is str else _read_id(share_id),
        "0" if code == 0 and type(code) is int else read_code(code),
        message if type(message) is str else read_text(message),
        # Who has no name by the page's word for it may have one by another.
        {} if share_id is not None else {name: value for name, value in item.items() if name != "code"},
    )


#: An item that is none: it has its place in the list, and matches no id.
_UNREADABLE = ShareSubResponse(share_id="", code=None)


def _read_id(value: object) -> str | None:
    """An id as text; None where there is none, "" (which matches no id) where it can't be read."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < _LONGEST_CODE * 3:
        return str(value)  # a Python int loses no digits beyond 2**53
    return value if isinstance(value, str) else ""


# -- models ---------------------------------------------------------------------------------------


def camel(name: str) -> str:
    """The name of a field on the wire."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _to_int(value: Any, _: type) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("no whole number")


def _to_str(value: Any, _: type) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError("no text")


def _to_bool(value: Any, _: type) -> bool:
    words = {"true": True, "false": False, "1": True, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int) and str(value).lower() in words:
        return words[str(value).lower()]
    raise ValueError("no yes or no")


def _tolerant(cls: Any) -> Callable[[Any, Any], Any]:
    """Reads what it can: each field by its own hook, at its default where that fails."""
    attrs.resolve_types(cls)
    fields = {camel(field.name): field for field in attrs.fields(cls) if field.name != "extra"}
    readers = {name: (field.name, _reader(field.type)) for name, field in fields.items()}

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"no object for {cls.__name__}")
        made: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, raw in value.items():
            reader = readers.get(name)
            if reader is None:
                extra[name] = raw
            elif raw is not None:
                try:
                    made[reader[0]], whole = reader[1](raw)
                except Exception:  # noqa: BLE001 - whatever a hook raises: this field is unreadable, the rest is not
                    whole = False
                if not whole:
                    extra[name] = raw
        return cls(**made, extra=extra)

    return structure


#: Makes a field's value, and says whether that is all there was.
_Reader = Callable[[Any], tuple[Any, bool]]


def _reader(kind: Any) -> _Reader:
    if get_origin(kind) is Sequence:
        hook = _converter.get_structure_hook(get_args(kind)[0])
        return lambda raw: _read_list(raw, hook, get_args(kind)[0])
    if kind is str:
        return lambda raw: (raw if type(raw) is str else _to_str(raw, str), True)
    hook = _converter.get_structure_hook(kind)
    return lambda raw: (hook(raw, kind), True)


def _read_list(raw: Any, hook: Callable[[Any, Any], Any], kind: Any) -> tuple[Any, bool]:
    """The items that can be read; the others must not take them along."""
    if not isinstance(raw, list):
        raise TypeError("no list")
    made = []
    for item in raw:
        try:
            made.append(hook(item, kind))
        except Exception:  # noqa: BLE001, S112 - this item is unreadable, its neighbours are not
            continue
    return tuple(made), len(made) == len(raw)


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is Mapping


def _to_mapping(value: Any, _: type) -> Json:
    if isinstance(value, dict):
        return value
    raise ValueError("no object")


_converter = cattrs.Converter(detailed_validation=False)
_converter.register_structure_hook(int, _to_int)
_converter.register_structure_hook(str, _to_str)
_converter.register_structure_hook(bool, _to_bool)
_converter.register_structure_hook_func(_is_mapping, _to_mapping)
_converter.register_structure_hook_factory(attrs.has, _tolerant)


def structure(value: Mapping[str, Any], cls: type[T]) -> T:
    """The object of a class that a JSON object is; its fields as far as they can be read."""
    return _converter.structure(value, cls)


def read_model(envelope: Envelope, key: str, cls: type[T]) -> T:
    """The object under `key` of a reply.

    Raises:
        BadReply: There is no object.
    """
    return read_first(envelope, (key,), cls)


def read_first(envelope: Envelope, keys: Sequence[str], cls: type[T]) -> T:
    """The object under the first of the keys that has one; of a list its first item.

    Raises:
        BadReply: There is none.
    """
    for key in keys:
        found = envelope.data.get(key)
        if isinstance(found, list) and found:
            found = found[0]
        if isinstance(found, dict):
            return structure(found, cls)
    raise BadReply(f"the reply has no object {' or '.join(map(repr, keys))}")
