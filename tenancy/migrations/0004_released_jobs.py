"""A job that nobody is at work on names no worker."""

from django.db import migrations

# When a worker's row goes, PostgreSQL sets the key of its jobs to NULL as the tables' owner, whom
# row-level security lets write no event; and of a job that waits for its next attempt that update
# would be one. So only a running job names a worker.
FORWARD = """
CREATE FUNCTION release_job() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  NEW.worker_id = NULL;
  RETURN NEW;
END $$;
CREATE TRIGGER jobs_released BEFORE UPDATE OF status ON procrastinate_jobs
  FOR EACH ROW WHEN (NEW.status <> 'doing') EXECUTE FUNCTION release_job();
"""
BACKWARD = """
DROP TRIGGER jobs_released ON procrastinate_jobs;
DROP FUNCTION release_job;
"""


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0003_devices")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
