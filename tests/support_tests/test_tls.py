import ssl

import httpx
import pytest

from tests.support.http1 import json_reply
from tests.support.threaded import until
from tests.support.tls import Cert, client_context, tls_server


@pytest.mark.parametrize(
    ("cert", "complaint"),
    [
        ("expired", "certificate has expired"),
        ("wrong-host", "IP address mismatch"),
        ("untrusted", "unable to get local issuer"),
    ],
)
async def test_bad_certificates(cert: Cert, complaint: str) -> None:
    async with (
        tls_server(json_reply({}), cert) as server,
        httpx.AsyncClient(base_url=server.url, verify=client_context(), trust_env=False) as client,
    ):
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get("/")
        chain: list[BaseException] = [caught.value]
        while (link := chain[-1].__cause__ or chain[-1].__context__) is not None:
            chain.append(link)
        assert any(isinstance(e, ssl.SSLCertVerificationError) and complaint in str(e) for e in chain)
        await until(lambda: server.open_connections == 0)
        assert server.requests == []
        assert server.connections == 1


async def test_good_certificate_and_callback() -> None:
    async with (
        tls_server(lambda request: json_reply({"size": len(request.body)})) as server,
        httpx.AsyncClient(base_url=server.url, verify=client_context(), trust_env=False) as client,
    ):
        assert (await client.post("/", content=b"x" * 100_000)).json() == {"size": 100_000}
        assert (await client.get(f"https://localhost:{server.port}/")).status_code == 200


def test_plain_client_at_tls_port() -> None:
    with tls_server(json_reply({})) as server:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{server.port}", trust_env=False)
        assert server.requests == []
