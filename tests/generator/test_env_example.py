"""`.env.example` shows every setting with its default, and nothing else."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from django.conf import settings

from charrnn_site.env import DECLARED

LINES = (Path(settings.BASE_DIR) / ".env.example").read_text().splitlines()
SHOWN = {match[1]: match[2] for line in LINES if (match := re.fullmatch(r"#([A-Z_]+)=(.*)", line))}


CONTAINERS_ONLY = {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}


def test_every_setting_is_shown() -> None:
    assert sorted(SHOWN) == sorted({*DECLARED, *CONTAINERS_ONLY})


def test_the_defaults_are_those_of_the_code() -> None:
    assert {
        name: default for name, default in SHOWN.items() if name not in CONTAINERS_ONLY
    } == DECLARED


def test_what_docker_compose_reads_is_shown() -> None:
    asked = re.findall(
        r"\$\{([A-Z_]+)", (Path(settings.BASE_DIR) / "docker-compose.yml").read_text()
    )
    assert {*CONTAINERS_ONLY} <= {*asked} <= {*SHOWN}


def test_nothing_is_set_by_a_plain_copy() -> None:
    assert [line for line in LINES if line and not line.startswith("#")] == []


def test_every_setting_has_a_comment_above_it() -> None:
    bare = []
    for above, line in pairwise(LINES):
        if re.match(r"#[A-Z_]+=", line) and not above.startswith(
            "#"
        ):  # a comment, or a sibling it shares one with
            bare.append(line)
    assert bare == []
