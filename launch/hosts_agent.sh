#!/bin/bash
# A launch agent for mpirun where the hosts are network namespaces of this machine: runs a command on HOST as ssh would.
#   mpirun --mca plm_rsh_agent launch/hosts_agent.sh --host HOST:2,OTHER:2 ...
# The host has its own network (ip netns add HOST) and, here, its own host name, by which Open MPI tells hosts apart.
set -euo pipefail
help() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; }
case "${1:-}" in
  --help | -h) help; exit 0 ;;
  -*) echo "hosts_agent: there is no option '$1'" >&2; help >&2; exit 2 ;;
esac
if [ $# -lt 2 ]; then
  help >&2
  exit 2
fi
host=$1
shift
# shellcheck disable=SC2016  # the inner shell expands $1 and $*
exec ip netns exec "$host" unshare --uts /bin/sh -c 'hostname "$1" && shift && eval "$*"' agent "$host" "$@"
