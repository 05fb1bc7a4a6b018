"""Every reader, fed what nobody expects: a value or a `BadReply`, never anything else."""

from __future__ import annotations

import json
from typing import get_args, get_origin

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koodrive_async.core import codec, models, objects, readers, received
from koodrive_async.core.codec import camel, read_envelope
from koodrive_async.core.errors import BadReply
from koodrive_async.core.jsontext import parse_object
from koodrive_async.core.models import ShareByMeLink, ShareByMeLinkDetail
from koodrive_async.core.objects import DownloadUrl, LinkAccess, SessionInfo, ShareFile, ShareTask
from koodrive_async.core.received import ShareWithMeLink
from koodrive_async.core.secrets import Secret
from tests.core.builders import json_values

#: `ShareSubResponse` is read by hand, and keeps other fields only where it has no name (see ``test_codec``).
MODELS = [
    thing
    for module in (models, received, objects)
    for thing in vars(module).values()
    if attrs.has(thing) and "extra" in attrs.fields_dict(thing) and thing is not models.ShareSubResponse
]

READERS = {
    **{
        f"{cls.__name__} in an object": (lambda e, cls=cls: codec.read_model(e, "x", cls), cls)
        for cls in MODELS
    },
    **{
        f"{cls.__name__} in a list": (lambda e, cls=cls, key=key: readers.read_page(e, "x", cls, key), None)
        for cls, key in ((ShareByMeLink, "share_id"), (ShareWithMeLink, "share_id"), (ShareFile, "id"))
    },
    "a task": (lambda e: codec.read_first(e, ("x", "y"), ShareTask), ShareTask),
    "a word": (lambda e: readers.read_word(e, "x"), str),
    "nothing": (readers.read_nothing, type(None)),
}

_names = sorted({camel(name) for cls in MODELS for name in attrs.fields_dict(cls)})
_things = st.dictionaries(st.sampled_from(_names) | st.text(max_size=5), json_values, max_size=8)
_replies = st.fixed_dictionaries(
    {"code": st.sampled_from([0, "0"])},
    optional={
        "x": _things | st.lists(_things | json_values, max_size=4) | json_values,
        "y": _things | json_values,
        "nextCursor": json_values,
        "link": _things | json_values,
    },
)


def fits(value, kind) -> bool:
    """Whether a field's value is what its annotation says."""
    if get_origin(kind) is not None and type(None) in get_args(kind):
        return value is None or any(fits(value, arg) for arg in get_args(kind) if arg is not type(None))
    if get_origin(kind) is not None and get_origin(kind).__name__ == "Sequence":
        return isinstance(value, tuple) and all(fits(item, get_args(kind)[0]) for item in value)
    if get_origin(kind) is not None:
        return isinstance(value, dict)
    return type(value) is kind and (not attrs.has(kind) or well_made(value))


def well_made(value) -> bool:
    return all(fits(getattr(value, field.name), field.type) for field in attrs.fields(type(value)))


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=20)
@given(value=_replies)
def test_any_reply_is_a_value_or_a_bad_reply(name, value):
    read, cls = READERS[name]
    try:
        found = read(read_envelope(parse_object(json.dumps(value).encode())))
    except BadReply:
        return
    if cls is None:
        assert all(well_made(item) for item in found.items)
        assert found.next_cursor is None or found.next_cursor.strip()
        listed = value.get("x") or []
        assert len(found.items) + len(found.malformed) == len(listed)
    else:
        assert isinstance(found, cls)
        assert not attrs.has(cls) or well_made(found)
    repr(found)


@pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)
def test_every_field_is_read_from_its_name_on_the_wire(cls):
    samples = {str: "t", int | None: 7, bool | None: True}
    made = {}
    for field in attrs.fields(cls):
        if field.name != "extra":
            made[camel(field.name)] = samples.get(field.type)
    wire = {name: value for name, value in made.items() if value is not None}
    found = codec.read_model(read_envelope({"code": 0, "x": {**wire, "new": 1}}), "x", cls)
    for field in attrs.fields(cls):
        if camel(field.name) in wire:
            assert getattr(found, field.name) == wire[camel(field.name)]
    assert found.extra == {"new": 1}
    # ... and whichever way their type drifts
    drifted = {name: str(value) if value is not True else "true" for name, value in wire.items()}
    assert codec.read_model(read_envelope({"code": 0, "x": {**drifted, "new": 1}}), "x", cls) == found
    assert codec.read_model(read_envelope({"code": 0, "x": dict.fromkeys(wire)}), "x", cls) == cls()


#: koodrive-api section 6, object by object.
DOCUMENTED = {
    "ShareByMeLink": (
        "shareId shortUrl linkUrl shareTime scope files displayName expireTime status "
        "comment viewCnt downloadCnt saveCnt containerId containerName permission "
        "extractCode"
    ),
    "ShareByMeLinkDetail": (
        "shareId shortUrl linkUrl shareTime scope depts groups users displayName "
        "permission extractCode expireTime status comment"
    ),
    "ShareWithMeLink": (
        "shareId shortUrl linkUrl shareTime ownerId ownerName displayName files "
        "permission expireTime status comment containerId downloadCnt saveCnt scope "
        "updateTime viewCnt ownerMobile"
    ),
    "ShareWithMeLinkDetail": (
        "shareId shortUrl linkUrl shareTime ownerId ownerName displayName permission "
        "expireTime status comment"
    ),
    "CommonShareLink": (
        "shareId shortUrl shareTime ownerId ownerName permission expireTime status expireDate"
    ),
    "ShareFileInfo": (
        "id fileName fileType mimeType size parentFolder fileSuffix containers downloadLinks recycled"
    ),
    "ShareFile": ("id fileName fileType parentFolder fileSuffix size containers downloadLinks editedTime"),
    "SharePermission": "preview edit download",
    "ShareTask": (
        "userId taskId taskType taskStatus taskResultCode resultCode createTime startTime "
        "endTime progress downloadUrl"
    ),
    "CreatedShare": "shareId shortUrl linkUrl extractCode comment expireTime createTime",
    "UpdatedShare": (
        "shareId shortUrl extractCode createTime updateTime expireTime linkUrl shareTime "
        "scope displayName status viewCnt downloadCnt saveCnt"
    ),
    "SessionInfo": "accessToken expiresIn issuedAt refreshToken",
    "Recipient": "id name",
}


def test_every_documented_field_is_there():
    assert {cls.__name__ for cls in MODELS} == set(DOCUMENTED)
    for cls in MODELS:
        fields = {camel(name) for name in attrs.fields_dict(cls)} - {"extra"}
        missing = set(DOCUMENTED[cls.__name__].split()) - fields
        assert not missing, cls


@pytest.mark.parametrize(
    "value",
    [
        ShareByMeLink(extract_code="s3cret99"),
        ShareByMeLinkDetail(extract_code="s3cret99"),
        ShareWithMeLink(owner_mobile="s3cret99"),
        ShareFile(download_links="https://s3cret99"),
        models.ShareFileInfo(download_links=({"url": "s3cret99"},)),
        models.CreatedShare(extract_code="s3cret99", extra={"x": "s3cret99"}),
        models.UpdatedShare(extract_code="s3cret99"),
        ShareTask(download_url="https://s3cret99"),
        SessionInfo(access_token="AT s3cret99", refresh_token="s3cret99"),
        LinkAccess("1", Secret("s3cret99")),
        [DownloadUrl("https://obs.example/x?Signature=s3cret99")],
        objects.CreatedTask("t", "1", LinkAccess("1", Secret("s3cret99"))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_secrets_do_not_print(value):
    assert "s3cret99" not in repr(value)
    assert "s3cret99" not in str(value)
    assert "***" in repr(value)
