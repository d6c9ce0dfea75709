"""Tests of what Signate withstands."""
