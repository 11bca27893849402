"""Plugins of all tests. Importing them must stay cheap: heavy libraries are imported inside the fixtures."""

pytest_plugins = ["fixtures.database", "fixtures.flights", "fixtures.mlflow_server"]
