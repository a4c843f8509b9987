"""Where files are looked for, and downloads that keep nothing but the right content."""

from __future__ import annotations

import email
import gzip
import hashlib
import io
import urllib.request
import urllib.response
from urllib.error import URLError

import pytest

from bigmodel_core.data.files import RemoteFile, cache_folder, download, locate
from bigmodel_core.errors import ConfigError, DataError

CONTENT = b"the content of the file " * 1000
HASH = hashlib.sha256(CONTENT).hexdigest()
URLS = ("https://one.example/values.gz", "https://two.example/values.gz")


def remote(**fields) -> RemoteFile:
    values = {
        "name": "values",
        "urls": URLS,
        "sha256": HASH,
        "size": len(CONTENT),
        "variants": ("values.idx",),
    }
    return RemoteFile(**{**values, **fields})


def serve(**by_host):
    """An opener that serves bytes, or raises an error, by the first word of the host."""
    asked = []

    def opener(url):
        asked.append(url)
        answer = by_host[url.removeprefix("https://").split(".")[0]]
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    opener.asked = asked
    return opener


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """An empty cache, and no folder named by the environment."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))
    monkeypatch.delenv("BIGMODEL_DATA_DIR", raising=False)
    return tmp_path


def offline():
    return serve(one=URLError("no network"), two=URLError("no network"))


def put(folder, name="values", content=CONTENT):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("name", ["values", "values.gz", "values.idx", "values.idx.gz"])
def test_a_named_folder_is_searched_for_all_names(places, name):
    path = put(places / "mine", name)
    assert locate("toy", [remote()], places / "mine") == {"values": path}


def test_a_named_folder_is_the_only_place(places):
    put(places / "cache" / "data" / "toy")
    (places / "mine").mkdir()
    with pytest.raises(DataError, match=r"mine: no values in it"):
        locate("toy", [remote()], places / "mine", opener=serve(one=CONTENT))


def test_a_named_folder_that_is_not_there_is_named(places):
    with pytest.raises(DataError, match="nowhere: there is no such file or folder"):
        locate("toy", [remote()], places / "nowhere")


@pytest.mark.parametrize("folder", ["fashion-toy", "fashion_toy"])
def test_the_environment_names_a_folder_of_folders(places, monkeypatch, folder):
    path = put(places / "sets" / folder)
    put(places / "cache" / "data" / "fashion-toy")
    monkeypatch.setenv("BIGMODEL_DATA_DIR", str(places / "sets"))
    assert locate("fashion-toy", [remote()]) == {"values": path}


def test_an_incomplete_folder_in_the_environment_is_an_error(places, monkeypatch):
    put(places / "sets" / "toy")
    monkeypatch.setenv("BIGMODEL_DATA_DIR", str(places / "sets"))
    with pytest.raises(DataError, match="not complete there: no others"):
        locate("toy", [remote(), remote(name="others", variants=())], opener=offline())


def test_the_cache_comes_after_the_environment(places, monkeypatch):
    monkeypatch.setenv("BIGMODEL_DATA_DIR", str(places / "sets"))
    path = put(places / "cache" / "data" / "toy")
    assert locate("toy", [remote()], opener=offline()) == {"values": path}


@pytest.mark.parametrize("served", [CONTENT, gzip.compress(CONTENT, mtime=0)], ids=["plain", "gzip"])
def test_a_download_is_unpacked_into_the_cache(places, served):
    found = locate("toy", [remote()], opener=serve(one=served))
    assert found == {"values": places / "cache" / "data" / "toy" / "values"}
    assert found["values"].read_bytes() == CONTENT
    assert cache_folder("toy") == places / "cache" / "data" / "toy"


def test_a_download_happens_once():
    opener = serve(one=CONTENT)
    locate("toy", [remote()], opener=opener)
    locate("toy", [remote()], opener=opener)
    assert len(opener.asked) == 1


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x1f",
        CONTENT[:-1],
        CONTENT + b"x",
        CONTENT[:-1] + b"?",
        gzip.compress(CONTENT, mtime=0)[:-20],
        gzip.compress(CONTENT, mtime=0)[:50] + b"\0" * 50 + gzip.compress(CONTENT, mtime=0)[100:],
        gzip.compress(b"\0" * 50_000_000, mtime=0),
        b"<html>not found</html>",
        URLError("no network"),
        TimeoutError("timed out"),
    ],
    ids=[
        *("nothing", "one byte", "too short", "too long", "one byte wrong", "torn gzip", "damaged gzip"),
        *("oversized gzip", "a web page", "no network", "timeout"),
    ],
)
def test_content_that_is_wrong_is_never_kept(places, bad):
    with pytest.raises(DataError, match=r"cannot download values") as caught:
        download(remote(urls=URLS[:1]), places / "folder", opener=serve(one=bad))
    assert URLS[0] in str(caught.value)
    assert not (places / "folder").exists() or not list((places / "folder").iterdir())


def test_a_stream_without_end_is_cut_off(places):
    class Endless:
        given = 0

        def read(self, size):
            self.given += size
            assert self.given < 10_000_000, "read on after more than the expected bytes"
            return b"\0" * size

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    with pytest.raises(DataError, match=f"more than the {len(CONTENT)} bytes expected"):
        download(remote(urls=URLS[:1]), places / "folder", opener=lambda url: Endless())
    assert not list((places / "folder").iterdir())


def test_a_short_download_says_how_short(places):
    with pytest.raises(DataError, match=f"{len(CONTENT) - 1} bytes, expected {len(CONTENT)}"):
        download(remote(urls=URLS[:1]), places, opener=serve(one=CONTENT[:-1]))


def test_the_next_address_is_tried(places):
    opener = serve(one=b"wrong", two=CONTENT)
    assert download(remote(), places, opener=opener).read_bytes() == CONTENT
    assert opener.asked == list(URLS)


def test_without_a_network_the_message_says_where_to_put_the_files(places):
    with pytest.raises(DataError) as caught:
        locate("toy", [remote()], opener=offline())
    assert "no network" in str(caught.value)
    assert f"put the file (gzipped or not) into {places / 'cache' / 'data' / 'toy'}" in str(caught.value)
    assert "--data-dir" in str(caught.value)


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(places):
    (places / "taken").write_text("a file")
    with pytest.raises(DataError):
        download(remote(), places / "taken", opener=serve(one=CONTENT, two=CONTENT))


@pytest.mark.parametrize("name", ["", ".", "..", "../values", "/etc/values", "a/b", "a\\b"])
def test_names_that_lead_out_of_the_folder_are_refused(name):
    with pytest.raises(ConfigError, match="plain file name"):
        remote(name=name)


@pytest.mark.parametrize("url", ["http://one.example/values", "file:///etc/passwd", "values"])
def test_addresses_that_are_not_https_are_refused(url):
    with pytest.raises(ConfigError, match="not an HTTPS address"):
        remote(urls=(url,))


def test_a_redirect_away_from_https_is_refused(places, monkeypatch):
    def redirect(self, request):
        headers = email.message_from_string("Location: http://one.example/plain\n\n")
        response = urllib.response.addinfourl(io.BytesIO(b""), headers, request.full_url, 302)
        response.msg = "Found"
        return response

    def plain(self, request):
        raise AssertionError("asked without encryption")

    monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", redirect)
    monkeypatch.setattr(urllib.request.HTTPHandler, "http_open", plain)
    with pytest.raises(DataError, match="not an HTTPS address"):
        download(remote(), places)
