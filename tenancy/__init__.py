"""Tenants, people and memberships; who asks, and for which tenant."""
