"""The context functions and what the application role may do with the schema itself."""

from django.db import migrations

from rls.names import APP, BACKUP, LOOKUP, TENANT_SETTING, USER_SETTING

# NULLIF: after a transaction-local value ends the setting reads as '', not as NULL.
FORWARD = f"""
CREATE FUNCTION get_tenant_context() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
  RETURN NULLIF(current_setting('{TENANT_SETTING}', true), '')::uuid;
CREATE FUNCTION get_user_context() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
  RETURN NULLIF(current_setting('{USER_SETTING}', true), '')::uuid;
CREATE FUNCTION set_tenant_context(tenant uuid) RETURNS void LANGUAGE sql
  BEGIN ATOMIC
    SELECT set_config('{TENANT_SETTING}', COALESCE(tenant::text, ''), true);
  END;
REVOKE ALL ON FUNCTION get_tenant_context(), get_user_context(), set_tenant_context(uuid)
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION get_tenant_context(), get_user_context() TO {APP}, {LOOKUP}, {BACKUP};
GRANT EXECUTE ON FUNCTION set_tenant_context(uuid) TO {APP};
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO {APP}, {LOOKUP}, {BACKUP};
"""

BACKWARD = """
DROP FUNCTION set_tenant_context(uuid);
DROP FUNCTION get_user_context();
DROP FUNCTION get_tenant_context();
"""


class Migration(migrations.Migration):
    """Functions first: every policy calls them."""

    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
