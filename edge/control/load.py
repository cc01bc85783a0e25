"""From a directory of YAML files to one snapshot, or to every error in them at once."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edge.control.assemble import assemble
from edge.control.certificate_files import check_edge_certificates, check_origin_certificates
from edge.control.checks import (
    Problem,
    check_device_types,
    check_dials,
    check_edge,
    check_grants,
    check_origins,
    check_routes,
)
from edge.control.dials_file import DialsFile
from edge.control.edge_file import EdgeFile
from edge.control.errors import ConfigError, ConfigErrors
from edge.control.origins_file import OriginsFile
from edge.control.overrides import apply_override, parse_override
from edge.control.routing_files import DeviceTypesFile, GrantsFile, RoutesFile
from edge.control.snapshot import MadeOf, Snapshot
from edge.control.source import M, Source, unknown_key
from edge.control.token_file import HeldTokens, check_token_files, held_tokens

_AnySource: TypeAlias = (
    Source[EdgeFile]
    | Source[RoutesFile]
    | Source[OriginsFile]
    | Source[GrantsFile]
    | Source[DeviceTypesFile]
    | Source[DialsFile]
)


@dataclass(slots=True)
class _Sources:
    edge: Source[EdgeFile]
    routes: Source[RoutesFile]
    origins: Source[OriginsFile]
    grants: Source[GrantsFile]
    device_types: Source[DeviceTypesFile]
    dials: Source[DialsFile]

    def all(self) -> tuple[_AnySource, ...]:
        """Return every source, in the order of the docs."""
        return (self.edge, self.routes, self.origins, self.grants, self.device_types, self.dials)


def load_config(
    directory: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    *,
    var: str | os.PathLike[str] = "var",
    token_files: bool = False,
    texts: Mapping[str, str] | None = None,
    tokens: HeldTokens | None = None,
) -> Snapshot | ConfigErrors:
    """Read, override, check and freeze the configuration in `directory`.

    `overrides` are KEY=VALUE texts (`edge.control.overrides`). Relative paths of secrets and state are put under `var`.
    With `token_files`, those that the configuration names must hold tokens, and its certificate files certificates; the
    snapshot keeps the tokens. With `texts`, the files are those, by name, and not what the disk holds by now; the
    snapshot then keeps `tokens`.
    Never raises for what is in the files: all errors come back together, each with its place.
    """
    base = Path(directory)
    if texts is None and not base.is_dir():
        return ConfigErrors((ConfigError(str(base), 0, "", "is not a directory: name one with --config"),))
    sources = _Sources(
        Source(base / "edge.yaml", EdgeFile),
        Source(base / "routes.yaml", RoutesFile),
        Source(base / "origins.yaml", OriginsFile),
        Source(base / "grants.yaml", GrantsFile),
        Source(base / "device_types.yaml", DeviceTypesFile),
        Source(base / "dials.yaml", DialsFile, needed=False),
    )
    errors: list[ConfigError] = []
    unread = {id(source) for source in sources.all() if _noted(source.read(texts), errors)}
    _override(sources, overrides, errors)
    made_of = MadeOf({source.path.name: source.text for source in sources.all() if source.there}, tuple(overrides))
    return _check(sources, unread, Path(var).absolute(), made_of, errors, token_files=token_files, tokens=tokens)


def _check(
    sources: _Sources,
    unread: set[int],
    var: Path,
    made_of: MadeOf,
    errors: list[ConfigError],
    *,
    token_files: bool,
    tokens: HeldTokens | None,
) -> Snapshot | ConfigErrors:
    def checked(source: Source[M]) -> M | None:
        return None if id(source) in unread else _checked(source, var, errors)

    edge, routes, origins = checked(sources.edge), checked(sources.routes), checked(sources.origins)
    grants, device_types, dials = checked(sources.grants), checked(sources.device_types), checked(sources.dials)
    if edge is not None:
        _collect(sources.edge, check_edge(edge), errors)
        if token_files:
            _collect(sources.edge, check_token_files(edge), errors)
            _collect(sources.edge, check_edge_certificates(edge), errors)
    if routes is not None:
        _collect(sources.routes, check_routes(routes, origins), errors)
    if origins is not None:
        _collect(sources.origins, check_origins(origins), errors)
        if token_files:
            _collect(sources.origins, check_origin_certificates(origins), errors)
    if grants is not None:
        _collect(sources.grants, check_grants(grants, edge), errors)
    if device_types is not None:
        _collect(sources.device_types, check_device_types(device_types), errors)
    if dials is not None:
        _collect(sources.dials, check_dials(dials, origins, device_types), errors)
    if errors or not (edge and routes and origins and grants and device_types and dials):
        return ConfigErrors(tuple(errors))
    held = held_tokens(edge) if token_files else tokens or HeldTokens()
    return assemble(edge, routes, origins, grants, device_types, dials=dials, var=var, made_of=made_of, tokens=held)


def _checked(source: Source[M], var: Path, errors: list[ConfigError]) -> M | None:
    found = source.check({"var": var})
    if isinstance(found, list):
        errors.extend(found)
        return None
    return found


def _override(sources: _Sources, overrides: Sequence[str], errors: list[ConfigError]) -> None:
    by_section = {key: source for source in sources.all() for key in source.model.model_fields}
    for text in overrides:
        parsed = parse_override(text)
        if isinstance(parsed, ConfigError):
            errors.append(parsed)
            continue
        key, value = parsed
        name = text.partition("=")[0].strip()
        source = by_section.get(str(key[0]))
        if source is None:
            errors.append(ConfigError(f"--set {name}", 0, str(key[0]), unknown_key(str(key[0]), by_section)))
            continue
        place = apply_override(source.raw, key, value)
        if isinstance(place, str):
            errors.append(ConfigError(f"--set {name}", 0, "", place))
        else:
            source.overridden[place] = name


def _collect(source: Source[M], problems: Iterable[Problem], errors: list[ConfigError]) -> None:
    errors.extend(source.error(place, message) for place, message in problems)


def _noted(error: ConfigError | None, errors: list[ConfigError]) -> bool:
    if error is not None:
        errors.append(error)
    return error is not None
