"""JSON texts to objects and back: strictly, and where the extra ``fast`` is installed, faster.

What could be misread (NaN, repeated names, lone surrogates, nesting without end) is a `BadReply`, whichever
reader it meets. Refuses to know what a field means; that is ``codec``'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from koodrive_async.core.errors import BadReply
from koodrive_async.core.secrets import EXCERPT, scrub

_fast_loads: Callable[[bytes], Any] | None
try:
    from orjson import loads as _fast_loads
except ImportError:  # the extra ``fast`` is not there: slower, and the same
    _fast_loads = None

Json = dict[str, Any]


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> Json:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return made


_strictly = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_distinct).decode
_quickly = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _read_fast(body: bytes) -> Json | None:
    """What orjson makes of the hot reply; None where it might read it otherwise than ``json``, or refuses it.

    The two differ in what they refuse, and in whole numbers beyond 64 bits, which become floats here: where
    there are no floats, no escaped surrogates and no name stands twice, they agree.
    """
    if _fast_loads is None or b"\\ud" in body or b"\\uD" in body:
        return None
    try:
        made = _fast_loads(body)
    except ValueError:
        return None
    rows = _rows(made, body.count(b":"))
    if rows is None:
        return None
    kinds = set(map(type, made.values())) - {list}
    kinds.update(map(type, chain.from_iterable(map(dict.values, rows))))
    return made if kinds <= _ALIKE else None


#: Kinds of values that both readers make of the same texts.
_ALIKE = {str, int, bool, type(None)}


def _decode(text: str) -> Any:
    made = _quickly(text)
    return made if _rows(made, text.count(":")) is not None else _strictly(text)


def _rows(made: Any, colons: int) -> list[Json] | None:
    """The objects in the lists of an object; None unless it is sure that no name stood twice in any of them.

    The proof is cheap for the hot reply. A colon follows each name, so there are at least as many colons as
    names, repeated ones included: where as many names were kept as there are colons, none was lost.
    """
    if type(made) is not dict:
        return None
    rows: list[Json] = []
    for value in made.values():
        if type(value) is list:
            if not set(map(type, value)) <= {dict}:
                return None
            rows += value
    return rows if len(made) + sum(map(len, rows)) == colons else None


#: What is looked at to show `EXCERPT` characters of it: a secret that is cut there must go whole.
_LONGEST_EXCERPT = 16 * 1024


def parse_object(body: bytes) -> Json:
    """The JSON object of a body.

    Raises:
        BadReply: No JSON, no object, or JSON that could be misread.
    """
    quick = _read_fast(body)
    if quick is not None:
        return quick
    try:
        made = _decode(body.decode("utf-8-sig"))
        if b"\\ud" in body or b"\\uD" in body:
            json.dumps(made, ensure_ascii=False).encode()  # refuses lone surrogates
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else type(error).__name__
        what = "an empty body" if not body.strip() else f"not the JSON expected ({reason})"
        raise BadReply(what) from None
    if not isinstance(made, dict):
        raise BadReply(f"a JSON {type(made).__name__} instead of an object")
    return made


def excerpt(body: bytes, secrets: tuple[str, ...] = ()) -> str:
    """The beginning of a body, fit to be shown."""
    return scrub(body[:_LONGEST_EXCERPT].decode("utf-8", "replace"), secrets, limit=EXCERPT)


def dump(value: Mapping[str, Any]) -> bytes:
    """Compact UTF-8 JSON: the exact bytes that are hashed and sent."""
    return _encode(value).encode()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
