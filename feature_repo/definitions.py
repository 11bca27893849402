"""What `feast apply` registers: entities, views and services of every model, as its ``model.yaml`` declares them."""

from modelyard.adapters.feast_definitions import definitions
from modelyard.config.project import load_projects
from modelyard.config.settings import Settings

settings = Settings.from_env()
# Feast collects the objects that it finds at module scope.
for project in load_projects(settings):
    for thing in definitions(project, settings):
        globals()[f"{type(thing).__name__}_{thing.name}".replace(".", "_")] = thing
