"""`trackarr migrate`."""

from __future__ import annotations

from ops.servers import connected, migrate_to
from ops.settings import load_settings


def command() -> None:
    """Bring the database to the version of this program; DATABASE_URL must be the owner's login."""
    settings = load_settings()
    with connected(settings) as urls:
        migrated = migrate_to(urls.owner_url, settings)
    print(f"The database is at version {migrated.version}.")
    if not migrated.protected:
        print("The log is not protected from the login the processes use; see docs/operations.md.")
