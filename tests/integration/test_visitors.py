"""A visitor is identified by their cookie and by nothing else."""

from __future__ import annotations

import re
import uuid

import requests

from tests.stack import Stack
from tests.visitor import Visitor

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


def test_a_saved_page_does_not_give_access_to_its_visitors_texts(stack: Stack) -> None:
    visitor, thief = stack.visitor(), stack.visitor()
    saved = visitor.get("/").text
    key = uuid.uuid4().hex
    mine = visitor.submit(prompt="My secret diary", length=10, client_key=key)
    (name,) = (cookie.name for cookie in visitor.http.cookies if cookie.name.startswith("csrf"))
    token = TOKEN.findall(saved)[0]
    thief.http.cookies.set(name, token)
    sent = {
        "prompt": "My secret diary",
        "length": 10,
        "client_key": key,
        "csrfmiddlewaretoken": token,
    }
    theirs = thief.post(
        "/generations/", sent, headers={"Accept": "application/json", "X-CSRFToken": token}
    )
    assert theirs.status_code == 201
    assert theirs.json()["id"] != mine["id"]
    assert mine["id"] not in thief.get("/history/").text
    assert thief.get(mine["url"]).status_code == 404
    assert visitor.get(mine["url"]).status_code == 200


def test_the_first_page_sets_the_visitor_cookie(stack: Stack) -> None:
    answer = stack.visitor().get("/")
    (cookie,) = (
        line for line in answer.raw.headers.getlist("Set-Cookie") if line.startswith("visitor-")
    )
    assert re.search(r"; HttpOnly;.*; Path=/; SameSite=Lax$", cookie)
    assert "Cookie" in answer.headers["Vary"]
    assert {"private", "no-store"} <= {*answer.headers["Cache-Control"].split(", ")}
    assert not [
        line
        for line in requests.get(stack.base_url + "/healthz", timeout=30).headers
        if line == "Set-Cookie"
    ]


def test_a_forged_cookie_is_replaced_by_a_new_visitors(stack: Stack) -> None:
    visitor = stack.visitor()
    mine = visitor.submit(length=10)
    name, value = next(
        (cookie.name, cookie.value or "")
        for cookie in visitor.http.cookies
        if cookie.name.startswith("visitor-")
    )
    own, signature = value.split(":")
    for forged in (own, f"{own}:", f"{own}:{signature[::-1]}", f"{uuid.uuid4().hex}:{signature}"):
        other = Visitor(stack.base_url)
        other.http.cookies.set(name, forged)
        assert other.get(mine["url"]).status_code == 404
        other.get("/")
        values = {cookie.value for cookie in other.http.cookies if cookie.name == name}
        assert len(values - {forged}) == 1, "a new visitor's cookie"
    assert visitor.get(mine["url"]).status_code == 200


def test_visitors_need_no_session(stack: Stack) -> None:
    before = stack.rows("SELECT COUNT(*) AS n FROM django_session")
    visitor = stack.visitor()
    visitor.submit(length=10)
    visitor.get("/history/")
    assert stack.rows("SELECT COUNT(*) AS n FROM django_session") == before
