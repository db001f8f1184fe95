# SPDX-License-Identifier: ISC
"""What real clients of Redis do with it: each script does a bit of everything, and writes what it
got. Through kaproxy that must be the same as without. Arguments: PORT DATABASE [USER PASSWORD]."""

from .peers import need
from .redis_peers import cli
from .scripts import Script

PHP = r"""
$port = (int)$argv[1];
function client() {
    global $argc, $argv, $port;
    $redis = new Redis();
    $redis->connect('127.0.0.1', $port);
    if ($argc > 4)
        $redis->auth($argv[3] === 'default' ? $argv[4] : [$argv[3], $argv[4]]);
    if ($argv[2] !== '0')
        $redis->select((int)$argv[2]);
    return $redis;
}
if (end($argv) === 'publish') { // as soon as there is who listens
    $redis = client();
    while ($redis->publish('channel', 'message') === 0)
        usleep(1000);
    exit;
}
$got = [];
$redis = client();
$got[] = $redis->ping('hello');
$got[] = $redis->set('string', "\x00\r\n\xff");
$got[] = bin2hex($redis->get('string'));
$got[] = $redis->get('nothing');
$got[] = $redis->setex('expires', 100, 'v');
$got[] = $redis->ttl('expires') > 90;
$got[] = $redis->hMSet('hash', ['a' => 1, 'b' => 2]);
$got[] = $redis->hGetAll('hash');
$got[] = $redis->rPush('list', 'x', 'y', 'z');
$got[] = $redis->lRange('list', 0, -1);
$got[] = $redis->multi()->incr('counter')->get('string2')->incrBy('counter', 5)->exec();
$got[] = $redis->multi(Redis::PIPELINE)->set('piped', '1')->get('piped')->incr('piped')->exec();
$redis->watch('counter');
$other = client();
$other->incr('counter');
$got[] = $redis->multi()->set('counter', 'lost')->exec();
$got[] = $redis->get('counter');
$redis->watch('counter');
$got[] = $redis->multi()->set('counter', '100')->exec();
$redis->multi();
$redis->set('counter', 'discarded');
$got[] = $redis->discard();
$got[] = $redis->get('counter');
try {
    $got[] = $redis->rawCommand('NOSUCHCOMMAND');
    $got[] = $redis->getLastError();
} catch (RedisException $e) {
    $got[] = $e->getMessage();
}
$got[] = $redis->eval('return {KEYS[1], ARGV[1]}', ['key', 'argument'], 1);
$redis->set('large', str_repeat('0123456789', 300000));
$got[] = md5($redis->get('large'));
$got[] = $redis->blPop(['list'], 1);
$got[] = $redis->rawCommand('BRPOP', 'nothing', '0.05');
$got[] = $redis->xAdd('stream', '1-1', ['field' => 'value']);
$got[] = $redis->xRead(['stream' => '0']);
$redis->client('setname', 'php');
$got[] = $redis->client('getname');
$keys = [];
$cursor = null;
do {
    foreach ($redis->scan($cursor) ?: [] as $key)
        $keys[] = $key;
} while ($cursor > 0);
sort($keys);
$got[] = $keys;
$redis->setOption(Redis::OPT_READ_TIMEOUT, 20);
$publisher = proc_open([PHP_BINARY, ...$argv, 'publish'], [], $pipes);
try {
    $redis->subscribe(['channel'], function ($subscriber, $channel, $message) use (&$got) {
        $got[] = [$channel, $message];
        $subscriber->close();
    });
} catch (RedisException $e) { // it goes on to read
}
proc_close($publisher);
echo json_encode($got);
"""
PYTHON = r"""
import json
import sys
import threading

import redis

port, database = int(sys.argv[1]), int(sys.argv[2])
login = {}
if len(sys.argv) > 4:
    login["password"] = sys.argv[4]
    if sys.argv[3] != "default":
        login["username"] = sys.argv[3]
pool = redis.ConnectionPool(host="127.0.0.1", port=port, db=database, client_name="python", **login)
r = redis.Redis(connection_pool=pool)
got = []


def text(value):
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (list, tuple)):
        return [text(one) for one in value]
    if isinstance(value, dict):
        return {text(key): text(one) for key, one in value.items()}
    return repr(value) if isinstance(value, (set, Exception)) else value


got += [r.ping(), r.set("string", b"\x00\r\n\xff"), r.get("string"), r.get("nothing")]
got += [r.hset("hash", mapping={"a": 1, "b": 2}), r.hgetall("hash")]
got += [r.client_getname(), r.echo("hello")]
with r.pipeline(transaction=True) as pipe:
    got.append(pipe.incr("counter").get("nothing").incrby("counter", 5).execute())
with r.pipeline(transaction=False) as pipe:
    for number in range(100):
        pipe.set(f"piped:{number}", number)
        pipe.get(f"piped:{number}")
    got.append(pipe.execute())
with r.pipeline() as pipe:
    pipe.watch("counter")
    value = int(pipe.get("counter"))
    r.incr("counter")
    pipe.multi()
    pipe.set("counter", value + 1000)
    try:
        got.append(pipe.execute())
    except redis.WatchError as error:
        got.append("watched")
got.append(r.transaction(lambda pipe: pipe.multi() or pipe.incr("counter"), "counter"))
with r.lock("lock", timeout=20, blocking_timeout=5):
    got.append(r.exists("lock"))
got.append(r.exists("lock"))
try:
    r.execute_command("NOSUCHCOMMAND")
except redis.ResponseError as error:
    got.append(error)
script = r.register_script("return {KEYS[1], ARGV[1]}")
got.append(script(keys=["key"], args=["argument"]))
large = b"0123456789" * 300000
r.set("large", large)
got.append(r.get("large") == large)
popped = []
waiting = threading.Thread(target=lambda: popped.append(r.blpop("queue", 20)))
waiting.start()
r.rpush("queue", "item")
waiting.join()
got.append(popped)
got.append(r.blpop("nothing", 0.05))
got += [r.xadd("stream", {"f": "v"}, id="1-1"), r.xread({"stream": "0"}, block=1000)]
listener = r.pubsub()
listener.subscribe("channel")
got.append(listener.get_message(timeout=20))
r.publish("channel", "message")
got.append(listener.get_message(timeout=20))
listener.unsubscribe("channel")
got.append(listener.get_message(timeout=20))
listener.close()
got.append(sorted(r.scan_iter("*")))
got.append(r.execute_command("ACL WHOAMI"))
pool.disconnect()
print(json.dumps(text(got)))
"""

