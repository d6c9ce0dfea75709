"""Tests of tenancy/: who asks, for which tenant, with which permissions."""
