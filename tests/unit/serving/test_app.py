"""The application's routes and its documentation."""

from __future__ import annotations

from pathlib import Path

from starlette.routing import Route

from saxflow.serving.api import TUTORIAL_ROUTES
from saxflow.serving.app import application
from saxflow.settings import load_serving_settings

PAGE = (Path(__file__).parents[3] / "docs/http.md").read_text(encoding="utf-8")


def test_every_route_is_documented() -> None:
    app = application(load_serving_settings({}))
    paths = {route.path for route in app.routes if isinstance(route, Route)}
    tutorial = {path for _, path in TUTORIAL_ROUTES}
    assert paths > tutorial
    for path in paths - tutorial:
        assert f" {path.replace('{name:path}', '{name}')}`" in PAGE
    for path in tutorial:
        assert f"{path}`" in PAGE


def test_nothing_is_read_before_it_starts() -> None:
    def wiring() -> object:
        raise AssertionError("settings are read when the application starts")

    application(load_serving_settings({}), wiring)  # type: ignore[arg-type]
