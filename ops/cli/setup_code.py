"""`trackarr setup-code`."""

from __future__ import annotations

import sys

import psycopg

from ops.migrations.server import log_facts
from ops.run_state import read_run_state
from ops.settings import load_settings
from ops.setup_code import asks_setup_code, find_setup_code


def command() -> None:
    """Show the code the first registration needs; nothing on standard output where there is none."""
    settings = load_settings()
    running = read_run_state(settings.storage.data_dir)
    code = find_setup_code(settings)
    if not asks_setup_code(settings):
        _say("No code is asked for: only this machine can reach the API.")
    elif running is not None and _has_begun(running.urls.app_url):
        _say("The site has its first account: no code is asked for any more.")
    elif code is None:
        _say("There is no code yet: the first start of Trackarr on this data folder makes it.")
    else:
        print(code)


def _has_begun(url: str) -> bool:
    try:
        facts = log_facts(url)
    except psycopg.Error:
        # It may be asked for: better shown than kept back.
        return False
    return facts is not None and facts.begun


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
