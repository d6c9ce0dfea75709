"""Tests of rls."""
