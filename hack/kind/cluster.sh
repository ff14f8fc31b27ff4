#!/usr/bin/env bash
# A cluster of kind (Kubernetes in Docker) for end-to-end tests: two nodes that run pods, volumes, and Contour with
# an Envoy on each for Ingress and Gateway API. Runs until its standard input ends, prints `ready` when it is, and
# deletes the cluster then.
#
#   hack/kind/cluster.sh DIRECTORY NAME PORT
#
#   DIRECTORY  where it keeps everything: admin.conf, log
#   NAME       of the cluster; what is left over under this name is deleted first
#   PORT       of this machine's loopback; leads to Envoy
#
#   KIND, KUBECTL, DOCKER  the programs; on PATH by default
#   KIND_NODE_IMAGE        what nodes are made of, instead of kind's default
#   E2E_CONTOUR_IMAGE, E2E_ENVOY_IMAGE   instead of the images that Contour's manifest names; brought to the nodes when
#                          the Docker engine has them (hack/kind/images.sh makes some)
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
directory=$1 name=$2 port=$3
kind=${KIND:-kind} kubectl=${KUBECTL:-kubectl} docker=${DOCKER:-docker}
log=$directory/log
# Nothing here may touch, or be touched by, the clusters that this person works with.
export KUBECONFIG=$directory/admin.conf
cd "$directory"
# What remains to be done when nobody listens any more must not fail for that.
exec 3>&2 2>>"$log"

end() {
  local status=$?
  trap - EXIT
  ((status == 0)) || tail -n 30 "$log" >&3 || true
  "$kind" delete cluster --name "$name" >>"$log" 2>&1 || true
  exit "$status"
}
trap end EXIT

# soon COMMAND…: repeats it until it succeeds, for a minute
soon() {
  local try
  for ((try = 0; try < 60; try++)); do
    "$@" >>"$log" 2>&1 && return
    sleep 1
  done
  echo "not done in time: $*" >>"$log"
  exit 1
}

kube() { "$kubectl" --request-timeout=30s "$@"; }

# Contour's own manifest, with the images that were asked for.
manifest() {
  local file expressions=(-e 's|^\( *gatewayClassName: \)example$|\1contour|')
  file=$("$here/contour.sh")
  [[ -z ${E2E_CONTOUR_IMAGE:-} ]] || expressions+=(-e "s|image: ghcr.io/projectcontour/contour:.*|image: $E2E_CONTOUR_IMAGE|")
  [[ -z ${E2E_ENVOY_IMAGE:-} ]] || expressions+=(-e "s|image: docker.io/envoyproxy/envoy:.*|image: $E2E_ENVOY_IMAGE|")
  # The class is called `example` there.
  sed "${expressions[@]}" -e '/^kind: GatewayClass$/,/^---$/ s|^  name: example$|  name: contour|' "$file"
}

volumes() {
  local node pairs=()
  for node in "$name-worker" "$name-worker2"; do
    "$docker" exec "$node" mkdir -p -m 777 /var/lib/volumes/{1,2,3,4}
    pairs+=("$node=/var/lib/volumes")
  done
  "$here/../cluster/volumes.sh" "${pairs[@]}"
}

manifest >contour.yaml
"$kind" delete cluster --name "$name" >>"$log" 2>&1
cat >kind.yaml <<YAML
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
  - role: worker
    extraPortMappings: [{containerPort: 80, hostPort: $port, listenAddress: 127.0.0.1}]
  - role: worker
YAML
create=(create cluster --name "$name" --config kind.yaml --wait 180s)
[[ -z ${KIND_NODE_IMAGE:-} ]] || create+=(--image "$KIND_NODE_IMAGE")
"$kind" "${create[@]}" >>"$log" 2>&1

for image in ${E2E_CONTOUR_IMAGE:-} ${E2E_ENVOY_IMAGE:-}; do
  "$docker" image inspect "$image" >/dev/null 2>&1 || continue
  "$kind" load docker-image --name "$name" --nodes "$name-worker,$name-worker2" "$image" >>"$log" 2>&1
done
# A node image that was made without kind's own provisioner falls back to one whose volumes only root can write.
if [[ $(kube get storageclass standard -o 'jsonpath={.provisioner}' --ignore-not-found) == kubernetes.io/host-path ]]; then
  kube delete storageclass standard >>"$log" 2>&1
  volumes | kube apply --server-side -f - >>"$log" 2>&1
fi
# The file has resources of kinds that it defines: those come later.
soon kube apply --server-side -f contour.yaml
soon kube apply --server-side -f - <<'YAML'
{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: contour}, spec: {controller: projectcontour.io/ingress-controller}}
YAML
"$kubectl" -n projectcontour rollout status deployment/contour --timeout=300s >>"$log" 2>&1
"$kubectl" -n projectcontour rollout status daemonset/envoy --timeout=300s >>"$log" 2>&1
"$kubectl" -n projectcontour wait --for=condition=Programmed gateway/contour --timeout=60s >>"$log" 2>&1
"$kubectl" wait --for=condition=Ready node --all --timeout=60s >>"$log" 2>&1
echo ready
# Whoever started us ends us by closing this, or by dying.
cat >/dev/null
