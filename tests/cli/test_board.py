import io

import pytest
from rich.console import Console
from rich.text import Text

from koodrive_async import Progress, Status
from koodrive_async.cli import board as boards
from koodrive_async.cli.board import LiveBoard, PlainBoard


def progress(settled: int, *, total: int | None = None, unsent: int = 0, elapsed: float = 2.0) -> Progress:
    return Progress(
        counts={**dict.fromkeys(Status, 0), Status.CANCELLED: settled - unsent, Status.NOT_SENT: unsent},
        settled=settled,
        total=total,
        in_flight=3,
        requests=settled // 100,
        rate=settled / elapsed,
        pace=None,
        elapsed=elapsed,
        eta=None,
    )


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def to(screen: io.StringIO) -> Console:
    return Console(
        file=screen, width=80, force_terminal=True, color_system=None, highlight=False, markup=False
    )


def test_lines_at_each_quarter(to: Console, screen: io.StringIO) -> None:
    with PlainBoard(to, "cancelling", 1000, None) as board:
        for settled in range(0, 1001, 10):
            board.update(progress(settled))
    assert [line.split()[1] for line in screen.getvalue().splitlines()] == ["250", "500", "750", "1,000"]


def test_lines_now_and_then_where_the_end_is_not_known(
    to: Console, screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(boards.time, "monotonic", lambda: now)
    board = PlainBoard(to, "cancelling", None, lambda: " weather: bad")
    for _ in range(100):
        now += 1.0
        board.update(progress(int(now)))
    lines = screen.getvalue().splitlines()
    assert [line.split()[1] for line in lines if "cancelling" in line] == ["30", "60", "90"]
    assert lines.count(" weather: bad") == 1


def test_the_bar_knows_the_time_left(to: Console, screen: io.StringIO) -> None:
    with LiveBoard(to, "cancelling", 1_000_000, None) as board:
        board.update(progress(1000, elapsed=10.0))
    assert "1,000/1,000,000" in screen.getvalue()
    assert "2:46:30 left" in screen.getvalue()


def test_the_bar_does_not_call_done_what_was_never_sent(to: Console, screen: io.StringIO) -> None:
    with LiveBoard(to, "cancelling", 1000, lambda: "footer") as board:
        board.update(progress(1000, total=1000, unsent=600))
    assert "400/1,000" in screen.getvalue()
    assert "200 ids/s" in screen.getvalue()
    assert "footer" in screen.getvalue()


def test_a_bar_without_an_end(to: Console, screen: io.StringIO) -> None:
    with LiveBoard(to, "cancelling", None, None) as board:
        board.update(progress(1000))
        board.say(Text("by the way"))
        board.update(progress(1200, total=1200, elapsed=90))
    assert "by the way" in screen.getvalue()
    assert "1,200/1,200" in screen.getvalue()
    assert "1:30 min" in screen.getvalue()
