# shellcheck shell=bash
# Names and helpers of every script here. Source it.

hack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname "$hack")
cache=${PEERUP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/peerup}
mkdir -p "$cache/logs"
cache=$(cd "$cache" && pwd)
# a fresh clone finds the dependencies built
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
# shellcheck disable=SC2034 # for those who source this file
{
  demo_cluster=peerup-demo
  test_cluster=peerup-test
  cluster_config=$repository/kind-config.yaml
}

log() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { log "error: $*"; exit 1; }

# key - a short digest of standard input: names what was made of it.
key() { sha256sum | cut -c1-16; }

# step NAME COMMAND... - run COMMAND with its output in a log file. Says that it
# starts, each 30 s that it still runs, and how long it took; when it fails, the
# end of the log and the log's name.
step() {
  local step_name=$1 step_start=$SECONDS step_log step_ticker step_status=0
  shift
  step_log=$cache/logs/${step_name//[^a-zA-Z0-9.-]/-}.log
  log "$step_name ..."
  # the ticker's sleep outlives it: it must not hold a pipe open
  while sleep 30 2>/dev/null && kill -0 $$ 2>/dev/null; do
    log "$step_name: still at it after $((SECONDS - step_start)) s"
  done </dev/null >/dev/null &
  step_ticker=$!
  set +e
  (set -e; "$@") >"$step_log" 2>&1
  step_status=$?
  set -e
  kill "$step_ticker" 2>/dev/null || true
  wait "$step_ticker" 2>/dev/null || true
  if ((step_status != 0)); then
    tail -n 15 "$step_log" | sed 's/^/  | /' >&2
    die "$step_name failed after $((SECONDS - step_start)) s, see $step_log"
  fi
  log "$step_name: $((SECONDS - step_start)) s"
}

# need_packages PACKAGE... - install the Debian packages that are missing.
need_packages() {
  local missing=() package
  for package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
      missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  { command -v apt-get >/dev/null && ((EUID == 0)); } ||
    die "these packages are needed; install them and try again: ${missing[*]}"
  step "install ${missing[*]}" install_packages "${missing[@]}"
}

install_packages() {
  apt-get -q update
  DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends "$@"
}

# unpack_packages PACKAGE... - the files of Debian packages into the current directory,
# without installing them.
unpack_packages() {
  local archive
  apt-get -q download "$@" || { apt-get -q update && apt-get -q download "$@"; }
  for archive in ./*.deb; do dpkg-deb -x "$archive" .; done
}

# need_programs NAME... - put kubectl, kind, helm and so on into PATH: those that
# are there already when they have the pinned minor version, else ours.
need_programs() {
  local name missing=()
  for name; do
    at_pinned_minor "$name" || missing+=("$name")
  done
  ((${#missing[@]})) || return 0
  local directory
  directory=$("$hack/build" "${missing[@]}") || die "could not build ${missing[*]}"
  while read -r name; do PATH=$name:$PATH; done <<<"$directory"
  export PATH
}

# at_pinned_minor NAME - is the program in PATH, with the minor version that we pin?
at_pinned_minor() {
  local path found wanted
  path=$(command -v "$1") || return 1
  case $1 in
    kubectl) found=$(timeout 10 "$path" version --client 2>/dev/null) ;;
    *) found=$(timeout 10 "$path" --version 2>/dev/null || timeout 10 "$path" version 2>/dev/null) ;;
  esac
  found=$(grep -oE '[0-9]+\.[0-9]+\.[0-9]+' <<<"$found" | head -1)
  wanted=$(pinned_version "$1")
  [[ ${found%.*} == "${wanted%.*}" && -n $found ]]
}

# pinned_version PROGRAM - as its go.mod says, without the v.
pinned_version() {
  local module package
  case $1 in
    etcd) module=etcd package=go.etcd.io/etcd/server/v3 ;;
    kind) module=kind package=sigs.k8s.io/kind ;;
    helm) module=helm package=helm.sh/helm/v3 ;;
    *) module=kubernetes package=k8s.io/kubernetes ;;
  esac
  awk -v package="$package" '$1 == package { sub("^v", "", $2); print $2; exit }' \
    "$hack/go/$module/go.mod"
}

# cluster_directory CLUSTER - where its kubeconfig and its provider's name lie.
cluster_directory() { echo "$cache/clusters/$1"; }
