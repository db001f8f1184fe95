# SPDX-License-Identifier: ISC
"""What real clients of memcached do with it: each script does a bit of everything, and writes what
it got. Through kaproxy that must be the same as without. Argument: PORT."""

from .scripts import Script

PHP = r"""
[, $port, $binary, $buffered] = [...$argv, 0];
$cache = new Memcached();
$cache->setOption(Memcached::OPT_BINARY_PROTOCOL, (bool)$binary);
if ($buffered) {
    $cache->setOption(Memcached::OPT_NO_BLOCK, true);
    $cache->setOption(Memcached::OPT_BUFFER_WRITES, true);
}
$cache->addServer('127.0.0.1', (int)$port);
$got = [];
$got[] = $cache->set('string', "\x00\r\nEND\r\n\xff");
$got[] = bin2hex($cache->get('string'));
$got[] = $cache->set('array', ['a' => [1, 2.5, null]]);
$got[] = $cache->get('array');
$got[] = $cache->get('none');
$got[] = $cache->getResultCode();
$got[] = $cache->add('string', 'x');
$got[] = $cache->replace('string', 'replaced');
$got[] = $cache->replace('none', 'x');
$cache->setOption(Memcached::OPT_COMPRESSION, false);
$got[] = $cache->set('plain', 'middle');
$got[] = $cache->append('plain', ' end');
$got[] = $cache->prepend('plain', 'start ');
$got[] = $cache->get('plain');
$got[] = $cache->set('count', 10);
$got[] = $cache->increment('count', 5);
$got[] = $cache->decrement('count', 20);
$got[] = $cache->increment('none');
$got[] = $cache->setMulti(array_combine(array_map(fn($n) => "multi$n", range(1, 50)), range(1, 50)));
$got[] = $cache->getMulti(array_map(fn($n) => "multi$n", range(0, 60)));
$cache->getDelayed(['multi1', 'none', 'multi2']);
$delayed = $cache->fetchAll();
usort($delayed, fn($a, $b) => $a['key'] <=> $b['key']);
$got[] = array_column($delayed, 'value', 'key');
$entry = $cache->get('count', null, Memcached::GET_EXTENDED);
$got[] = $cache->cas($entry['cas'], 'count', 99);
$got[] = $cache->cas($entry['cas'], 'count', 100);
$got[] = $cache->touch('count', 1000);
$got[] = $cache->delete('count');
$got[] = $cache->delete('count');
$got[] = $cache->deleteMulti(['multi1', 'none']);
if (!$buffered) { // else it gives up when the kernel's buffers are full
    $got[] = $cache->set('large', str_repeat('0123456789', 90000));
    $got[] = md5($cache->get('large'));
    $got[] = $cache->set('toolarge', random_bytes(1100000));
}
$got[] = $cache->set('too large', 'x');
$got[] = $cache->get('plain');
$got[] = count($cache->getStats());
$got[] = $cache->getVersion() !== false;
$got[] = $cache->set('last', 'value');
$got[] = $cache->quit();
echo json_encode($got);
"""

PYLIBMC = r"""
import json
import sys

import pylibmc

port, binary, noreply = sys.argv[1], sys.argv[2] == "1", sys.argv[3] == "1"
cache = pylibmc.Client(["127.0.0.1:" + port], binary=binary,
                       behaviors={"cas": True, "_noreply": noreply, "tcp_nodelay": True})
got = [cache.set("string", b"\x00\r\nEND\r\n\xff"), cache.get("string").hex()]
got += [cache.get("none"), cache.set("object", {"a": [1, 2.5, None]}), cache.get("object")]
got += [cache.set("count", 10), cache.incr("count", 5), cache.decr("count", 20)]
values = {"multi%d" % number: number for number in range(50)}
got += [cache.set_multi(values), cache.get_multi(list(values) + ["none"]) == values]
if not noreply:
    got += [cache.add("string", "x"), cache.replace("string", "y"), cache.delete("none")]
    value, cas = cache.gets("string")
    got += [value, cache.cas("string", "new", cas), cache.cas("string", "newer", cas)]
cache.set("plain", b"middle")
cache.append("plain", b" end")
cache.prepend("plain", b"start ")
got.append(cache.get("plain").decode())
large = b"0123456789" * 90000
got += [cache.set("large", large), cache.get("large") == large]
got += [cache.delete_multi(["multi0", "multi1"]), cache.get_multi(["multi0", "multi2"])]
got += [len(cache.get_stats()), cache.touch("plain", 1000)]
cache.disconnect_all()
print(json.dumps(got))
"""

