"""Rows 78, 79: lists that go in circles, have holes, grow while they are read, or hold what can't be read.

Nothing is read for ever, nothing is lost, and what could not be read is said.
"""

import json

import anyio
import pytest

from koodrive_async import (
    BadReply,
    CursorRepeated,
    Forbidden,
    KooDriveError,
    MalformedItem,
    MalformedItemFound,
    ServerFault,
    ShareByMeLink,
)
from koodrive_async.testing import Body, Rewrite, Status

pytestmark = pytest.mark.usefixtures("leaks")

SOON = 20


def scripted_list(emulator, pages, default=None):
    """Answers each cursor with its page: `{cursor: (ids, next cursor)}`; "" is the first one."""

    def answer(seen):
        query = dict(pair.split("=") for pair in seen.target.partition("?")[2].split("&"))
        ids, following = pages.get(query.get("pageCursor", ""), default)
        reply = {"code": 0, "shareLinks": [{"shareId": share_id} for share_id in ids]}
        if following is not ...:
            reply["nextCursor"] = following
        return Body(json.dumps(reply).encode())

    emulator.inject(answer)


def ids_of(items):
    return [item.share_id for item in items]


async def into(seen, listing):
    async for share in listing:
        seen.append(share.share_id)


# -- 78: cursors ----------------------------------------------------------------------------------

CIRCLES = {
    "the same again": {"": ("a", "x"), "x": ("b", "x")},
    "two in turn": {"": ("a", "x"), "x": ("b", "y"), "y": ("c", "x")},
    "back to the start": {"": ("a", "x"), "x": ("b", "0"), "0": ("a", "x")},
    "of empty pages": {"": ("a", "x"), "x": ("", "y"), "y": ("", "z"), "z": ("b", "y")},
}


@pytest.mark.parametrize("circle", CIRCLES)
async def test_78_a_list_that_goes_in_circles(make_koodrive, connect, circle):
    emulator = make_koodrive()
    pages = CIRCLES[circle]
    scripted_list(emulator, pages)
    expected = [share_id for cursor, (ids, _) in pages.items() for share_id in ids if cursor != "0"]
    async with connect(emulator) as client:
        with anyio.fail_after(SOON):
            listing, seen = client.list_my_shares(), []
            with pytest.raises(CursorRepeated) as caught:
                await into(seen, listing)
            assert seen == expected
            assert caught.value.pages == emulator.requests
            assert caught.value.cursor in pages
            assert caught.value.items == ()
            with pytest.raises(CursorRepeated):
                await anext(listing)  # for ever the same, at no cost
            requests = emulator.requests
            with pytest.raises(CursorRepeated) as caught:
                await client.list_my_shares().collect()
            assert ids_of(caught.value.items) == expected
            assert emulator.requests == 2 * requests
            with pytest.raises(CursorRepeated):
                await client.cancel(client.list_my_shares())
    assert emulator.counts["batchCancel"] == 0  # a list that is not whole cancels nothing


async def test_78_open_cancel_of_a_list_in_circles(make_koodrive, connect):
    emulator = make_koodrive()
    scripted_list(emulator, CIRCLES["two in turn"])
    async with connect(emulator) as client:

        async def consume():
            async with client.open_cancel(client.list_my_shares()) as stream:
                return [outcome async for outcome in stream]

        with anyio.fail_after(SOON), pytest.raises(CursorRepeated):
            await consume()
    assert emulator.counts["batchCancel"] == 0


@pytest.mark.parametrize("end", [None, "", "  ", ...], ids=["null", "empty", "blank", "absent"])
async def test_78_every_end_of_a_list(make_koodrive, connect, end):
    emulator = make_koodrive()
    scripted_list(emulator, {"": ("ab", "x"), "x": ("", "y"), "y": ("c", 7), "7": ("d", end)})
    async with connect(emulator) as client:
        listing = client.list_my_shares()
        assert ids_of(await listing.collect()) == ["a", "b", "c", "d"]
        assert listing.next_cursor is None
        with pytest.raises(StopAsyncIteration):
            await anext(listing)
    assert emulator.requests == 4


