# shellcheck shell=bash
# Sourced by other scripts.

# free_port prints a port below 32768: above, the kernel may hand it to an outgoing connection between our look and the server's start.
free_port() {
  local port
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
  echo "no free port on 127.0.0.1 below 32768" >&2
  return 1
}
