"""Filters and tags of our templates: harmless foreign text, status lines, controls of forms."""

from __future__ import annotations

from typing import Any

from django import template
from django.forms import BaseForm, BoundField
from django.utils.safestring import SafeString

from generator.web import foreign, status

register = template.Library()
register.filter("isolated", foreign.isolated)
register.filter("tamed", foreign.tamed)
register.filter("visible", foreign.visible)
register.filter("status_line", status.status_line)


@register.filter
def first_wrong(form: BaseForm) -> str:
    """Return the name of the first field with an error, or ""."""
    return next((field.name for field in form.visible_fields() if field.errors), "")


@register.simple_tag
def control(field: BoundField) -> SafeString:
    """Return a field's control. In a form with errors the first wrong field gets the focus.

    If only the form as a whole is wrong, that is the first field, described by the error.
    """
    form = field.form
    if not form.errors:
        return field.as_widget()
    leads = field.name == (first_wrong(form) or form.visible_fields()[0].name)
    attributes: dict[str, Any] = {"autofocus": leads}
    if leads and form.non_field_errors():
        attributes |= {"aria-invalid": "true", "aria-describedby": "form-errors"}
    return field.as_widget(attrs=attributes)
