"""`bigmodel runs serve`: pages that show runs while they train, and nothing but runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.test_runs_command import EPOCHS, make_run

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("httpx", reason="Starlette's test client needs it")


@pytest.fixture
def client(tmp_path: Path) -> Any:
    """A browser that asks for the runs a and b."""
    from starlette.testclient import TestClient

    from bigmodel_core.reporting.live import live_app

    make_run(tmp_path / "runs/a", started="2026-02-01T00:00:00+00:00")
    make_run(tmp_path / "runs/b", seed=7, epochs=EPOCHS[:1], status="running")
    return TestClient(live_app(tmp_path / "runs"), base_url="http://localhost")


def test_the_list_names_all_runs_and_leads_to_them(client: Any) -> None:
    page = client.get("/").text
    assert re.findall(r'<a href="(/run/[^"]+)">(\w+)</a>', page) == [("/run/a", "a"), ("/run/b", "b")]
    assert "val_accuracy 0.8" in page and "3/3" in page


def test_the_list_can_be_filtered_and_ordered(client: Any) -> None:
    page = client.get("/", params={"where": "seed=7; epochs<3"}).text
    assert "/run/b" in page and "/run/a" not in page
    page = client.get("/", params={"sort": "val_loss"}).text
    assert page.index("/run/a") < page.index("/run/b")
    wrong = client.get("/", params={"where": "<script>alert(1)</script>"})
    assert wrong.status_code == 400 and "is no condition" in wrong.text and "<script>alert" not in wrong.text


def test_a_run_is_shown_as_it_is_now(client: Any, tmp_path: Path) -> None:
    before = client.get("/run/b").text
    with open(tmp_path / "runs/b/metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({**EPOCHS[1], "val_accuracy": 0.7125}) + "\n")
    after = client.get("/run/b").text
    assert "0.7125" in after and "0.7125" not in before and "2/3" in after


def test_pages_ask_for_themselves_again_by_a_script_of_the_server_alone(client: Any) -> None:
    answer = client.get("/run/a")
    assert '<script src="/live.js" defer></script>' in answer.text
    assert "script-src 'self'; connect-src 'self'" in answer.text
    assert "setInterval" in client.get("/live.js").text
    assert "http" not in re.sub(r"http://www.w3.org/\S+|http-equiv", "", answer.text)


def test_runs_are_compared(client: Any) -> None:
    page = client.get("/compare?run=a&run=b").text
    assert "2 runs compared" in page and "seed" in page
    assert client.get("/compare?run=a").status_code == 400


def test_programs_get_json(client: Any) -> None:
    assert [run["name"] for run in client.get("/api/runs").json()] == ["a", "b"]
    assert [logs["epoch"] for logs in client.get("/api/runs/a").json()["logs"]] == [1, 2, 3]
    assert client.get("/api/runs/c").status_code == 404


def test_nothing_but_runs_and_their_pages_is_given(client: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/run.json").write_text("{}", "utf-8")
    (tmp_path / "runs/a/report.html").write_text("<p>told</p>", "utf-8")
    assert client.get("/run/a/report.html").text == "<p>told</p>"
    for address in ("a/run.json", "..%2Fsecret", "a/..%2F..%2Fsecret%2Frun.json", "b/report.html"):
        assert client.get(f"/run/{address}").status_code == 404
    assert client.post("/run/a").status_code == 405


def test_another_host_name_is_refused(client: Any) -> None:
    """Else a page elsewhere could have its own name lead here, and read the runs."""
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400


def test_the_command_listens_where_it_says(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    make_run(tmp_path / "runs/a")
    command = [sys.executable, "-m", "bigmodel_core.cli", "runs", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            told = json.loads("".join(server.stdout.readline() for _ in range(4)))
            with urllib.request.urlopen(f"{told['address']}/api/runs", timeout=30) as answer:
                assert json.load(answer)[0]["name"] == "a"
        finally:
            server.kill()


def test_a_port_in_use_and_a_missing_folder_are_wrong_usage(bigmodel: Command) -> None:
    import socket

    pytest.importorskip("uvicorn")
    assert "there is no such folder" in bigmodel("runs", "serve", "nowhere").err
    Path("runs").mkdir()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = bigmodel("runs", "serve", "--port", other.getsockname()[1])
    assert result.code == 2 and "cannot listen" in result.err


def test_a_missing_package_is_a_sentence(bigmodel: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("runs").mkdir()
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = bigmodel("runs", "serve")
    assert result.code == 1 and 'pip install "bigmodel[serve]"' in result.err
