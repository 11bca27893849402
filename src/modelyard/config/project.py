"""One model is one folder: ``projects/<name>/model.yaml`` and the code beside it."""

from __future__ import annotations

import hashlib
import importlib
import sys
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from modelyard.config.errors import config_error
from modelyard.config.settings import Settings
from modelyard.config.yaml_file import read_yaml
from modelyard.core.digest import digest_json
from modelyard.core.errors import ConfigError, NotFound
from modelyard.core.value import Finite, ModelName

_PACKAGE = "modelyard_projects"

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
"""The name of a feature, a view or an entity: it becomes a column, and part of a table's name."""

_OF_REQUEST = ("request_id", "key", "event_time", "served_at", "latency_ms", "error", "date")
_OF_ANSWER = ("variant", "version", "release", "rollout", "generation", "score", "other_score", "label", "label_at")
_OF_READING = ("replica", "_file")
RESERVED = frozenset(_OF_REQUEST + _OF_ANSWER + _OF_READING)
"""Columns of the prediction log (``serving.log``), where each feature has a column too."""


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class SourceSpec(_Spec):
    """Where rows come from.

    Exactly one of ``loader`` (``module:function`` in the folder, ``(window: Window) -> DataFrame``) and ``file`` (CSV
    or Parquet, absolute or beside model.yaml). ``event_time`` is when a prediction is asked for, ``known_at`` when the
    outcome is known; both hold UTC. ``settles_days`` is the longest that an outcome takes to be known: later ones are
    not looked for. ``key`` names a row and is what traffic sticks to.
    """

    loader: str = ""
    file: str = ""
    settles_days: int = Field(default=7, ge=0)
    event_time: str
    known_at: str
    key: str

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if bool(self.loader) == bool(self.file):
            raise ValueError(f"exactly one of loader and file; got loader={self.loader!r}, file={self.file!r}")
        return self


class LabelSpec(_Spec):
    """What is predicted. ``depends_on_answer`` says whether serving a prediction changes the outcome: if it does not,
    both versions of a rollout are compared on the same rows (paired)."""

    column: str
    kind: Literal["binary"] = "binary"
    depends_on_answer: bool


class FeatureSpec(_Spec):
    """One input of the model. ``source`` is ``request`` or the name of a Feast feature view."""

    kind: Literal["numeric", "categorical"]
    source: str = Field(alias="from")
    nullable: bool = False
    min: float | None = None
    max: float | None = None
    unit: str = ""


class ViewSpec(_Spec):
    """One feature view: the entity (a key of ``entities``) that its rows are about, and for how many hours a row holds
    (0: for ever). Its features are those that name it in ``from``."""

    entity: str
    ttl_hours: float = Field(ge=0)
    description: str = ""


class NumberSpec(_Spec):
    """A number that may be reported of an answer (a rating, a conversion, a cost), from ``min`` to ``max``."""

    min: Finite
    max: Finite
    description: str = ""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min >= self.max:
            raise ValueError(f"min ({self.min:g}) must be below max ({self.max:g})")
        return self


