"""The shares behind it: marks, variety, pages with two kinds of cursor, and the 18 operations' state."""

import random

import pytest

from koodrive_async.testing import Emulator
from koodrive_async.testing.state import Marks


def test_marks_agree_with_a_plain_list():
    dice = random.Random(1)
    marks, plain = Marks(2500), [False] * 2500
    for _ in range(3000):
        if dice.random() < 0.1:
            marks.grow()
            plain.append(False)
        at = dice.randrange(len(plain))
        assert marks.mark(at) is not plain[at]
        plain[at] = True
    clear = [at for at, marked in enumerate(plain) if not marked]
    assert len(marks) == len(plain)
    assert marks.clear_count == len(clear)
    assert [marks[at] for at in range(len(plain))] == plain
    assert list(marks.clear_from(0)) == clear
    assert list(marks.clear_below(len(plain) - 1)) == clear[::-1]
    assert list(marks.clear_from(1500)) == [at for at in clear if at >= 1500]
    assert list(marks.clear_below(1500)) == [at for at in clear if at <= 1500][::-1]
    assert list(marks.clear_below(-1)) == []
    for n in range(0, len(clear), 37):
        assert marks.nth_clear(n) == clear[n]
    assert marks.nth_clear(len(clear)) == len(plain)


@pytest.mark.parametrize("edition", ["enterprise", "carrier"])
def test_seeded_shares_have_variety(edition):
    emulator = Emulator(shares=1000, edition=edition)
    now = emulator.now()
    shares = [emulator.share(share_id) for share_id in emulator.share_ids]
    assert {share.scope for share in shares} == ({1, 3} if edition == "carrier" else {1, 2, 3})
    assert {share.status for share in shares} == {0, 1, 2}
    assert 100 < sum(share.expired(now) for share in shares) < 900
    assert 100 < sum(share.views == 0 for share in shares) < 900
    assert any(share.expires is None for share in shares)
    assert any(share.extract_code for share in shares)
    assert any(share.files > 1 for share in shares)
    assert any(share.users for share in shares)
    assert len({share.short_url for share in shares}) == 1000
    assert [share.shared_at for share in shares] == sorted(share.shared_at for share in shares)
    assert any(share.phones for share in shares) is (edition == "carrier")


def walk(call, path="/share", on_page=None, **query):
    """All ids of a list, page by page; and how many pages were empty."""
    ids, empty, cursor, seen = [], 0, None, set()
    while True:
        params = query if cursor is None else {**query, "pageCursor": cursor}
        body = call.send("GET", path, params=params).json()
        assert str(body["code"]) == "0", body
        page = [item["shareId"] for item in body["shareLinks"]]
        assert len(page) <= int(query.get("pageSize", 100))
        empty += not page
        ids += page
        if on_page:
            on_page(page)
        if "nextCursor" not in body:
            return ids, empty
        cursor = body["nextCursor"]
        assert cursor not in seen
        seen.add(cursor)


@pytest.mark.parametrize("kind", ["stable", "offset"])
@pytest.mark.parametrize("direction", [1, 2])
@pytest.mark.parametrize("every", [0, 1, 3])
def test_pages(caller, kind, direction, every):
    call = caller(shares=120, received=57, cursor=kind, empty_page_every=every)
    emulator = call.emulator
    gone = emulator.share_ids[10:110:7]
    call.cancel(*gone)
    expected = [share_id for share_id in emulator.share_ids if share_id not in gone]
    if direction == 2:
        expected.reverse()
    for size in (1, 10, 100):
        ids, empty = walk(call, pageSize=size, sortDirection=direction, sortType=4)
        assert ids == expected
        assert (empty > 0) is (every > 0 and size * (every - 1) < len(expected))
    assert walk(call)[0] == [share_id for share_id in reversed(emulator.share_ids) if share_id not in gone]
    assert walk(call, "/share/received", pageSize=10)[0] == emulator.received_ids[::-1]