# Each line is a command; redis-cli writes what arrived.
CLI_LINES = b"""\
SET string value
GET string
GET nothing
APPEND string " and more"
HSET hash a 1 b 2
HGETALL hash
RPUSH list x y z
LRANGE list 0 -1
MULTI
INCR counter
SET string 1
EXEC
WATCH counter
MULTI
GET counter
DISCARD
NOSUCHCOMMAND
SADD set member
SMEMBERS set
ZADD sorted 1.5 one
ZRANGE sorted 0 -1 WITHSCORES
BLPOP list 1
CLIENT SETNAME cli
CLIENT GETNAME
EVAL "return {1, 'two', {3}}" 0
OBJECT ENCODING string
ACL WHOAMI
DBSIZE
"""


def _php(t, address, login, database):
    return Script(t, "php", "redis", PHP).run(address[1], database, *login)


def _python(t, address, login, database):
    return Script(t, "python", "redis", PYTHON).run(address[1], database, *login)


def _cli(t, address, login, database, *options):
    user = ["--user", login[0], "--pass", login[1], "--no-auth-warning"] if login else []
    return cli(t, address, *user, "-n", database, *options, stdin=CLI_LINES).splitlines()


def _cli_resp3(t, address, login, database):
    return _cli(t, address, login, database, "-3")


CLIENTS = {"phpredis": _php, "python-redis": _python, "redis-cli": _cli, "redis-cli -3": _cli_resp3}


def conversation(t, name, address, login=(), database=0):
    """All that a client got, as a list; the store must be empty before."""
    need("redis-server")
    return CLIENTS[name](t, address, login, database)
