#!/bin/sh
# HAProxy of a cluster on this machine alone, in place of the binary (RAY_SERVE_HAPROXY_BINARY_PATH):
# Ray Serve's template opens its figures and its statistics on every interface, and a HAProxy whose
# node is killed would go on with the replicas that it knew.
set -eu
config=""
last=""
for word in "$@"; do
  [ "$last" = "-f" ] && config=$word
  last=$word
done
if [ -n "$config" ]; then
  sed -i -E 's/^( *bind )(\*|):/\1127.0.0.1:/' "$config"
fi
exec setpriv --pdeathsig KILL "$HAPROXY_HERE" "$@"
