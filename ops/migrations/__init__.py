"""The permanent schemas of the database and the login that may only append to them."""

from ops.migrations.migrate import DatabaseTooNew as DatabaseTooNew
from ops.migrations.migrate import Migrated as Migrated
from ops.migrations.migrate import MigrationError as MigrationError
from ops.migrations.migrate import ServerTooOld as ServerTooOld
from ops.migrations.migrate import migrate as migrate
from ops.migrations.roles import APP_ROLE as APP_ROLE
from ops.migrations.roles import app_conninfo as app_conninfo
