"""The demo of ``make run``: starts services, replays traffic, answers approvals. Every transition is an Airflow run."""
