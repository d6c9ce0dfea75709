"""Which alias migrations run on: the owner's, never the application's."""

from django.conf import settings


class OwnerMigrates:
    """Database router: schema changes go to `owner`; reads and writes stay where they are."""

    def allow_migrate(self, db: str, app_label: str, **_hints: object) -> bool | None:
        """Return whether `db` may be migrated: only the owner's alias, where there is one."""
        del app_label
        if db == "worker":
            return False
        return db == "owner" if "owner" in settings.DATABASES else None
