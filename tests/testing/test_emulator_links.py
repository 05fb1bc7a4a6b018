"""Links, files, tasks, public calls, sessions."""

import httpx
import pytest

DAY = 86_400


def link(call, **change):
    """A fresh share of the carrier's or the enterprise's kind: its id and short code."""
    wish = {"scope": 1, "fileIds": ["F1", "F2", "F3"], "containerId": "S1", "validDays": 7, **change}
    made = call.send("POST", "/share", wish).json()["shareLink"]
    return made["shareId"], made["shortUrl"]


@pytest.fixture(params=["enterprise", "carrier"])
def call(request, caller):
    now = [1_700_000_000.0]
    call = caller(shares=200, edition=request.param, clock=lambda: now[0], task_seconds=10.0)
    call.clock = now
    return call


def test_info_and_visit(call):
    share_id, short = link(call)
    body = call.send("GET", "/share/userInfo", params={"shortUrl": short}).json()
    assert body["code"] == 0
    assert body["link"]["shareId"] == share_id
    assert body["link"]["ownerId"] == call.emulator.user_id
    assert body["link"]["expireDate"] == "7"
    for _ in range(2):
        reply = call.send("GET", "/share/visit", params={"shortUrl": short})
        assert reply.json() == {"code": 0, "msg": "success"}
    assert call.emulator.share(share_id).views == 2
    assert call.send("GET", "/share", params={"pageSize": 1}).json()["shareLinks"][0]["viewCnt"] == 2

    call.clock[0] += 8 * DAY
    assert call.send("GET", "/share/visit", params={"shortUrl": short}).json()["code"] == 13000309
    assert call.send("GET", "/share/userInfo", params={"shortUrl": short}).json()["code"] == 0
    call.cancel(share_id)
    assert call.send("GET", "/share/userInfo", params={"shortUrl": short}).json()["code"] == 13000309
    for wrong in ("nonsense", "1", "1808628918203192833", "9" * 40):
        assert call.send("GET", "/share/visit", params={"shortUrl": wrong}).json()["code"] == 13000309
    assert call.send("GET", "/share/visit").json()["code"] == 13000102


def test_seeded_links_are_found(call):
    for share_id in call.emulator.share_ids[:20]:
        short = call.emulator.share(share_id).short_url
        body = call.send("GET", "/share/userInfo", params={"shortUrl": short}).json()
        assert body["link"]["shareId"] == share_id


def test_named_shares_open_for_the_named_only(call):
    _, short = link(call, scope=3, userIds=["friend"])
    call.emulator.users |= {"friend", "stranger"}
    codes = [
        call.send("GET", "/share/visit", params={"shortUrl": short}, x_user_id=user).json()["code"]
        for user in (call.emulator.user_id, "friend", "stranger")
    ]
    assert codes == [0, 0, 13000410]


def test_an_access_code_gives_a_token_for_files_and_downloads(call):
    share_id, short = link(call, extractCode="31945314")
    files = {"shortUrl": short}
    assert call.send("POST", "/share/files", files).json()["code"] == 13000410
    wrong = call.send("POST", "/share/verify", {"shortUrl": short, "extractCode": "00000000"}).json()
    assert wrong["code"] == 13000410
    assert call.send("POST", "/share/verify", {"shortUrl": short}).json()["code"] == 13000102
    good = call.send("POST", "/share/verify", {"shortUrl": short, "extractCode": "31945314"}).json()
    token = good["kdstoken"]
    body = call.send("POST", "/share/files", {**files, "kdstoken": token, "refreshCount": True}).json()
    assert body["code"] == 0
    assert body["link"]["shareId"] == share_id
    assert {row["id"] for row in body["files"]} == {"F1", "F2", "F3"}
    assert call.emulator.share(share_id).views == 1

    wish = {"shareId": share_id, "fileId": "F2"}
    assert call.send("POST", "/share/download", wish).json()["code"] == 13000410
    url = call.send("POST", "/share/download", {**wish, "kdstoken": token}).json()["downloadUrl"]
    assert call.emulator.share(share_id).downloads == 1
    assert httpx.get(url, trust_env=False).text == "content of F2\n"
    assert httpx.get(url, headers={"authorization": "x"}, trust_env=False).status_code == 400
    assert httpx.get(url.partition("?")[0], trust_env=False).status_code == 403
    missing = {"shareId": share_id, "fileId": "F9", "kdstoken": token}
    assert call.send("POST", "/share/download", missing).json()["code"] == 13000407
    assert call.send("POST", "/share/download", {"shareId": "404", "fileId": "F"}).json()["code"] == 13000309
    _, other = link(call, extractCode="31945314")
    assert (
        call.send("POST", "/share/files", {"shortUrl": other, "kdstoken": token}).json()["code"] == 13000410
    )


