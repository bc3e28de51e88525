"""Paths of the application."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from generator.web import accounts, actions, probes, views

urlpatterns = [
    path("", views.desk, name="desk"),
    path("generations/", actions.generation_create, name="generation-create"),
    path("generations/<uuid:generation_id>/", views.generation_detail, name="generation-detail"),
    path(
        "generations/<uuid:generation_id>/cancel/",
        actions.generation_cancel,
        name="generation-cancel",
    ),
    path(
        "generations/<uuid:generation_id>/continue/",
        actions.generation_continue,
        name="generation-continue",
    ),
    path(
        "generations/<uuid:generation_id>/delete/",
        actions.generation_delete,
        name="generation-delete",
    ),
    path(
        "generations/<uuid:generation_id>/again/", actions.generation_again, name="generation-again"
    ),
    path("generations/<uuid:generation_id>/export.txt", views.export_text, name="export-text"),
    path("generations/<uuid:generation_id>/export.json", views.export_json, name="export-json"),
    path("history/", views.history, name="history"),
    path("accounts/login/", accounts.SignInView.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("accounts/signup/", accounts.sign_up, name="signup"),
    path("healthz", probes.healthz, name="healthz"),
    path("readyz", probes.readyz, name="readyz"),
]
