"""The index that accounts are looked up by their e-mail addresses with."""

import django.db.models.functions.text
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("tenancy", "0012_second_factor")]

    operations = [
        AddIndexConcurrently(
            model_name="user",
            index=models.Index(
                django.db.models.functions.text.Lower("email"), name="users_by_email"
            ),
        ),
    ]