@pytest.mark.parametrize("cursor", [{}, [], True, 1.5])
async def test_78_a_cursor_that_is_none(make_koodrive, connect, cursor):
    """To take it for the end could lose half of the list."""
    emulator = make_koodrive()
    scripted_list(emulator, {"": ("a", cursor)})
    async with connect(emulator) as client:
        with pytest.raises(BadReply, match="nextCursor"):
            await client.list_my_shares().collect()


@pytest.mark.parametrize("kind", ["stable", "offset"])
async def test_78_empty_pages_in_the_middle(make_koodrive, connect, kind):
    emulator = make_koodrive(shares=730, cursor=kind, empty_page_every=2)
    async with connect(emulator) as client:
        pages = [page async for page in client.list_my_shares().pages()]
        listed = await client.list_my_shares().collect()
    assert ids_of(listed) == emulator.share_ids[::-1]
    assert sum(not page.items for page in pages) >= 3
    assert pages[-1].items
    assert [page.next_cursor is None for page in pages] == [False] * (len(pages) - 1) + [True]


@pytest.mark.parametrize("dedupe", [True, False])
async def test_78_a_list_that_grows_while_it_is_read(make_koodrive, connect, dedupe):
    """New shares come in front; with an offset for a cursor old ones are listed twice."""
    emulator = make_koodrive(shares=300, cursor="offset")
    old = emulator.share_ids[::-1]
    async with connect(emulator) as client:
        seen = []
        async for page in client.list_my_shares(dedupe=dedupe).pages():
            seen += ids_of(page.items)
            if len(seen) < 250:
                await client.create_share(["F"], container_id="C", scope=1, valid_days=1)
    assert [share_id for share_id in dict.fromkeys(seen) if share_id in old] == old
    assert (len(seen) == len(set(seen))) is dedupe


async def test_78_a_page_that_fails_is_asked_for_again(make_koodrive, connect):
    """After the error the iterator stands where it stood; a new one can begin there."""
    emulator = make_koodrive(shares=250)
    async with connect(emulator) as client:
        listing = client.list_my_shares()
        seen = [await anext(listing) for _ in range(100)]
        emulator.inject(lambda _seen: Status(500))
        with pytest.raises(ServerFault):
            await anext(listing)
        emulator.behave()
        cursor = listing.next_cursor
        rest = await client.list_my_shares(cursor=cursor).collect()
        seen += [share async for share in listing]
    assert ids_of(seen) == emulator.share_ids[::-1]
    assert ids_of(rest) == ids_of(seen)[100:]


async def test_78_leaving_a_list_leaves_nothing_behind(make_koodrive, connect):
    emulator = make_koodrive(shares=1_000)
    async with connect(emulator) as client:
        async for _share in client.list_my_shares():
            break
        pages = client.list_my_shares().pages()
        await anext(pages)
        del pages
        with anyio.move_on_after(0.01):
            emulator.latency = 0.2
            await client.list_my_shares().collect()
    assert emulator.requests <= 3


async def test_78_two_tasks_that_share_an_iterator(make_koodrive, connect):
    emulator = make_koodrive(shares=650)
    emulator.latency = 0.002
    seen = []
    async with connect(emulator) as client:
        pages = client.list_my_shares().pages()

        async def read():
            async for page in pages:
                seen.extend(ids_of(page.items))

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(read)
    assert sorted(seen) == emulator.share_ids
    assert emulator.requests == 7


# -- 79: items ------------------------------------------------------------------------------------

MALFORMED = {
    "null": (None, "is no object"),
    "a number": (7, "is no object"),
    "a text": ("secret", "is no object"),
    "a list": ([], "is no object"),
    "without an id": ({"displayName": "x"}, "a share id is empty"),
    "with a null id": ({"shareId": None}, "a share id is empty"),
    "with an object for an id": ({"shareId": {}}, "a share id is empty"),
    "with an id of blanks": ({"shareId": "a b"}, "a share id contains blanks"),
    "with a huge id": ({"shareId": "9" * 1_000}, "a share id has 1000 characters"),
}


