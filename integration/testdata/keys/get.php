<?php
$c = stream_context_create(['ssl' => ['verify_peer' => false, 'verify_peer_name' => false]]);
for ($i = 0; $i < 2; $i++) file_get_contents($argv[1], false, $c);
