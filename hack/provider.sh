# shellcheck shell=bash
# What kind makes nodes from, chosen once for each cluster:
#   bed             podman and the node image that we build (see node-image)
#   docker, podman  kind's own node image (see official.sh)
# PEERUP_PROVIDER names one of them and skips the choice. Source it.

# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=official.sh
source "$hack/official.sh"

# choose_provider - set and export PEERUP_PROVIDER.
choose_provider() {
  export PEERUP_PROVIDER=${PEERUP_PROVIDER:-$(official_engine || echo bed)}
  [[ $PEERUP_PROVIDER =~ ^(bed|docker|podman)$ ]] ||
    die "PEERUP_PROVIDER must be bed, docker or podman, not $PEERUP_PROVIDER"
}

# use_provider PROVIDER - the settings that kind and the engine need.
use_provider() {
  engine=podman
  case $1 in
    bed) use_podman ;;
    podman) ;;
    docker) engine=docker ;;
  esac
  export KIND_EXPERIMENTAL_PROVIDER=$engine
}

# use_podman - make podman fit for kind nodes on a machine that lacks
# CAP_SYS_RESOURCE and has the hybrid cgroup layout (see README.md).
use_podman() {
  need_packages podman runc netavark aardvark-dns containernetworking-plugins \
    iptables nftables iproute2 procps
  mkdir -p /lib/modules # kind mounts it into every node
  # a cluster of three nodes takes about 60 of the kernel's default of 128
  (($(sysctl -n fs.inotify.max_user_instances) >= 1024)) ||
    sysctl -qw fs.inotify.max_user_instances=1024
  local limit settings file=$cache/containers.conf
  limit=$(ulimit -Hn)
  [[ $limit == unlimited || $limit -gt 1048576 ]] && limit=1048576
  settings="[containers]
default_ulimits = [\"nofile=$limit:$limit\", \"nproc=$limit:$limit\"]
[network]
network_backend = \"netavark\"
[engine]
runtime = \"runc\"
cgroup_manager = \"cgroupfs\"
events_logger = \"file\""
  [[ $(cat "$file" 2>/dev/null) == "$settings" ]] || echo "$settings" >"$file"
  export CONTAINERS_CONF=$file
}
