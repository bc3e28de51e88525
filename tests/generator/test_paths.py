"""Odd names of the project folder and the state folder.

Each name works, or is refused in one sentence before anything is written.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from charrnn_site import env
from generator.operations import own_redis, processes
from tests.environment import isolated_environment, manage, project_copy

# Prints where the settings put the database and the registry.
WHERE = """
import json
from django.conf import settings
print(json.dumps([settings.DATABASES["default"]["NAME"], settings.MLFLOW_TRACKING_URI]))
"""

FITTING = [
    "a#1",
    "a b",
    "it's",
    "a;b,c:d",
    "a&b=c+d@e",
    "a$HOME`b`",
    "a]{b}(c)<d>|!",
    "-a",
    "~a",
    "file:a",
    "été 中文 ☃ \u3000",
    "a\u202eb",
    "x" * 250,
]
REFUSED = {
    "a%b": "'%'",
    "a%20b": "'%'",
    "a?b": "'?'",
    "a*b": "'*'",
    "[a]": "'['",
    'a"b': "'\"'",
    "a\\b": "'\\\\'",
    "a\nb": "'\\n'",
    "a\tb": "'\\t'",
    "a\x7fb": "'\\x7f'",
    "a\udcffb": "'\\udcff'",
}
OTHERS = {
    "~nobody-of-that-name/x": "cannot be used (Could not determine home directory)",
    "loop": "cannot be used (Symlink loop from ",
    " /tmp/x": "begins or ends with a blank",
    "/tmp/x ": "begins or ends with a blank",
}


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after each test the settings that it declares."""
    monkeypatch.setattr(env, "DECLARED", {})


@pytest.mark.parametrize("name", FITTING)
def test_a_folder_of_this_name_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("X", str(tmp_path / name.strip()))
    assert env.path("X", tmp_path, "shown") == tmp_path / name.strip()


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_of_this_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("X", str(tmp_path / name / "var"))
    with pytest.raises(ImproperlyConfigured) as refused:
        env.path("X", tmp_path, "shown")
    named = str(tmp_path / name / "var")
    assert str(refused.value) == (
        f"X {named!r} has {REFUSED[name]} in its name, which not every part of it can read; "
        "choose another."
    )


@pytest.mark.parametrize("value", OTHERS)
def test_a_folder_that_cannot_be_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setenv("X", str(tmp_path / "loop") if value == "loop" else value)
    with pytest.raises(ImproperlyConfigured, match="; choose another folder") as refused:
        env.path("X", tmp_path, "shown")
    assert OTHERS[value] in str(refused.value)


@pytest.mark.parametrize("name", ["a#1", "file:it's; a {b} $c `d` ☃"])
def test_the_database_lies_inside_its_folder(tmp_path: Path, name: str) -> None:
    environment = isolated_environment(tmp_path / name, {"SECRET_KEY": ""})
    database, registry = json.loads(manage(environment, "shell", "-v", "0", "-c", WHERE).stdout)
    assert database == str(tmp_path / name / "db.sqlite3")
    assert registry == f"sqlite:///{tmp_path / name / 'mlflow.db'}"
    assert listed(tmp_path) == [name]


def test_a_folder_that_is_refused_is_not_made(tmp_path: Path) -> None:
    done = manage(isolated_environment(tmp_path / "50%" / "var"), "check", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("CharRNN Live cannot start: DATA_DIR ")
    assert listed(tmp_path) == []


def test_two_copies_with_a_hash_sign_use_two_databases(tmp_path: Path) -> None:
    for number in (1, 2):
        home = project_copy(tmp_path / f"{number}" / f"a#{number}")
        manage(isolated_environment(tmp_path, {"DATA_DIR": ""}), "migrate", "-v", "0", home=home)
        assert (home / "data" / "var" / "db.sqlite3").stat().st_size > 0
        assert listed(home.parent) == [home.name]


def test_a_project_in_a_folder_that_is_refused(tmp_path: Path) -> None:
    home = project_copy(tmp_path / "50%")
    done = manage(isolated_environment(tmp_path, {"DATA_DIR": ""}), "check", check=False, home=home)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"CharRNN Live cannot start: The project's folder {str(home)!r} has '%' in its name, "
        "which not every part of it can read; choose another.\n"
    )
    assert not (home / "data" / "var").exists()


@pytest.mark.parametrize("name", ["a#b c", "a'b", "{a}]", "a$b`c`", "中文", "a;b #c"])
def test_the_address_of_the_folder_reaches_redis_unchanged(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    own_redis.prepare(folder)
    environment = processes.environment(
        {}, data_dir=folder, host="127.0.0.1", port=8000, max_streams=1, redis_server="redis-server"
    )
    assert processes.command("redis", environment) == ["redis-server", str(folder / "redis.conf")]
    assert f'dir "{folder}"\n' in (folder / "redis.conf").read_text()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:////tmp/a#1/db.sqlite3", "DATABASE_URL holds a #"),
        ("sqlite:////tmp/a?1/db.sqlite3", "DATABASE_URL holds a ?"),
        ("postgres://me:pass#word@host/name", "DATABASE_URL holds a #"),
    ],
)
def test_an_address_of_a_database_that_would_be_cut_is_refused(
    tmp_path: Path, url: str, sentence: str
) -> None:
    done = manage(isolated_environment(tmp_path, {"DATABASE_URL": url}), "check", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"CharRNN Live cannot start: {sentence}")
    assert "pass" not in done.stderr


def listed(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]
