#!/usr/bin/env python3
"""Signate's one command line: brings what it needs, then hands over to Django.

Run by people, CI and git hooks with any Python from 3.11 on. Missing dependencies are installed
into .venv (project/bootstrap.py); unless the environment names servers, PostgreSQL and Redis are
started under .local (project/embedded.py). This file must parse on every older Python 3, so that
those get a sentence instead of a SyntaxError.
"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 -- manage.py is what older versions run into
    sys.exit(
        "Signate needs Python 3.11 or newer, and this is Python {} ({}).\n"
        "Start it with a newer one, for example: python3.12 manage.py {}".format(
            ".".join(map(str, sys.version_info[:2])), sys.executable, " ".join(sys.argv[1:])
        )
    )

ROOT = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 -- parses everywhere

# These read no row and write none. Everything else gets servers.
NEEDS_NO_SERVER = frozenset(
    {
        "check",
        "collectstatic",
        "compilemessages",
        "diffsettings",
        "export_schema",
        "findstatic",
        "help",
        "makemessages",
        "startapp",
        "version",
    }
)


def command_of(arguments: "list[str]") -> str:
    """Return the command that `arguments` name; `help` when they name none."""
    return next((word for word in arguments if not word.startswith("-")), "help")


def needs_servers(arguments: "list[str]") -> bool:
    """Return whether the command line `arguments` (without the program's name) needs servers."""
    command = command_of(arguments)
    asks_for_help = command != "test" and not {"-h", "--help"}.isdisjoint(arguments)
    return command not in NEEDS_NO_SERVER and not asks_for_help


def main() -> None:
    """Run the command line of this process."""
    if ROOT not in sys.path:
        sys.path.insert(0, ROOT)
    if os.name != "posix":
        sys.exit("Signate runs on Linux and macOS; on Windows, use it inside WSL.")
    from project import bootstrap

    bootstrap.ensure_dependencies()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    if needs_servers(sys.argv[1:]):
        from project import embedded

        embedded.ensure_running()
        from project import upkeep

        upkeep.require_current_schema(command_of(sys.argv[1:]))
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
