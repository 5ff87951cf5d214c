# shellcheck shell=bash
# Plain kind with its official node image, where a working Docker or Podman can
# pull it. provider.sh sources it.
# shellcheck disable=SC2154 # the names of lib.sh

# official_engine - print the engine that pulls and runs a privileged container
# within 20 s; a client in PATH alone proves nothing.
official_engine() {
  local engine
  for engine in docker podman; do
    command -v "$engine" >/dev/null || continue
    if timeout 20 "$engine" run --rm --privileged --pull=always \
      docker.io/library/hello-world >/dev/null 2>&1; then
      echo "$engine"
      return
    fi
    log "$engine is here, but cannot pull and run a privileged container"
  done
  return 1
}

# official_cluster NAME KUBECONFIG
official_cluster() {
  step "cluster $1" kind create cluster --name "$1" --config "$cluster_config" \
    --kubeconfig "$2" --wait 180s
  log "cluster $1: Kubernetes $(kubectl --kubeconfig "$2" version -o json |
    sed -n '/serverVersion/,$s/.*"gitVersion": "\(.*\)".*/\1/p'), kind's official node image"
}