PYMEMCACHE = r"""
import json
import sys

from pymemcache.client.base import Client

cache = Client(("127.0.0.1", int(sys.argv[1])), timeout=20, no_delay=True)
noreply = sys.argv[2] == "1"
got = [cache.set("string", b"\x00\r\nEND\r\n\xff", noreply=noreply), cache.get("string").hex()]
for number in range(100):
    cache.set("key%d" % (number % 7), str(number), noreply=noreply)
    got.append(cache.get("key%d" % (number % 7)).decode() == str(number))
got += [cache.set_many({"a": "1", "b": "2"}, noreply=noreply),
        {k: v.decode() for k, v in cache.get_many(["a", "b", "c"]).items()}]
got += [cache.add("string", "x", noreply=noreply), cache.replace("string", "y", noreply=noreply)]
got += [cache.incr("a", 5, noreply=noreply), cache.decr("b", 1, noreply=noreply),
        cache.get("a").decode(), cache.get("b").decode()]
value, cas = cache.gets("string")
got += [value.decode(), cache.cas("string", "new", cas), cache.cas("string", "newer", cas)]
got += [cache.append("string", "!", noreply=noreply), cache.prepend("string", "?", noreply=noreply),
        cache.get("string").decode()]
got += [cache.touch("string", 1000, noreply=noreply), cache.delete("a", noreply=noreply),
        cache.get("a"), len(cache.stats()) > 10, cache.version() != b""]
large = b"0123456789" * 90000
cache.set("large", large, noreply=noreply)
got.append(cache.get("large") == large)
got += [cache.flush_all(noreply=noreply), cache.get("b")]
cache.quit()
print(json.dumps(got))
"""

PERL = r"""
use strict;
use Cache::Memcached;

my $cache = Cache::Memcached->new({servers => ["127.0.0.1:$ARGV[0]"]});
my @got;
sub said { my $value = shift; push @got, defined $value ? "\"$value\"" : 'null'; }
said($cache->set('string', 'value'));
said($cache->get('string'));
said($cache->get('none'));
said($cache->set('hash', {a => [1, 2]}));
said($cache->get('hash')->{a}[1]);
said($cache->add('string', 'x'));
said($cache->replace('string', 'new'));
said($cache->set('count', 10));
said($cache->incr('count', 5));
said($cache->decr('count', 3));
said($cache->incr('none'));
$cache->set("multi$_", $_) for 1 .. 30;
my $values = $cache->get_multi(map { "multi$_" } 0 .. 30);
said(join ',', map { "$_=$values->{$_}" } sort keys %$values);
said($cache->delete('multi1'));
said($cache->get('multi1'));
my $large = '0123456789' x 90000;
said($cache->set('large', $large));
said($cache->get('large') eq $large);
said(scalar keys %{$cache->stats('misc')->{hosts}});
$cache->disconnect_all;
print '[', join(',', @got), ']';
"""

CLIENTS = {
    "PHP's memcached, text": ("php", "memcached", PHP, (0,)),
    "PHP's memcached, binary": ("php", "memcached", PHP, (1,)),
    "PHP's memcached, text, buffered": ("php", "memcached", PHP, (0, 1)),
    "PHP's memcached, binary, buffered": ("php", "memcached", PHP, (1, 1)),
    "pylibmc, text": ("python", "pylibmc", PYLIBMC, (0, 0)),
    "pylibmc, text, noreply": ("python", "pylibmc", PYLIBMC, (0, 1)),
    "pylibmc, binary": ("python", "pylibmc", PYLIBMC, (1, 0)),
    "pymemcache": ("python", "pymemcache", PYMEMCACHE, (0,)),
    "pymemcache, noreply": ("python", "pymemcache", PYMEMCACHE, (1,)),
    "Cache::Memcached": ("perl", "Cache::Memcached", PERL, ()),
}


def conversation(t, name, address):
    """All that a client got, as a list; the store must be empty before."""
    language, module, code, arguments = CLIENTS[name]
    return Script(t, language, module, code).run(address[1], *arguments)
