# shellcheck shell=bash
# Sourced by other scripts: start_postgres makes a PostgreSQL that lives only as long as the script and exports
# MINTMARK_TEST_POSTGRES; stop_postgres (call it in a trap) ends that very process and removes its files.
#
# Where MINTMARK_TEST_POSTGRES is set already, that server is used and nothing is started.
#
# postgres_durable=yes, set before start_postgres, makes it wait for its disk, as a server that matters does.
# shellcheck source=scripts/port.sh
source scripts/port.sh

postgres_dir=
postgres_bin=
postgres_durable=${postgres_durable:-no}

as_root() {
  if [[ $EUID -eq 0 ]]; then "$@"; else sudo -n "$@"; fi
}

# need_debian PACKAGE… installs packages where that is possible, and says what to do where it is not.
need_debian() {
  if command -v apt-get >/dev/null && { [[ $EUID -eq 0 ]] || sudo -n true 2>/dev/null; }; then
    echo "installing $* with apt-get"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  else
    echo "missing: install $* (on Debian: apt-get install $*), then run this again" >&2
    return 1
  fi
}

# need_quiet_debian PACKAGE… is need_debian for packages that bring a service of the machine: it is not started.
need_quiet_debian() {
  local policy=/usr/sbin/policy-rc.d code=0
  if [[ -e $policy ]] || ! command -v apt-get >/dev/null; then
    need_debian "$@"
    return
  fi
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy" || return 1
  need_debian "$@" || code=$?
  as_root rm -f "$policy"
  return "$code"
}

find_postgres() {
  local newest
  newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
  if [[ -x $newest ]]; then
    postgres_bin=$(dirname "$newest")
  elif command -v initdb >/dev/null; then
    postgres_bin=$(dirname "$(command -v initdb)")
  else
    return 1
  fi
}

# PostgreSQL refuses to run as root, so root lends it the system user that the package brings.
as_postgres() {
  if [[ $EUID -eq 0 ]]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

start_postgres() {
  if [[ -n ${MINTMARK_TEST_POSTGRES:-} ]]; then
    echo "== PostgreSQL: the one named by MINTMARK_TEST_POSTGRES"
    return
  fi
  find_postgres || { need_debian postgresql && find_postgres; }
  postgres_dir=$(mktemp -d "${TMPDIR:-/tmp}/mintmark-postgres.XXXXXX")
  if [[ $EUID -eq 0 ]]; then chown postgres: "$postgres_dir"; fi
  as_postgres "$postgres_bin/initdb" -D "$postgres_dir/data" -U postgres -A trust --locale=C.UTF-8 -E UTF8 >/dev/null
  local port forget=""
  # Durability is switched off for speed: the machine is not going to lose its power in a test, only processes die.
  if [[ $postgres_durable != yes ]]; then forget="-c fsync=off -c full_page_writes=off -c synchronous_commit=off"; fi
  for _ in {1..5}; do
    port=$(free_port)
    if as_postgres "$postgres_bin/pg_ctl" -D "$postgres_dir/data" -l "$postgres_dir/log" -w -s start \
      -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='$postgres_dir' -c max_connections=300 $forget"; then
      export MINTMARK_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable"
      echo "== PostgreSQL $("$postgres_bin/postgres" --version | awk '{print $3}') on 127.0.0.1:$port"
      return
    fi
  done
  cat "$postgres_dir/log" >&2
  return 1
}

stop_postgres() {
  [[ -n $postgres_dir ]] || return 0
  local pid
  if pid=$(head -n 1 "$postgres_dir/data/postmaster.pid" 2>/dev/null); then
    kill -INT "$pid" 2>/dev/null || true # fast shutdown: open connections are cut
    for _ in {1..100}; do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -QUIT "$pid" 2>/dev/null || true
  fi
  rm -rf "$postgres_dir"
  postgres_dir=
}
