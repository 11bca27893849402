"""Runs the platform: one process specification, an embedded PostgreSQL, a supervisor, a doctor."""
