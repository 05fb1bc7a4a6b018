"""`koodrive demo`: the whole promise in a few seconds, on one machine, without an account.

Refuses to take the client's word for it: the report is compared with the emulator's books, and the
exit status is the result of that.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from functools import partial

import anyio
import attrs
from rich.console import Console
from rich.text import Text

from koodrive_async import AppCredentials, AsyncShareClient, Pace, ShareOutcome, Status
from koodrive_async.cli import DONE, INCOMPLETE, show
from koodrive_async.cli.audit import Finding, audit
from koodrive_async.cli.barometer import Barometer
from koodrive_async.cli.board import board
from koodrive_async.cli.follow import Ending, follow
from koodrive_async.cli.weather import Weather
from koodrive_async.core.batching import BATCH_SIZE
from koodrive_async.testing import Emulator

#: What to do with it; a test runs the program.
SHELL = """\
export KOODRIVE_ENDPOINT=https://...  KOODRIVE_USER_ID=...
export KOODRIVE_ACCESS_TOKEN=...  # or _APP_ID and _APP_SECRET
koodrive cancel ids.txt"""
PROGRAM = """\
import anyio
from koodrive_async import AsyncShareClient

async def main(share_ids):
    async with AsyncShareClient.from_env() as client:
        print(await client.cancel(share_ids))

anyio.run(main, ["1505084218764547200", "1505084218764547201"])"""

#: A request's latency in seconds: slow enough to watch 5,000 shares, quicker for more of them.
_SLOWEST, _QUICKEST, _TOGETHER = 0.24, 0.02, 40.0

#: One share in so many is somebody else's, and as many again were cancelled before; but at most these.
_ONE_IN, _FOREIGN, _GONE = 50, 7, 12


@attrs.define
class Scene:
    """The emulator, and what is asked of it."""

    emulator: Emulator
    ids: list[str]
    before: set[str]
    weather: Weather | None
    barometer: Barometer = attrs.field(factory=Barometer)
    told: dict[str, Status] = attrs.field(factory=dict)
    repeated: int = 0
    read: bool = False

    @classmethod
    def make(cls, shares: int, seed: int, *, calm: bool) -> Scene:
        """All of it, out of the seed."""
        odd = shares // _ONE_IN
        foreign, gone = min(_FOREIGN, odd), min(_GONE, odd)
        dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
        usual = max(_QUICKEST, min(_SLOWEST, _TOGETHER * BATCH_SIZE / shares))
        emulator = Emulator(
            shares=shares - foreign,
            received=foreign,
            seed=seed,
            latency=lambda: usual * dice.uniform(0.5, 1.5),
            max_log=1,
        )
        shuffle = random.Random(seed)  # noqa: S311 - likewise
        for share_id in shuffle.sample(emulator.share_ids, gone):
            emulator.cancel_one(emulator.user_id, share_id)
        ids = [*emulator.share_ids, *emulator.received_ids]
        shuffle.shuffle(ids)
        weather = None if calm else Weather(seed, ids)
        emulator.inject(weather)
        return cls(emulator, ids, emulator.cancelled, weather)

    def source(self) -> Iterator[str]:
        """The ids; notes when the last one was read."""
        yield from self.ids
        self.read = True

    async def take(self, outcome: ShareOutcome) -> None:
        """Remember one outcome."""
        self.repeated += outcome.share_id in self.told
        self.told[outcome.share_id] = outcome.status

    def check(self, ending: Ending) -> list[Finding]:
        """Compare what was told with the emulator's books."""
        whole = not ending.signal and ending.error is None
        findings = audit(
            self.ids,
            self.told,
            repeated=self.repeated,
            before=self.before,
            after=self.emulator.cancelled,
            complete=self.read,
        )
        here, there = ending.report.requests, self.emulator.requests
        if whole:
            text = (
                f"{here:,} requests sent, and counted there"
                if here == there
                else f"{here:,} requests sent, {there:,} counted there"
            )
            findings.append(Finding(here == there, text))
        return findings


