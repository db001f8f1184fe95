#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: wget, Perl's LWP and Python's http.client work through kaproxy."""

import http.client
import subprocess
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import Skip, main, test
from kaptest.http import HttpUpstream, check_line, start
from kaptest.http_peers import Nginx, run, url
from kaptest.peers import need

LWP = r"""
use strict; use warnings; use LWP::UserAgent; use HTTP::Request;
my ($url, $keep) = @ARGV;
my $agent = LWP::UserAgent->new(keep_alive => $keep, timeout => 20);
for my $round (1 .. 3) {
    my $got = $agent->get("$url/get$round");
    print $got->code, " ", $got->decoded_content, "\n";
    my $posted = $agent->post("$url/post$round", Content => "n=$round");
    print $posted->code, " ", $posted->decoded_content, "\n";
}
my @parts = ("one ", "two ", "three", "");
my $request = HTTP::Request->new(PUT => "$url/put");
$request->content(sub { shift @parts });
my $put = $agent->request($request);
print $put->code, " ", $put->decoded_content, "\n";
"""


@test("wget: a page, and one that does not exist")
def wget(t):
    nginx = t.own(Nginx(t))
    nginx.put("page", b"hello")
    kaproxy = start(t, nginx)
    for _ in range(2):
        t.equal(run(t, "wget", "-q", "-O", "-", url(kaproxy, "/page"))[0], b"hello", "page")
    run(t, "wget", "-q", "-O", "-", url(kaproxy, "/none"), status=8)
    check_line(t, kaproxy, 3, status=404, from_cache="immediate")


@test("LWP: GET, POST and a chunked PUT, with keep-alive and without")
def lwp(t):
    perl = need("perl")
    if subprocess.run([perl, "-MLWP", "-e", "1"], capture_output=True, check=False).returncode:
        raise Skip("Perl's LWP is not installed")
    for keep in 0, 1:
        upstream = t.own(HttpUpstream())
        kaproxy = start(t, upstream)
        output, _ = run(t, "perl", "-e", LWP, url(kaproxy, ""), keep)
        wanted = [line for n in range(1, 4)
                  for line in (f"200 1 GET /get{n} ", f"200 1 POST /post{n} n={n}")]
        t.equal(output.decode().splitlines(), [*wanted, "200 1 PUT /put one two three"], "output")
        clients = {s["client"] for s in kaproxy.wait_sessions(7)}
        t.equal(len(clients), 1 if keep else 7, "connections of the client's")


@test("Python's http.client: keep-alive, a chunked POST, HEAD")
def python(t):
    kaproxy = start(t, t.own(HttpUpstream()))
    client = http.client.HTTPConnection(*kaproxy.address(), timeout=20)
    t.callback(client.close)
    client.request("GET", "/a")
    t.equal(client.getresponse().read(), b"1 GET /a ", "GET")
    client.request("POST", "/b", iter([b"x" * 40_000, b"y" * 40_000]), encode_chunked=True,
                   headers={"Transfer-Encoding": "chunked"})
    t.equal(client.getresponse().read(), b"1 POST /b " + b"x" * 40_000 + b"y" * 40_000, "POST")
    client.request("GET", "/c")
    t.equal(client.getresponse().read(), b"1 GET /c ", "GET after it")


main()