def test_cancelling_while_listing_skips_only_under_offset_cursors(caller):
    def left_over(kind):
        call = caller(shares=300, cursor=kind)
        walk(call, pageSize=50, on_page=lambda page: call.cancel(*page))
        return len(call.emulator.live_ids)

    assert left_over("stable") == 0
    assert left_over("offset") == 150


@pytest.mark.parametrize("kind", ["stable", "offset"])
def test_filter_by_name(caller, kind):
    call = caller(shares=120, cursor=kind)
    emulator = call.emulator
    names = {share_id: emulator.share(share_id).name.lower() for share_id in emulator.share_ids}
    expected = [share_id for share_id in emulator.share_ids if "report" in names[share_id]]
    assert walk(call, displayName="REPORT", pageSize=3, sortDirection=1)[0] == expected
    assert expected


@pytest.mark.parametrize(
    "query",
    [
        {"pageSize": 0},
        {"pageSize": 101},
        {"pageSize": "x"},
        {"pageCursor": "x"},
        {"pageCursor": "after-x"},
        {"sortType": 1},
        {"sortDirection": 3},
        [("pageSize", 1), ("pageSize", 2)],
    ],
)
def test_bad_queries(caller, query):
    reply = caller(shares=3).send("GET", "/share", params=query)
    assert (reply.status_code, reply.json()["code"]) == (400, 13000102)


def test_beyond_the_end(caller):
    call = caller(shares=3, cursor="offset")
    body = call.send("GET", "/share?&pageCursor=50").json()
    assert body == {"code": "0", "msg": "success", "shareLinks": []}
    assert call.send("GET", "/share", x_user_id=None).status_code == 400


def test_a_quarter_of_a_million_is_listed_quickly(caller):
    call = caller(shares=250_000, cursor="offset")
    for cursor in range(0, 250_000, 49_000):
        body = call.send("GET", "/share", params={"pageCursor": cursor}).json()
        assert len(body["shareLinks"]) == 100


NEW = {"scope": 2, "fileIds": ["F1", "F2"], "containerId": "S1", "validDays": 7}


@pytest.mark.parametrize("edition", ["enterprise", "carrier"])
def test_create_list_get_update_cancel(caller, edition):
    carrier = edition == "carrier"
    call = caller(shares=2, edition=edition)
    wish = {**NEW, "scope": "3" if carrier else 2, "extractCode": "31945314", "comment": "hello"}
    wish |= {"userIds": ["u1"], "deptIds": ["d1"], "groupIds": ["g1"], "phoneNumbers": ["13800000000"]}
    body = call.send("POST", "/share", wish).json()
    assert (body["code"], body["msg"]) == (0 if carrier else "0", "success")
    link = body["shareLink"]
    share_id = link["shareId"]
    assert call.emulator.created == [share_id]
    assert call.emulator.share_ids[-1] == share_id
    assert link["extractCode"] == "31945314"
    assert (link["linkUrl"] == link["shortUrl"]) is carrier
    assert link["expireTime"].endswith("Z")

    first = call.send("GET", "/share", params={"pageSize": 1}).json()["shareLinks"][0]
    assert first["shareId"] == share_id
    assert first["displayName"].endswith(" and other files")
    assert (first["viewCnt"], first["scope"], len(first["files"])) == (0, 3 if carrier else 2, 2)
    detail = call.send("GET", f"/share/{share_id}").json()["shareLink"]
    assert detail["users"] == [{"id": "u1", "name": ""}]
    assert detail["comment"] == "hello"

    change = {"validDays": 0, "comment": "new", "extractCode": ""}
    changed = call.send("PUT", f"/share/{share_id}", change).json()["shareLink"]
    assert (changed["comment"], changed["extractCode"], changed["viewCnt"]) == ("new", "", "0")
    assert changed["expireTime"] == link["expireTime"]
    later = call.send("PUT", f"/share/{share_id}", {"validDays": 30, "deptIds": ["d9"]}).json()["shareLink"]
    assert later["expireTime"] > link["expireTime"]
    assert later["comment"] == "new"
    for text, shown in (
        ("2031-05-27 01:37:49", "2031-05-27T01:37:49.000Z"),
        ("2031-05-29T02:00:39.952Z", "2031-05-29T02:00:39.952Z"),
    ):
        until = call.send("PUT", f"/share/{share_id}", {"validDays": 0, "expireTime": text}).json()
        assert until["shareLink"]["expireTime"] == shown

    assert call.codes(share_id) == [0]
    assert call.send("GET", f"/share/{share_id}").json()["code"] == 13000309
    assert call.send("PUT", f"/share/{share_id}", {"validDays": 1}).json()["code"] == 13000309
    assert share_id not in walk(call)[0]


