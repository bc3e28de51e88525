"""A value of the environment that does not parse stops the start; the message names it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from charrnn_site import env
from tests.environment import isolated_environment, manage


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a test declares from other tests."""
    monkeypatch.setattr(env, "DECLARED", {})


@pytest.mark.parametrize("word", ["1", "true", "True", "YES", "on", " on "])
def test_words_for_true(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("FLAG", word)
    assert env.boolean("FLAG", False) is True


@pytest.mark.parametrize("word", ["0", "false", "No", "OFF"])
def test_words_for_false(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("FLAG", word)
    assert env.boolean("FLAG", True) is False


@pytest.mark.parametrize(
    ("read", "value", "message"),
    [
        (lambda: env.boolean("X", False), "maybe", "X must be true or false, not 'maybe'"),
        (lambda: env.integer("X", 1), "1.5", "X must be a whole number, not '1.5'"),
        (lambda: env.integer("X", 1, minimum=1), "0", "X must be at least 1, not 0"),
        (
            lambda: env.integer("X", 1, maximum=65_535),
            "65536",
            "X must be at most 65535, not 65536",
        ),
        (lambda: env.choice("X", "a", ("a", "b")), "c", "X must be one of a, b, not 'c'"),
    ],
)
def test_a_wrong_value_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], Any], value: str, message: str
) -> None:
    monkeypatch.setenv("X", value)
    with pytest.raises(ImproperlyConfigured) as caught:
        read()
    assert str(caught.value) == message


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("X", "  ")
    assert env.text("X", "default") == "default"
    assert env.integer("X", 7) == 7
    assert env.boolean("X", True) is True
    assert env.path("X", tmp_path, "shown") == tmp_path


def test_items_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "a, b,,c ")
    assert env.items("X") == ["a", "b", "c"]


def test_a_path_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("X", "state")
    assert env.path("X", tmp_path, "shown") == tmp_path / "state"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("", ""),
        ("/", ""),
        ("/charrnn", "/charrnn"),
        ("/charrnn/", "/charrnn"),
        ("/a/b-c", "/a/b-c"),
    ],
)
def test_a_path_for_the_site(monkeypatch: pytest.MonkeyPatch, value: str, path: str) -> None:
    monkeypatch.setenv("X", value)
    assert env.path_prefix("X") == path


@pytest.mark.parametrize(
    "value", ["charrnn", "//charrnn", "/a b", "/a?b", "/a#b", "/é", "https://x/y", "/a\n"]
)
def test_a_bad_path_for_a_site_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr(env, "text", lambda name: value)
    with pytest.raises(ImproperlyConfigured, match="X must be a path like /charrnn, not"):
        env.path_prefix("X")


def test_reading_a_variable_declares_it_with_its_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NUMBER", "5")
    env.integer("NUMBER", 3)
    env.path("FOLDER", tmp_path, "data/var")
    assert env.DECLARED == {"NUMBER": "3", "FOLDER": "data/var"}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"PORT": "abc"}, "CharRNN Live cannot start: PORT must be a whole number, not 'abc'"),
        ({"PORT": "70000"}, "CharRNN Live cannot start: PORT must be at most 65535, not 70000"),
        (
            {"ENGINE_MAX_STREAMS": "5000"},
            "CharRNN Live cannot start: ENGINE_MAX_STREAMS must be at most 4096, not 5000",
        ),
        (
            {"ENGINE_THREADS": "257"},
            "CharRNN Live cannot start: ENGINE_THREADS must be at most 256, not 257",
        ),
        (
            {"ENGINE_STEP": "abacus"},
            "CharRNN Live cannot start: ENGINE_STEP must be one of onnx, torch, not 'abacus'",
        ),
    ],
)
def test_a_command_with_a_wrong_setting_prints_one_sentence(
    tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    done = refused(isolated_environment(tmp_path, settings))
    assert done.stderr.strip() == sentence


def test_a_state_folder_below_a_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = refused(isolated_environment(tmp_path / "file" / "var"))
    assert done.stderr.strip() == (
        f"CharRNN Live cannot start: DATA_DIR {tmp_path}/file/var cannot be used "
        "(Not a directory); choose another folder."
    )


def refused(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Return a command that ended with exit code 1 and said nothing on standard output."""
    done = manage(environment, "doctor", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done
