"""Members of a test's site, signed in over HTTP as anyone would be."""

from __future__ import annotations

from uuid import UUID

from application.roles import GrantRole
from application.site import ChangeSettings
from tests.kit.api import Api
from tests.kit.browser import Browser


def administrator(api: Api, name: str = "root") -> Browser:
    """The first account of the site, which administers it."""
    browser = api.browser()
    reply = browser.register(name)
    assert reply.status_code == 200, reply.text
    assert reply.json()["isFirstUser"] is True
    return browser


def member(api: Api, name: str = "alice") -> Browser:
    """An ordinary member of a founded site; registration is opened for him and closed again."""
    api.dispatch(ChangeSettings(changes={"registrationOpen": True}))
    browser = api.browser()
    reply = browser.register(name)
    assert reply.status_code == 200, reply.text
    api.dispatch(ChangeSettings(changes={"registrationOpen": False}))
    return browser


def moderator(api: Api, name: str = "mona") -> Browser:
    """A member who may moderate."""
    browser = member(api, name)
    grant(api, browser, "moderator")
    # A session knows its rights for a second; a new one knows the new right at once.
    assert browser.log_in(name).status_code == 200
    return browser


def grant(api: Api, browser: Browser, role: str) -> None:
    """Give the role, and let it act at once instead of within a second."""
    api.dispatch(GrantRole(account=account_id(browser), role=role, reason="test"))
    token = api.services.cookie.open(browser.cookie or "")
    assert token is not None
    api.services.sessions.forget(token)


def account_id(browser: Browser) -> UUID:
    return UUID(browser.get("/api/me").json()["id"])
