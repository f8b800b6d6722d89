# shellcheck shell=bash
# Sourced by scripts that try a real server: start_server NAME [SETTING=VALUE…] runs bin/mintmark on free ports and goes
# to a new directory, which is removed at the end with all that lies in it.
#
# There, mintmark is on the PATH, MINTMARK_URL and MINTMARK_TOKEN_FILE speak to the server as its administrator, $s3 is
# the port of its object store, and server.log is what it says.
# shellcheck source=scripts/port.sh
source scripts/port.sh

server_pid=
server_dir=
stop_server() {
  if [[ -n $server_pid ]]; then
    kill "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
  fi
  rm -rf "$server_dir"
}

start_server() {
  local name=$1 public operations settings=()
  shift
  [[ -x bin/mintmark ]] || make build
  server_dir=$(mktemp -d "${TMPDIR:-/tmp}/mintmark-$name.XXXXXX")
  trap stop_server EXIT
  public=$(free_port) s3=$(free_port) operations=$(free_port)
  for setting in "listen.public=127.0.0.1:$public" "listen.s3=127.0.0.1:$s3" "listen.operations=127.0.0.1:$operations" "$@"; do
    settings+=(--set "$setting")
  done
  export PATH="$PWD/bin:$PATH" HOME="$server_dir"
  export MINTMARK_URL=http://127.0.0.1:$public MINTMARK_TOKEN_FILE=$server_dir/data/admin.key
  cd "$server_dir"
  mintmark serve --data-dir data "${settings[@]}" 2>server.log &
  server_pid=$!
  for _ in {1..100}; do
    curl -fs "http://127.0.0.1:$operations/readyz" >/dev/null && return
    sleep 0.1
  done
  echo "the server did not get ready:" >&2
  cat server.log >&2
  return 1
}
