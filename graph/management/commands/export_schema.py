"""Print the schema for the file schema.graphql, which is committed and checked for drift."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management import call_command
from django.core.management.base import BaseCommand
from strawberry_django.management.commands import export_schema

if TYPE_CHECKING:
    from argparse import ArgumentParser

# ESLint's own way of saying that a rule does not fit, in the file it is about.
HEADER = """\
# Printed by `manage.py export_schema graph.schema:schema --path schema.graphql`; not edited.
#
# Connections, edges, payloads and user errors have no identity of their own:
# eslint-disable @graphql-eslint/strict-id-in-types
# Lists of numbers, tags and errors are lists, not connections:
# eslint-disable @graphql-eslint/relay-edge-types
# Asset.assetId is Anthias's word, User.username everybody's:
# eslint-disable @graphql-eslint/no-typename-prefix

"""


class Command(BaseCommand):
    """In the place of strawberry_django's command of this name, which it calls for the schema."""

    help = "Print the GraphQL schema, or write it to --path"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what the original takes."""
        parser.add_argument("schema", help="where the schema is: graph.schema:schema")
        parser.add_argument("--path", type=Path, help="the file to write; else it is printed")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print or write the header and the schema."""
        del args
        printed = StringIO()
        call_command(export_schema.Command(stdout=printed), options["schema"])
        text = f"{HEADER}{printed.getvalue().rstrip()}\n"
        if options["path"]:
            options["path"].write_text(text, encoding="utf-8")
        else:
            self.stdout.write(text, ending="")
