"""Airflow's side of Modelyard: what the DAG files share. Everything that decides is in ``modelyard.flows``."""

REPORTS = "/modelyard/reports"
"""Where the plugin serves the reports, below Airflow's own address."""
RUNS = "/modelyard/runs"
"""Where the plugin serves a page for each run."""
