"""YAML read safely, with the line of every key kept so that a fault can be pointed at.

Differences from `yaml.safe_load`, each because a tired person is bitten by it: `NO` and `on` stay text, `12:30` stays text,
`1e3` is a number, a key given twice is refused, and so are anchors and aliases (a few hundred bytes of them become
gigabytes when printed).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from campaign.errors import Refusal

MAX_BYTES = 1_000_000
MAX_DEPTH = 20

Place = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalar rules of YAML 1.2."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|false|False)$", "tTfF"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def read(path: Path) -> tuple[dict[str, Any], dict[Place, int]]:
    """Read a YAML mapping and the line (from 1) of every key and list item.

    Raises:
        Refusal: no such file, not YAML, not a mapping, a key twice, an alias, or more than `MAX_BYTES`.
    """
    text = _text(path)
    try:
        _check_events(text, path)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Refusal(f"{path}, line {line}: this is not YAML ({error.problem})") from None
    except yaml.YAMLError as error:
        raise Refusal(f"{path}: this is not YAML ({error})") from None
    if not isinstance(node, yaml.MappingNode):
        raise Refusal(f"{path}, line 1: a campaign file is a list of `key: value` lines; this one is not")
    lines: dict[Place, int] = {}
    data = _build(node, (), lines, path)
    if not isinstance(data, dict):
        raise Refusal(f"{path}, line 1: a campaign file is a list of `key: value` lines; this one is not")
    return data, lines


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise Refusal(f"{path} is not a file")
        if size > MAX_BYTES:
            raise Refusal(f"{path} has {size} bytes; a campaign file has at most {MAX_BYTES}")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise Refusal(f"there is no file {path}") from None
    except UnicodeDecodeError as error:
        raise Refusal(f"{path}: byte {error.start} is no UTF-8 text; save the file as UTF-8") from None
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}") from None


def _check_events(text: str, path: Path) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise Refusal(f"{path}, line {line}: YAML aliases (*{event.anchor}) are not taken; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise Refusal(f"{path}, line {line}: nested deeper than {MAX_DEPTH} levels; no campaign file needs that")


def _build(node: yaml.Node, place: Place, lines: dict[Place, int], path: Path) -> Any:
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, place, lines, path)
    if isinstance(node, yaml.SequenceNode):
        return [_build(child, (*place, number), lines, path) for number, child in enumerate(node.value)]
    return _scalar(node, path)


def _build_mapping(node: yaml.MappingNode, place: Place, lines: dict[Place, int], path: Path) -> Mapping[str, Any]:
    out: dict[str, Any] = {}
    for key_node, child in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise Refusal(f"{path}, line {line}: a key must be plain text")
        key = str(key_node.value)
        if key in out:
            raise Refusal(f"{path}, line {line}: the key {key!r} stands twice; keep one")
        lines[(*place, key)] = line
        out[key] = _build(child, (*place, key), lines, path)
    return out


def _scalar(node: yaml.Node, path: Path) -> Any:
    kind = node.tag.rsplit(":", 1)[-1]
    if kind not in ("str", "bool", "int", "float", "null"):
        raise Refusal(f"{path}, line {node.start_mark.line + 1}: the tag {node.tag} is not taken; write plain values")
    return _convert(str(node.value), kind)


def _convert(text: str, kind: str) -> Any:
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(
            text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").lower().replace(".nan", "nan")
        )
    return None if kind == "null" else text
