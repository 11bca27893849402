"""Airflow's side of Modelyard: what the DAG files share. Everything that decides is in ``modelyard.flows``."""
