# SPDX-License-Identifier: ISC
"""A real Prometheus that scrapes kaproxy and evaluates the rules that come with it."""

import json
import urllib.parse
import urllib.request

from .kaproxy import TESTS
from .peers import Peer, need
from .tap import Failure, WAIT_MAX, wait_until

RULES = TESTS.parent / "contrib/prometheus/kaproxy.rules.yml"
CONFIGURATION = """\
global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}
rule_files: ["{rules}"]
scrape_configs:
"""
JOB = """\
- job_name: {name}
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus(Peer):
    """With a job for each port of 127.0.0.1 that is given by the job's name."""

    def __init__(self, t, **jobs):
        self.jobs = jobs
        super().__init__(t)
        wait_until(self._is_ready, "Prometheus")

    def command(self):
        file = self.t.folder / "prometheus.yml"
        file.write_text(CONFIGURATION.format(rules=RULES) + "".join(
            JOB.format(name=name, port=port) for name, port in self.jobs.items()))
        return [need("prometheus"), f"--config.file={file}",
                f"--storage.tsdb.path={self.t.folder}/tsdb-{self.port}",
                f"--web.listen-address=127.0.0.1:{self.port}"]

    def ask(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=WAIT_MAX) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        """The values by job; there is one series for each."""
        got = [(row["metric"]["job"], float(row["value"][1]))
               for row in self.ask("query", query=expression)["result"]]
        values = dict(got)
        if len(values) != len(got):
            raise Failure(f"{expression} gives several series: {got}")
        return values

    def wait(self, expression, value):
        """Until all jobs have it."""
        wanted = {name: value for name in self.jobs}
        wait_until(lambda: self.query(expression) == wanted, f"{expression} to be {value}")

    def wait_alert(self, name):
        """Until it is pending, or fires; its labels."""
        def found():
            return [alert["labels"] for alert in self.ask("alerts")["alerts"]
                    if alert["labels"]["alertname"] == name]
        return wait_until(found, f"the alert {name}")[0]

    def _is_ready(self):
        try:
            return self.ask("targets") is not None
        except OSError:
            return False