def test_creating_twice_makes_two_shares(caller):
    call = caller(shares=["5"])
    ids = [call.send("POST", "/share", NEW).json()["shareLink"]["shareId"] for _ in range(2)]
    other = call.send("POST", "/share", NEW, x_user_id=call.emulator.colleague_id).json()["shareLink"][
        "shareId"
    ]
    call.emulator.users.add("third")
    third = call.send("POST", "/share", NEW, x_user_id="third").json()["shareLink"]["shareId"]
    assert len({*ids, other, third, "5"}) == 5
    assert call.emulator.share_ids == ["5", *ids]
    assert call.send("GET", "/share", x_user_id="third").json()["shareLinks"][0]["shareId"] == third
    assert call.send("GET", "/share/received", x_user_id="third").json()["shareLinks"] == []
    assert call.send("GET", f"/share/{third}").json()["code"] == 13000410


@pytest.mark.parametrize(
    "change",
    [
        {"scope": 0},
        {"scope": None},
        {"scope": True},
        {"fileIds": []},
        {"fileIds": ["x"] * 101},
        {"containerId": ""},
        {"containerId": 5},
        {"validDays": 0},
        {"validDays": 366},
        {"extractCode": "short"},
        {"extractCode": 31945314},
        {"expireTime": "tomorrow"},
        {"expireTime": "Tomorrow"},
        {"userIds": "u1"},
    ],
)
def test_bad_creations(caller, change):
    call = caller()
    assert call.send("POST", "/share", {**NEW, **change}).json()["code"] == 13000102
    assert call.emulator.created == []


def test_bad_creations_for_carriers(caller):
    call = caller(edition="carrier")
    for change in ({"scope": 2}, {"scope": 1, "comment": "x" * 512}):
        assert call.send("POST", "/share", {**NEW, **change}).json()["code"] == 13000102


@pytest.mark.parametrize("edition", ["enterprise", "carrier"])
@pytest.mark.parametrize("names", [False, True])
def test_received_and_exit(caller, edition, names):
    call = caller(received=3, shares=1, edition=edition)
    emulator = call.emulator
    emulator.exit_names_ids = names
    a, b, c = emulator.received_ids
    rows = call.send("GET", "/share/received").json()["shareLinks"]
    assert [row["shareId"] for row in rows] == [c, b, a]
    assert {type(row["viewCnt"]) for row in rows} == {type(row["scope"]) for row in rows} == {str}
    assert ("ownerMobile" in rows[0]) is (edition == "carrier")
    detail = call.send("GET", f"/share/received/{a}").json()["shareLink"]
    assert detail["ownerId"] == emulator.colleague_id

    emulator.item_codes[b] = 7
    ids = [a, b, emulator.share_ids[0], "404"]
    parts = call.send("POST", "/share/exit", {"shareIds": ids}).json()["subResponseList"]
    assert [part["code"] for part in parts] == [0, 7, 13000309, 13000309]
    assert all("message" in part and "msg" not in part for part in parts)
    assert [part.get("shareId") for part in parts] == (ids if names else [None] * 4)
    assert call.send("GET", f"/share/received/{a}").json()["code"] == 13000309
    assert (
        call.send("POST", "/share/exit", {"shareIds": [a]}).json()["subResponseList"][0]["code"] == 13000309
    )
    call.cancel(c, x_user_id=emulator.colleague_id)
    assert walk(call, "/share/received")[0] == [b]
    emulator.poison.add(b)
    assert call.send("POST", "/share/exit", {"shareIds": [b]}).json()["code"] == 13000102
    assert not emulator.is_cancelled(a)
