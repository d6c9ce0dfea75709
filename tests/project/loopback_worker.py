"""A worker that may download from one port of the loopback address, for tests that kill it.

`python -m tests.project.loopback_worker PORT`; everything else is `manage.py worker`.
"""

from __future__ import annotations

import sys

import django
from django.core.management import call_command


def main() -> None:
    """Run it."""
    django.setup()
    from assets.downloads import download_remote
    from assets.network import Network

    allowed = Network(allow=frozenset({("127.0.0.1", int(sys.argv[1]))}))
    download_remote.__kwdefaults__ = {"network": allowed}
    call_command("worker")


if __name__ == "__main__":
    main()
