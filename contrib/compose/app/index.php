<?php
// SPDX-License-Identifier: ISC
// Each request asks the API and increments a counter in Redis, over connections of its own. They end
// at kaproxy, which reuses its connections to both servers.

header('Content-Type: text/plain');

$answer = file_get_contents(getenv('API_URL'));
if ($answer === false) {
    http_response_code(502);
    exit("The API did not answer.\n");
}
echo 'The API answered ', strlen($answer), " bytes.\n";

$redis = stream_socket_client(getenv('REDIS'), $number, $error, 5);
if ($redis === false) {
    http_response_code(502);
    exit("No connection to Redis: $error\n");
}
fwrite($redis, "INCR visits\r\n");
echo 'Visits: ', ltrim(fgets($redis), ':');
