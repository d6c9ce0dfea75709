"""Signate's tests: they mirror the packages, run as the application role, in random order."""
