"""Sources that fail, that are left early, that hold something open: closed where they were read."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from koodrive_async import InvalidShareId, Status, Throttled
from koodrive_async.testing import throttled
from tests.client.wire import some_ids
from tests.engine.kit import collect, honest, statuses

pytestmark = pytest.mark.usefixtures("leaks")


class Broken(Exception):
    pass


def breaking(ids, error):
    yield from ids
    raise error


async def breaking_async(ids, error):
    for share_id in ids:
        yield share_id
    raise error


@pytest.mark.parametrize("make", [breaking, breaking_async])
@pytest.mark.parametrize("error", [Broken("down"), ValueError("bad"), OSError(5, "io"), TimeoutError()])
@pytest.mark.parametrize("count", [0, 1, 250])
async def test_its_error_surfaces_as_itself_after_what_is_owed(make_koodrive, connect, make, error, count):
    emulator = make_koodrive(shares=count)
    outcomes = []
    async with connect(emulator) as client:
        with pytest.raises(type(error)) as caught:
            await collect(client.open_cancel(make(emulator.share_ids, error)), outcomes)
    assert caught.value is error
    honest(outcomes, emulator.share_ids, emulator)
    assert statuses(error.report) == ({"cancelled": count} if count else {})


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_so_does_an_invalid_id(make_koodrive, connect, kind):
    emulator = make_koodrive(shares=250)
    ids = [*emulator.share_ids, "with blank", *some_ids(100)]

    async def flowing():
        for share_id in ids:
            yield share_id

    outcomes = []
    async with connect(emulator) as client:
        with pytest.raises(InvalidShareId) as caught:
            await collect(client.open_cancel(ids if kind == "sync" else flowing()), outcomes)
    assert caught.value.position == 250
    honest(outcomes, emulator.share_ids, emulator)


async def test_an_error_of_the_source_does_not_hide_one_of_the_service(make_koodrive, connect):
    """Both may happen; what is owed is delivered all the same."""
    emulator = make_koodrive(shares=500)
    emulator.inject(lambda _seen: throttled(86_400))
    outcomes = []
    async with connect(emulator) as client:
        with pytest.raises((Broken, Throttled)) as caught:
            await collect(client.open_cancel(breaking(emulator.share_ids, Broken())), outcomes)
    honest(outcomes, emulator.share_ids, emulator)
    assert sum(caught.value.report.counts.values()) == 500


class LeftError(Exception):
    pass


HOW = ["to the end", "break", "error", "cancelled", "stop", "bad id"]


def ids_for(emulator, how):
    return [*emulator.share_ids, *([""] if how == "bad id" else [])]


async def leave(scope, stream, how):
    """After the first outcome."""
    if how == "error":
        raise LeftError
    if how == "cancelled":
        scope.cancel()
        await checkpoint()
    if how == "stop":
        stream.stop()


async def use_up(connect, emulator, source, how):
    """Take outcomes from a stream over a source, and leave it in this way."""
    with anyio.CancelScope() as scope:
        async with connect(emulator) as client:
            try:
                async with client.open_cancel(source) as stream:
                    async for _ in stream:
                        if how == "break":
                            break
                        await leave(scope, stream, how)
            except (LeftError, InvalidShareId):
                assert how in ("error", "bad id")


@pytest.mark.parametrize("how", HOW)
async def test_a_generator_is_closed_in_the_task_that_read_it(make_koodrive, connect, how):
    emulator = make_koodrive(shares=2_000)
    tasks = []

    async def flow():
        tasks.append(anyio.get_current_task().id)
        try:
            for share_id in ids_for(emulator, how):
                yield share_id
        finally:
            await anyio.sleep(0.001)  # its clean-up may wait
            tasks.append(anyio.get_current_task().id)

    await use_up(connect, emulator, flow(), how)
    assert len(tasks) == 2
    assert tasks[0] == tasks[1]


@pytest.mark.parametrize("how", HOW)
async def test_a_generator_may_hold_a_cancel_scope(make_koodrive, connect, how):
    """Such scopes must be left in the order they were entered, ours around the generator included."""
    emulator = make_koodrive(shares=2_000)
    closed = False

    async def flow():
        nonlocal closed
        try:
            async with anyio.create_task_group():
                for share_id in ids_for(emulator, how):
                    yield share_id
        finally:
            closed = True

    await use_up(connect, emulator, flow(), how)
    assert closed


@pytest.mark.parametrize("how", HOW)
async def test_a_plain_generator_is_closed_too(make_koodrive, connect, how):
    emulator = make_koodrive(shares=2_000)
    closed = False

    def flow():
        nonlocal closed
        try:
            yield from ids_for(emulator, how)
        finally:
            closed = True

    await use_up(connect, emulator, flow(), how)
    assert closed


async def test_a_source_that_blocks_for_ever_is_left_at_once(koodrive, connect):
    closed = False

    async def stuck():
        nonlocal closed
        try:
            yield koodrive.share_ids[0]
            await anyio.sleep_forever()
        finally:
            closed = True

    async with connect(koodrive) as client:
        with anyio.fail_after(2):
            async with client.open_cancel(stuck()) as stream:
                assert (await anext(stream)).status is Status.CANCELLED
    assert closed
    assert statuses(stream.report) == {"cancelled": 1}
