"""The staff's pages: model versions, the ledger of switches, texts and workers."""

from __future__ import annotations

from django.contrib import admin

from generator.admin import ledger, texts, versions, workers  # noqa: F401 (each registers pages)
from generator.web.sign_in import StaffSignInForm

admin.site.login_form = StaffSignInForm