def spoilt(item):
    def change(reply):
        links = reply["shareLinks"]
        return {**reply, "shareLinks": [*links[:3], item, *links[3:7], item, *links[7:]]}

    return Rewrite(change)


@pytest.mark.parametrize("kind", MALFORMED)
async def test_79_an_item_that_cannot_be_read_is_skipped_and_reported(make_koodrive, connect, kind):
    item, reason = MALFORMED[kind]
    emulator = make_koodrive(shares=150)
    emulator.script(spoilt(item))
    async with connect(emulator) as client:
        listing = client.list_my_shares()
        assert ids_of(await listing.collect()) == emulator.share_ids[::-1]
        assert [report.index for report in listing.malformed] == [3, 8]
        for report in listing.malformed:
            assert isinstance(report, MalformedItem)
            assert reason in report.reason
            assert report.raw == item
            assert "secret" not in repr(report)
        emulator.script(spoilt(item))
        first = await anext(client.list_my_shares().pages())
        assert len(first.items) == 100
        assert [report.index for report in first.malformed] == [3, 8]


@pytest.mark.parametrize("kind", MALFORMED)
async def test_79_or_raised_if_that_is_wished(make_koodrive, connect, kind):
    item, reason = MALFORMED[kind]
    emulator = make_koodrive(shares=150)
    emulator.script(spoilt(item))
    async with connect(emulator) as client:
        listing = client.list_my_shares(on_malformed="raise")
        with pytest.raises(MalformedItemFound, match=f"item 3 of a page: .*{reason}") as caught:
            await listing.collect()
        assert caught.value.index == 3
        assert len(caught.value.page.items) == 100
        assert emulator.requests == 1  # the same bytes would come again
        assert ids_of(await listing.collect()) == emulator.share_ids[::-1]  # it was a bad moment


@pytest.mark.parametrize("listed", [{}, "x", 7, True])
async def test_79_no_list_at_all(make_koodrive, connect, listed):
    emulator = make_koodrive(shares=10)
    emulator.inject(lambda _seen: Rewrite(lambda reply: {**reply, "shareLinks": listed}))
    async with connect(emulator) as client:
        with pytest.raises(BadReply, match="shareLinks"):
            await client.list_my_shares().collect()


@pytest.mark.parametrize("change", [lambda r: {**r, "shareLinks": None}, lambda r: {"code": r["code"]}])
async def test_79_an_absent_list_is_an_empty_one(make_koodrive, connect, change):
    emulator = make_koodrive(shares=10)
    emulator.inject(lambda _seen: Rewrite(change))
    async with connect(emulator) as client:
        assert await client.list_my_shares().collect() == []


async def test_79_a_bad_part_of_an_item_costs_that_part_alone(make_koodrive, connect):
    emulator = make_koodrive(shares=1)

    def change(reply):
        (share,) = reply["shareLinks"]
        files = [*share["files"], 7, None, {"id": "F9", "size": "12"}]
        return {**reply, "shareLinks": [{**share, "files": files, "scope": "two", "viewCnt": "3"}]}

    emulator.script(Rewrite(change))
    async with connect(emulator) as client:
        (share,) = await client.list_my_shares().collect()
    assert isinstance(share, ShareByMeLink)
    assert (share.files[-1].id, share.files[-1].size) == ("F9", 12)
    assert share.scope is None
    assert share.view_cnt == 3
    assert set(share.extra) == {"files", "scope"}  # as they came


@pytest.mark.parametrize("fault", [Status(403), Body(b'{"code":13000410}')], ids=["403", "code"])
async def test_a_refusal_ends_the_list(make_koodrive, connect, fault):
    emulator = make_koodrive(shares=10)
    emulator.script(fault)
    async with connect(emulator) as client:
        with pytest.raises(Forbidden) as caught:
            await client.cancel(client.find_shares())
        assert isinstance(caught.value, KooDriveError)
    assert emulator.counts["batchCancel"] == 0
