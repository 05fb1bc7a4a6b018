import json

from koodrive_async.testing import Emulator, unavailable
from koodrive_async.testing.faults import Rewrite
from tests.cli.runs import ESCAPE, Run


def test_a_table(emulator: Emulator, run: Run) -> None:
    share = emulator.share(emulator.share_ids[5])
    ran = run("info", share.short_url)
    assert (ran.status, ran.err) == (0, "")
    assert share.share_id in ran.out
    assert share.short_url in ran.out
    assert "Demo User (1505084218764547200)" in ran.out
    assert ESCAPE not in ran.out


def test_json(emulator: Emulator, run: Run) -> None:
    share = emulator.share(emulator.share_ids[5])
    ran = run("info", "--json", share.short_url)
    assert ran.status == 0
    found = json.loads(ran.out)
    assert (found["share_id"], found["short_url"]) == (share.share_id, share.short_url)
    assert set(found["permission"]) == {"preview", "edit", "download", "extra"}


def test_a_whole_link_will_do(emulator: Emulator, run: Run) -> None:
    share = emulator.share(emulator.share_ids[5])
    ran = run("info", f"https://console.example/cloudfile/#/sharelink/i/{share.short_url}/")
    assert ran.status == 0
    assert share.share_id in ran.out


def test_no_such_link_is_status_1(emulator: Emulator, run: Run) -> None:
    ran = run("info", "4711")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("koodrive: NotFound: ")


def test_no_credentials_is_status_2(run: Run, environment: object) -> None:
    ran = run("info", "4711")
    assert (ran.status, ran.out) == (2, "")
    assert "KOODRIVE_ENDPOINT" in ran.err


def test_a_passing_failure_is_retried(emulator: Emulator, run: Run) -> None:
    emulator.script(unavailable())
    assert run("info", emulator.share(emulator.share_ids[0]).short_url).status == 0


def test_control_codes_and_markup_in_names_are_text(emulator: Emulator, run: Run) -> None:
    def rename(reply: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
        reply["link"] |= {"ownerName": f"{ESCAPE}]0;gotcha\a[red]R", "status": None, "novel": {"a": 1}}
        return reply

    emulator.script(Rewrite(rename))
    ran = run("info", emulator.share(emulator.share_ids[0]).short_url)
    assert ran.status == 0
    assert r"\x1b]0;gotcha\x07[red]R" in ran.out
    assert '{"a": 1}' in ran.out
