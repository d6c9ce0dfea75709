"""The names the wall is built from: roles, settings, functions, the column.

Everything else in rls/ spells them through here, so that a reader can see at a glance what exists
in the database.
"""

TENANT_COLUMN = "tenant_id"
TENANT_SETTING = "app.current_tenant_id"
USER_SETTING = "app.current_user_id"

# Owns every table; nobody logs in as it.
OWNER = "signage_owner"
# Migrations run as it: member of the owner, BYPASSRLS where the platform grants that.
MAINTENANCE = "signage_maintenance"
# Every web process, task, command and test: owns nothing, obeys the wall.
APP = "signage_app"
# Owns the SECURITY DEFINER functions; reads only the columns they were granted.
LOOKUP = "signage_lookup"
# Takes jobs from the queue, across tenants; reaches no tenant's rows.
WORKER = "signage_worker"
# pg_dump: reads everything, writes nothing.
BACKUP = "signage_backup"

WALL_POLICY = "tenant_wall"
ACCESS_POLICY = "tenant_access"