def test_files_are_paged_sorted_and_filtered(call):
    _, short = link(call, fileIds=[f"F{n:03}" for n in range(25)])
    ids, cursor = [], None
    while True:
        body = {"shortUrl": short, "pageSize": 10, "sortType": 1, "sortDirection": 1}
        reply = call.send(
            "POST", "/share/files", body if cursor is None else {**body, "pageCursor": cursor}
        ).json()
        ids += [row["fileName"] for row in reply["files"]]
        cursor = reply.get("nextCursor")
        if cursor is None:
            break
    assert len(ids) == 25
    assert ids == sorted(ids)
    sizes = [
        row["size"]
        for row in call.send("POST", "/share/files", {"shortUrl": short, "sortType": 2}).json()["files"]
    ]
    assert sizes == sorted(sizes, reverse=True)
    found = call.send("POST", "/share/files", {"shortUrl": short, "fileName": "F007"}).json()["files"]
    assert [row["id"] for row in found] == ["F007"]
    for change in ({"sortType": 3}, {"pageSize": 0}, {"pageCursor": "x"}, {"shortUrl": ""}):
        assert call.send("POST", "/share/files", {"shortUrl": short, **change}).json()["code"] == 13000102


def test_folders_can_be_entered(call):
    now = call.emulator.now()
    shares = [call.emulator.share(share_id) for share_id in call.emulator.share_ids]
    share = next(one for one in shares if one.files > 1 and one.opens(now) and not one.extract_code)
    rows = call.send("POST", "/share/files", {"shortUrl": share.short_url}).json()["files"]
    folder = next(row for row in rows if row["fileType"] == "folder")
    body = {"shortUrl": share.short_url, "parentFolder": folder["id"]}
    inner = call.send("POST", "/share/files", body).json()["files"]
    assert len(inner) == 3
    assert {row["parentFolder"][0] for row in inner} == {folder["id"]}
    wish = {"shareId": share.share_id, "fileId": inner[0]["id"]}
    assert call.send("POST", "/share/download", wish).json()["code"] == 0
    assert call.send("POST", "/share/download", {**wish, "fileId": folder["id"]}).json()["code"] == 13000407
    body["parentFolder"] = "nowhere"
    assert call.send("POST", "/share/files", body).json()["files"] == []


def test_tasks_take_time(call):
    share_id, _ = link(call)
    wish = {"taskType": 1, "shareId": share_id, "containerId": "S1", "fileIds": ["F1"], "zipName": "a.zip"}
    task_id = call.send("POST", "/share/tasks", wish).json()["taskId"]
    ask = {"taskId": task_id, "shareId": share_id}

    def look():
        body = call.send("POST", "/share/taskDetail", ask).json()
        assert body["jobInfo"] == body["taskInfos"]
        return body["jobInfo"]

    assert (look()["taskStatus"], look()["progress"]) == (0, 0)
    call.clock[0] += 5
    assert (look()["taskStatus"], look()["progress"]) == (1, 50)
    assert "taskResultCode" not in look()
    call.clock[0] += 5
    done = look()
    assert (done["taskStatus"], done["taskResultCode"], done["progress"]) == (2, 1, 100)
    assert done["createTime"] == "20231114221320"
    assert httpx.get(done["downloadUrl"], trust_env=False).status_code == 200
    call.emulator.task_result_code = 3
    call.emulator.task_fields = ("taskInfo",)
    assert call.send("POST", "/share/taskDetail", ask).json()["taskInfo"]["taskResultCode"] == 3
    call.emulator.task_fields = ("jobInfo", "taskInfos")
    call.emulator.tasks[task_id].cancelled = True
    assert look()["taskStatus"] == 3
    assert call.send("POST", "/share/taskDetail", {**ask, "shareId": "1"}).json()["code"] == 13000309
    assert call.send("POST", "/share/taskDetail", {"shareId": "1"}).json()["code"] == 13000102


def test_saving(call):
    share_id, _ = link(call)
    wish = {"taskType": 2, "shareId": share_id, "containerId": "S1", "fileIds": ["F1"]}
    without = call.send("POST", "/share/tasks", wish).json()
    assert without["code"] == (13000102 if call.emulator.edition == "carrier" else 0)
    call.emulator.task_seconds = 0
    wish["targetFileId"] = {"fileId": "root", "containerId": "S2"}
    task_id = call.send("POST", "/share/tasks", wish).json()["taskId"]
    done = call.send("POST", "/share/taskDetail", {"taskId": task_id, "shareId": share_id}).json()["jobInfo"]
    assert done["taskStatus"] == 2
    assert "downloadUrl" not in done
    assert call.emulator.share(share_id).saves >= 1
    for change, code in (
        ({"taskType": 3}, 13000102),
        ({"fileIds": []}, 13000102),
        ({"fileIds": ["F9"]}, 13000302),
        ({"containerId": "S9"}, 13000301),
        ({"targetFileId": {"fileId": "root"}}, 13000102),
        ({"shareId": "404"}, 13000309),
    ):
        assert call.send("POST", "/share/tasks", {**wish, **change}).json()["code"] == code


