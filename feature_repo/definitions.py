"""What `feast apply` registers: entities, views and services of every model, as its ``model.yaml`` declares them."""

from modelyard.adapters.feast_definitions import definitions
from modelyard.config.project import load_project, project_folders
from modelyard.config.settings import Settings

settings = Settings.from_env()
# Feast collects the objects that it finds at module scope.
for name in sorted(project_folders(settings)):
    for thing in definitions(load_project(name, settings), settings):
        globals()[f"{type(thing).__name__}_{thing.name}".replace(".", "_")] = thing
