# shellcheck shell=bash
# Sourced by other scripts: `tool PACKAGE@VERSION` prints the path of a development tool, built once into .cache/tools.
# Tools stay out of go.mod, so that none ever decides which version of a library the product links.
tool() {
  local package=${1%@*} version=${1#*@} dir
  dir=$PWD/.cache/tools/$version
  if [[ ! -x $dir/${package##*/} ]]; then
    GOBIN=$dir go install "$1" || { echo "cannot build $1: the Go module proxy must be reachable once" >&2; return 1; }
  fi
  echo "$dir/${package##*/}"
}