def test_public_calls_are_for_carriers_and_without_credentials(caller):
    call = caller(edition="carrier")
    _, short = link(call, extractCode="31945314")
    _, named = link(call, scope=3)
    nobody = {"authorization": None, "x_user_id": None, "x_date": None}
    visit = {"method": "GET", "path": "/share/public/visit", "params": {"shortUrl": short}}
    assert call.send(**visit, **nobody).json() == {"code": 0, "msg": "success"}
    assert call.send(**visit).json()["code"] == 13000102
    assert call.send(**visit, **nobody, x_hw_agentname=None).json()["code"] == 13000102
    assert call.send(**visit, **nobody, x_traceid="short").json()["code"] == 13000102
    refused = call.send("GET", "/share/public/visit", params={"shortUrl": named}, **nobody).json()
    assert refused["code"] == 13000410
    verify = call.send(
        "POST", "/share/public/verify", {"shortUrl": short, "extractCode": "31945314"}, **nobody
    )
    files = {"shortUrl": short, "kdstoken": verify.json()["kdstoken"]}
    assert len(call.send("POST", "/share/public/files", files, **nobody).json()["files"]) == 3
    assert call.send("POST", "/share/public/files", {"shortUrl": short}, **nobody).json()["code"] == 13000410
    assert caller().send("GET", "/share/public/visit").status_code == 404


def test_enterprise_sessions(caller):
    call = caller()
    fresh = call.send("POST", "/session/refresh", x_session_id="demo-session").json()
    assert fresh["accessToken"].startswith("Bearer+")
    assert call.cancel("x", authorization=fresh["accessToken"]).status_code == 200
    assert call.send("POST", "/session/refresh", x_session_id="other").json()["error_code"] == "APIG.0305"
    signed = call.send("POST", "/session/refresh", x_session_id="demo-session", authorization="HMAC-SHA256 x")
    assert signed.status_code == 401
    assert call.send("POST", "/auth/login", {}).status_code == 404


def test_carrier_sessions(caller):
    call = caller(edition="carrier", token_lifetime=600.0)
    emulator = call.emulator
    wish = {"account": "demo-account", "authType": "1", "password": "demo-password"}
    data = call.send("POST", "/auth/login", wish, authorization=None).json()["data"]
    session = data["sessionInfo"]
    assert data["userInfo"]["userId"] == emulator.user_id
    assert session["accessToken"].startswith("AT ")
    assert (session["expiresIn"], len(session["refreshToken"])) == (600, 48)
    assert abs(int(session["issuedAt"]) / 1000 - emulator.now()) < 60
    assert call.cancel("x", authorization=session["accessToken"]).status_code == 200
    by_code = {"account": "demo-account", "authType": "2", "captchaToken": "123456"}
    assert call.send("POST", "/auth/login", by_code).status_code == 200
    for change, status in (({"password": "no"}, 401), ({"authType": "3"}, 400), ({"account": "nobody"}, 401)):
        assert call.send("POST", "/auth/login", {**wish, **change}).status_code == status
    assert call.send("POST", "/auth/login", wish, x_hw_agentname="other").status_code == 403

    emulator.expire_tokens()
    old = {"refreshToken": session["refreshToken"]}

    def refresh(body=old, authorization=session["accessToken"]):
        return call.send("POST", "/auth/refreshToken", body, authorization=authorization)

    renewed = refresh().json()["data"]["sessionInfo"]
    assert renewed["refreshToken"] == session["refreshToken"]
    assert call.cancel("x", authorization=renewed["accessToken"]).status_code == 200
    emulator.refresh_wraps_session = False
    emulator.rotate_refresh_tokens = True
    assert refresh().json()["data"]["refreshToken"] != session["refreshToken"]
    assert refresh().json()["error_code"] == "APIG.0305"
    assert refresh(authorization="AT wrong").json()["error_code"] == "APIG.0301"
    assert refresh(authorization=None).status_code == 401
    emulator.tokens.lifetime = None
    last = call.send("POST", "/auth/login", wish).json()["data"]["sessionInfo"]
    assert last["expiresIn"] == 1800