def run(chosen: argparse.Namespace) -> int:
    """Play, show, check.

    Returns:
        The exit status: 0 if the report holds.
    """
    to = show.console()
    sky = "calm" if chosen.calm else f"bad weather, seed {chosen.seed}"
    parts = (f"{chosen.shares:,} shares", sky, f"{chosen.backend}, {chosen.concurrency} at a time")
    show.paragraph(to, Text.assemble(("koodrive demo", show.HEAD), "  ", show.dot(to).join(parts)))
    to.print()
    scene = Scene.make(chosen.shares, chosen.seed, calm=chosen.calm)
    with scene.emulator:
        ending = anyio.run(partial(_cancel_all, scene, to, chosen.concurrency), backend=chosen.backend)
        findings = scene.check(ending)
    _show_report(to, scene, ending)
    held = _show_findings(to, findings)
    if ending.signal:
        return 128 + ending.signal if held else INCOMPLETE
    if held and ending.error is None:
        _show_next(to)
        return DONE
    return INCOMPLETE


async def _cancel_all(scene: Scene, to: Console, concurrency: int) -> Ending:
    emulator = scene.emulator
    app_id, app_secret = next(iter(emulator.apps.items()))
    async with AsyncShareClient(
        emulator.url,
        AppCredentials(app_id, app_secret, emulator.user_id),
        pace=Pace(concurrency=concurrency),
        hooks=[scene.barometer],
    ) as client:
        with board(to, "cancelling", total=len(scene.ids), footer=lambda: scene.barometer.line(to)) as shown:
            return await follow(
                client.open_cancel(scene.source()), scene.take, shown, read=lambda: scene.read
            )


def _show_report(to: Console, scene: Scene, ending: Ending) -> None:
    report, seen = ending.report, scene.barometer
    if ending.error is not None:
        show.heading(to, f"It ended early: {type(ending.error).__name__}: {show.clean(str(ending.error))}")
    show.heading(to, "The report" + (", as far as it got" if ending.signal else ""))
    show.status_table(to, report.counts, _notes(scene))
    show.run_line(to, report, f"{seen.again:,} of them again" if seen.again else "")
    show.heading(to, "What the emulator did to it")
    lines = [*scene.weather.played.items()] if scene.weather is not None else []
    for what, number in lines:
        show.paragraph(to, f"  {show.times(to, number, what)}")
    if not lines:
        show.paragraph(to, "  nothing: it behaved")


def _notes(scene: Scene) -> dict[Status, str]:
    having = {wanted: [i for i, status in scene.told.items() if status is wanted] for wanted in Status}
    foreign = set(scene.emulator.received_ids)
    return {
        Status.ALREADY_GONE: _split(
            "no such share", having[Status.ALREADY_GONE], scene.before, "before", "after a lost reply"
        ),
        Status.REJECTED: _split(
            "refused", having[Status.REJECTED], foreign, "belong to someone else", "for now"
        ),
    }


def _split(what: str, ids: list[str], those: set[str], inside: str, outside: str) -> str:
    """Some of the ids for one reason, the rest for another."""
    some = sum(share_id in those for share_id in ids)
    rest = len(ids) - some
    parts = [f"{some:,} {inside}" if some else "", f"{rest:,} {outside}" if rest else ""]
    return f"{what}: {', '.join(filter(None, parts))}" if ids else ""


def _show_findings(to: Console, findings: list[Finding]) -> bool:
    """The comparison; whether all is well."""
    show.heading(to, "Is that true? The emulator's own books say")
    for finding in findings:
        show.paragraph(to, Text.assemble("  ", show.check_mark(to, good=finding.good), " ", finding.text))
    return all(finding.good for finding in findings)


def _show_next(to: Console) -> None:
    show.heading(to, "What next")
    for title, lines in (("with your own shares", SHELL), ("or in a program", PROGRAM)):
        show.paragraph(to, f"  {title}:", show.QUIET)
        to.print()
        for line in lines.splitlines():
            show.paragraph(to, f"    {line}")
        to.print()
