"""Signate as one process: settings, URLs, command line, and the servers of development."""
