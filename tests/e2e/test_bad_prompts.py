"""Markup and template syntax in prompts: shown as text everywhere, with no CSP violation."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.pages import begin, exported, prompt_field, wait_for_end

LISTEN = (
    "addEventListener('securitypolicyviolation', event => reportViolation(event.violatedDirective))"
)

PROMPTS: dict[str, str] = {
    "script": "<script>document.title = 'hacked'</script>",
    "end of the element": "</span></textarea></title><script>document.title = 'hacked'</script>",
    "image with a handler": "<img src=x onerror=\"document.title = 'hacked'\">",
    "picture in SVG": "<svg onload=\"document.title = 'hacked'\">"
    "<style>body { display: none }</style></svg>",
    "template syntax": "{{ 7|add:7 }}{% debug %}{# gone #} ${document.title = 'hacked'}"
    " {{{ constructor }}}",
    "entities": "&lt;b&gt; &amp;amp; &#x3c;script&#x3e;",
    "attribute": "\" autofocus onfocus=\"document.title = 'hacked'\" x='",
    "address": "javascript:document.title='hacked'",
    "combining flood": "Z" + "\u0488" * 900,
    "from right to left": "\u202egnp.exe\u202c \u2066\u2067",
}


@pytest.fixture
def violations(context: BrowserContext) -> list[str]:
    """What the policy makes the browser refuse, on every page that it opens from now on."""
    reported: list[str] = []
    context.expose_function("reportViolation", lambda directive: reported.append(directive))
    context.add_init_script(LISTEN)
    return reported


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_is_shown_as_text(page: Page, violations: list[str], name: str) -> None:
    prompt = PROMPTS[name]
    begin(page, prompt, length=20)
    expect(page.locator("[data-prompt]")).to_have_text(prompt, use_inner_text=False)
    wait_for_end(page)
    address = page.url
    assert exported(page)["prompt"] == prompt
    for path in (address, "/history/", "/"):
        page.goto(path)
        shown = page.locator(".prompt").all_text_contents()
        assert any(text.startswith(prompt[:60]) for text in shown)  # lists cut it
        unharmed(page)
    page.goto(f"/?from={address.rstrip('/').rsplit('/', 1)[1]}")
    expect(prompt_field(page)).to_have_value(prompt)
    unharmed(page)
    page.goto("/history/")
    page.get_by_label("Search in prompts and texts").fill(prompt)
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_label("Search in prompts and texts")).to_have_value(prompt)
    expect(page.locator("[data-row]")).to_have_count(1)
    unharmed(page)
    assert violations == []


def unharmed(page: Page) -> None:
    """Check that the page has its title, and no element that a prompt could have brought."""
    assert "CharRNN Live" in page.title()
    assert page.locator("main script, main img, main svg, main style").count() == 0


def test_a_violation_is_counted(page: Page, violations: list[str], problems: list[str]) -> None:
    page.goto("/")
    page.evaluate(
        """const script = document.createElement("script");
           script.textContent = "document.title = 1";
           document.body.append(script);"""
    )
    page.wait_for_function("document.scripts.length > 0")  # the page reports meanwhile
    assert violations == ["script-src-elem"]
    assert problems
    problems.clear()