class ModelSpec(_Spec):
    """``model.yaml``.

    ``entities`` maps each join key of the views to the column of the source (and of the request) that holds it.
    ``owner`` answers for releases, ``rollback_owner`` (by default the same) decides on the way back.
    ``feedback`` names the numbers that clients may report beside the label.
    ``slices`` are features whose values are evaluated one by one, ``groups`` those between which it should be fair.
    ``feature_builder`` makes the views' rows: ``(rows, after, until) -> {view: table}`` gives all with
    ``after < event_timestamp <= until`` (``after`` None: from the first on) from rows that go back ``lookback_days``.
    """

    name: ModelName
    description: str
    owner: str
    rollback_owner: str = ""
    source: SourceSpec
    entities: dict[Name, str] = Field(default_factory=dict)
    label: LabelSpec
    feature_views: dict[Name, ViewSpec] = Field(default_factory=dict)
    features: dict[Name, FeatureSpec] = Field(min_length=1)
    feedback: dict[Name, NumberSpec] = Field(default_factory=dict)
    slices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    feature_builder: str = ""
    lookback_days: float = Field(default=7, ge=0)
    network: str = ""
    bootstrap_as_of: str = ""

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        if taken := sorted(RESERVED & self.features.keys()):
            raise ValueError(f"features may not be called {', '.join(taken)}: the prediction log has such columns")
        return self

    @model_validator(mode="after")
    def _slices_exist(self) -> Self:
        for field, names in (("slices", self.slices), ("groups", self.groups)):
            if unknown := [name for name in names if name not in self.features]:
                known = ", ".join(self.features)
                raise ValueError(f"{field} name no feature: {', '.join(unknown)}; features are {known}")
        return self

    @model_validator(mode="after")
    def _views_exist(self) -> Self:
        for feature in self.features.values():
            if feature.source != "request" and feature.source not in self.feature_views:
                known = ", ".join(("request", *self.feature_views))
                raise ValueError(f"features come from {feature.source!r}, which is no view; views are {known}")
        for name, view in self.feature_views.items():
            if view.entity not in self.entities:
                known = ", ".join(self.entities) or "none"
                raise ValueError(f"view {name!r} is about {view.entity!r}, which is no entity; entities are {known}")
        if self.feature_views and not self.feature_builder:
            raise ValueError("feature_views need a feature_builder, which makes their rows")
        return self

    def of(self, *, kind: str | None = None, source: str | None = None) -> tuple[str, ...]:
        """Names of the features of this kind and from this source, in the order of the file."""
        chosen = self.features.items()
        return tuple(n for n, f in chosen if kind in (None, f.kind) and source in (None, f.source))

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the Feast feature views that are read, in order of first use."""
        return tuple(dict.fromkeys(f.source for f in self.features.values() if f.source != "request"))


class Project:
    """A model's folder, loaded: its spec, its numbers, its code."""

    def __init__(self, folder: Path, spec: ModelSpec, params: dict[str, Any]) -> None:
        self.folder, self.spec, self.params = folder, spec, params

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.name

    def code(self, reference: str) -> Any:
        """The object that ``module:name`` names in this folder.

        Raises:
            ConfigError: the module or the name does not exist.
        """
        module_name, _, attribute = reference.partition(":")
        path = self.folder / f"{module_name}.py"
        known = [p.stem for p in self.folder.glob("*.py")]
        if not path.is_file():
            raise ConfigError("module", module_name, known, where=str(self.folder / "model.yaml"))
        module = _load(self.name, self.folder, module_name)
        if not hasattr(module, attribute):
            public = [n for n in vars(module) if not n.startswith("_")]
            raise ConfigError(reference, attribute, public, where=str(path))
        return getattr(module, attribute)

    @cached_property
    def code_digest(self) -> str:
        """The digest of all files of the folder that can change the model."""
        files = sorted(p for p in self.folder.rglob("*") if p.suffix in {".py", ".yaml"} and p.is_file())
        return digest_json({str(p.relative_to(self.folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})


def _load(project: str, folder: Path, module: str) -> ModuleType:
    """Import a module of a folder as part of a package of its own, so that modules there import one another."""
    package = f"{_PACKAGE}.{project}"
    known = sys.modules.get(package)
    if known is None or list(known.__path__) != [str(folder)]:
        for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
            del sys.modules[name]
        for name, path in ((_PACKAGE, []), (package, [str(folder)])):
            parent = sys.modules.setdefault(name, ModuleType(name))
            parent.__path__ = path
        importlib.invalidate_caches()
    return importlib.import_module(f"{package}.{module}")


def project_folders(settings: Settings) -> dict[str, Path]:
    """Every folder with a ``model.yaml`` under the projects folders, by name; reads no file."""
    found: dict[str, Path] = {}
    for place in settings.projects:
        for path in sorted(place.glob("*/model.yaml")):
            name = path.parent.name
            if name in found:
                raise ConfigError("projects", str(path.parent), f"one folder per model; {name} is also {found[name]}")
            found[name] = path.parent
    return found


def load_project(name: str, settings: Settings) -> Project:
    """Load one model's folder and its section of ``params.yaml``.

    Raises:
        NotFound: there is no such folder.
        ConfigError: ``model.yaml`` or ``params.yaml`` is wrong.
    """
    folders = project_folders(settings)
    if name not in folders:
        raise NotFound("model", name, known=folders, hint=f"`modelyard init {name}` makes one.")
    return _read_project(folders[name], settings)


def read_spec(folder: Path) -> ModelSpec:
    """What a model's folder says of it in ``model.yaml``. Raises ``ConfigError``."""
    where = str(folder / "model.yaml")
    try:
        spec = ModelSpec.model_validate(read_yaml(folder / "model.yaml"))
    except ValidationError as error:
        raise config_error(error, ModelSpec, where=where) from None
    if spec.name != folder.name:
        raise ConfigError("name", spec.name, f"the folder's name, {folder.name!r}", where=where)
    return spec


def _read_project(folder: Path, settings: Settings) -> Project:
    spec = read_spec(folder)
    params_file = folder / "params.yaml" if (folder / "params.yaml").is_file() else settings.params
    params = read_yaml(params_file)
    if spec.name not in params:
        raise ConfigError(spec.name, "<missing>", "a section for this model", where=str(params_file))
    return Project(folder, spec, params[spec.name])
