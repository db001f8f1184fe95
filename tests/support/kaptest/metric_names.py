# SPDX-License-Identifier: ISC
"""What the alerts and the dashboard in contrib/ query Prometheus for, compared with what kaproxy
has: metrics, their labels, and the labels' values, in a text of /metrics."""

import json
import pathlib
import re

SELECTOR = re.compile(r"\b((?:kaproxy|process)_\w+)(?:\{([^{}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$")

# Prometheus has them for each target.
OF_THE_TARGET = {"instance", "job"}


def samples(text):
    """{name: {label: values}} of a text in either format."""
    found = {}
    for line in text.splitlines():
        match = SAMPLE.match(line)
        if not match or line.startswith("#"):
            continue
        labels = found.setdefault(match[1], {})
        for name, _, value in MATCHER.findall(match[2] or ""):
            labels.setdefault(name, set()).add(value)
    return found


def complaints(expression, there):
    """The names in a PromQL expression that `there`, as samples() has it, does not have."""
    for name, matchers in SELECTOR.findall(re.sub(r"\bby\s*\([^)]*\)", "", expression)):
        if name not in there:
            yield f"there is no {name}"
            continue
        for label, how, value in MATCHER.findall(matchers):
            if label in OF_THE_TARGET:
                continue
            if label not in there[name]:
                yield f"{name} has no label {label}"
            elif how in ("=", "!=") and "$" not in value and value not in there[name][label]:
                yield f"{name} is never with {label}={value}"


def strings(value, keys):
    """All that is in a tree under one of these keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in keys and isinstance(inner, str):
                yield inner
            yield from strings(inner, keys)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, keys)


def of_dashboard(path):
    return list(strings(json.loads(pathlib.Path(path).read_text()), {"expr", "query"}))


def of_rules(path):
    """The expressions, without a YAML parser: what follows "expr:", and is indented below it."""
    found, indent = [], None
    for line in pathlib.Path(path).read_text().splitlines():
        depth = len(line) - len(line.lstrip())
        if line.lstrip().startswith("expr:"):
            found.append(line.partition("expr:")[2])
            indent = depth
        elif indent is not None and depth > indent:
            found[-1] += " " + line.strip()
        else:
            indent = None
    return found


def contrib(source):
    """{file: expressions} of everything for Prometheus."""
    folder = pathlib.Path(source) / "contrib"
    return {"kaproxy.rules.yml": of_rules(folder / "prometheus/kaproxy.rules.yml"),
            "kaproxy.json": of_dashboard(folder / "grafana/kaproxy.json")}


def unknown(source, text):
    """Lines of complaint about contrib/, compared with a text of /metrics."""
    there = samples(text)
    return [f"{name}: {complaint}" for name, expressions in contrib(source).items()
            for expression in expressions for complaint in complaints(expression, there)]
