#!/usr/bin/env bash
# A whole Kubernetes for end-to-end tests: two nodes that really run pods, DNS, volumes, and Contour with Envoy for
# Ingress and Gateway API. Runs until its standard input ends, and prints `ready` when it is.
#
#   hack/cluster/testbed.sh DIRECTORY SLOT
#
#   DIRECTORY  where it keeps everything: admin.conf, NODE/containerd.sock, *.log
#   SLOT       0 to 15: the networks 10.(200 + SLOT).0.0/16 are its own
#
# Root on Linux. Everything lives in process, mount and network namespaces which end with this script, however it
# ends: no process, mount, route or interface outlives it. Programs come from hack/cluster/programs.sh.
set -euo pipefail

if [[ -z ${CLUSTER_INSIDE:-} ]]; then
  export CLUSTER_INSIDE=1
  exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc -- "$BASH" "$0" "$@"
fi

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
state=$1 slot=$2
bin=${CLUSTER_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/claude-gateway-testbed/bin}
prefix=10.$((200 + slot))
host=$prefix.0.1 control=$prefix.0.2 api=$prefix.0.2:6443 services=$prefix.128.0/20 first_service=$prefix.128.1
nodes=(node1 node2)
pause=claude-gateway.test/pause:1
export PATH=$bin:$PATH KUBECONFIG=$state/admin.conf
unset HTTP_PROXY HTTPS_PROXY http_proxy https_proxy ALL_PROXY all_proxy

mkdir -p "$state"
cd "$state"
# Named network namespaces are mounts: these are seen by nobody else, and end with the mount namespace.
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns

# within NAMESPACE COMMAND…   (`ip netns exec` would hide the cgroups)
within() { nsenter --net="/run/netns/$1" -- "${@:2}"; }

# start NAMESPACE LOG COMMAND…
start() { nsenter --net="/run/netns/$1" -- "${@:3}" >"$2.log" 2>&1 </dev/null & }

# soon COMMAND…: repeats it until it succeeds
soon() {
  local try
  for ((try = 0; try < 450; try++)); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
  done
  echo "not ready in time: $*" >&2
  exit 1
}

kube() { kubectl --request-timeout=10s "$@"; }

# ── networks ──────────────────────────────────────────────────────────────────────────────────────────────────────

networks() {
  local number=0 node other
  ip netns add control
  within control ip link set lo up
  within control ip link add nodes type bridge
  within control ip addr add "$control/24" dev nodes
  within control ip link set nodes up
  ip link add "cgw-e2e$slot" type veth peer name host netns control
  ip addr add "$host/24" dev "cgw-e2e$slot"
  ip link set "cgw-e2e$slot" up
  within control ip link set host master nodes up
  for node in "${nodes[@]}"; do
    number=$((number + 1))
    ip netns add "$node"
    within control ip link add "$node" type veth peer name eth0 netns "$node"
    within control ip link set "$node" master nodes up
    within "$node" ip link set lo up
    within "$node" ip addr add "$prefix.0.1$number/24" dev eth0
    within "$node" ip link set eth0 up
    # kube-proxy takes these packets before they leave; without a route they would not even be made.
    within "$node" ip route add "$services" via "$control"
    within "$node" sysctl -qw net.ipv4.ip_forward=1
    within control ip route add "$prefix.$number.0/24" via "$prefix.0.1$number"
    ip route add "$prefix.$number.0/24" via "$prefix.0.1$number"
    for ((other = 1; other <= ${#nodes[@]}; other++)); do
      ((other == number)) || within "$node" ip route add "$prefix.$other.0/24" via "$prefix.0.1$other"
    done
  done
}

# ── certificates ──────────────────────────────────────────────────────────────────────────────────────────────────

# certificate FILE SUBJECT EXTENSION
certificate() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -subj "$2" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
    -extfile <(printf '%s\n' "$3") 2>/dev/null
}

# client FILE SUBJECT: a kubeconfig that holds all it needs
client() {
  certificate "$1" "$2" extendedKeyUsage=clientAuth
  cat >"$1.conf" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: "https://$api", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
contexts: [{name: e2e, context: {cluster: e2e, user: $1}}]
current-context: e2e
YAML
}

certificates() {
  local number=0 node
  umask 077
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -subj /CN=e2e -days 30 -out ca.crt 2>/dev/null
  openssl genrsa -out service-accounts.key 2048 2>/dev/null
  certificate apiserver /CN=kube-apiserver \
    "subjectAltName=IP:$control,IP:$first_service,IP:127.0.0.1,DNS:kubernetes.default.svc,DNS:kubernetes.default"
  client admin /O=system:masters/CN=admin
  client controllers /CN=system:kube-controller-manager
  client scheduler /CN=system:kube-scheduler
  client proxy /CN=system:kube-proxy
  for node in "${nodes[@]}"; do
    number=$((number + 1))
    client "$node" "/O=system:nodes/CN=system:node:$node"
    certificate "$node-server" "/CN=$node" "subjectAltName=IP:$prefix.0.1$number,DNS:$node"
  done
  umask 022
}

# ── control plane ─────────────────────────────────────────────────────────────────────────────────────────────────

control_plane() {
  start control etcd etcd --data-dir=etcd --unsafe-no-fsync --listen-client-urls=http://127.0.0.1:2379 \
    --advertise-client-urls=http://127.0.0.1:2379 --listen-peer-urls=http://127.0.0.1:2380 \
    --initial-advertise-peer-urls=http://127.0.0.1:2380 --initial-cluster=default=http://127.0.0.1:2380
  start control apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address="$control" \
    --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key --client-ca-file=ca.crt \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=service-accounts.key \
    --service-account-signing-key-file=service-accounts.key --service-cluster-ip-range="$services" \
    --kubelet-client-certificate=admin.crt --kubelet-client-key=admin.key --kubelet-certificate-authority=ca.crt \
    --kubelet-preferred-address-types=InternalIP
  soon kube get --raw /readyz
  start control controllers kube-controller-manager --kubeconfig=controllers.conf --use-service-account-credentials \
    --service-account-private-key-file=service-accounts.key --root-ca-file=ca.crt --leader-elect=false
  start control scheduler kube-scheduler --kubeconfig=scheduler.conf --leader-elect=false
  cat >Corefile <<COREFILE
.:53 {
  bind $control
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $state/admin.conf
  }
}
COREFILE
  start control coredns coredns -conf Corefile
}

# ── nodes ─────────────────────────────────────────────────────────────────────────────────────────────────────────

# node NAME NUMBER
node() {
  local name=$1 address=$prefix.0.1$2 pods=$prefix.$2 dir=$state/$1 controller
  mkdir -p "$dir/cni" "$dir/volumes"
  # The kubelet wants its root cgroup to exist.
  for controller in /sys/fs/cgroup/*/; do
    [[ -e ${controller}cgroup.procs && ! -e /sys/fs/cgroup/cgroup.controllers ]] || continue
    mkdir -p "${controller}claude-gateway-e2e/$slot/$name"
  done
  [[ ! -e /sys/fs/cgroup/cgroup.controllers ]] || mkdir -p "/sys/fs/cgroup/claude-gateway-e2e/$slot/$name"
  cat >"$dir/containerd.toml" <<TOML
version = 3
root = "$dir/containerd"
state = "$dir/run"
[grpc]
  address = "$dir/containerd.sock"
[ttrpc]
  address = "$dir/containerd.sock.ttrpc"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '$pause'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['$bin/cni']
    conf_dir = '$dir/cni'
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
TOML
  cat >"$dir/cni/10-pods.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true, "ipam": {"type": "host-local",
    "dataDir": "$dir/addresses", "ranges": [[{"subnet": "$pods.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  cat >"$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $state/$name-server.crt
tlsPrivateKeyFile: $state/$name-server.key
healthzBindAddress: 127.0.0.1
cgroupDriver: cgroupfs
cgroupRoot: /claude-gateway-e2e/$slot/$name
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
containerRuntimeEndpoint: unix://$dir/containerd.sock
clusterDNS: [$control]
clusterDomain: cluster.local
resolvConf: ""
YAML
  cat >"$dir/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: $prefix.0.0/16
clientConnection: {kubeconfig: $state/proxy.conf}
bindAddress: $address
conntrack: {maxPerCore: 0}
YAML
  start "$name" "$name-containerd" containerd --config "$dir/containerd.toml"
  soon ctr -a "$dir/containerd.sock" version
  ctr -a "$dir/containerd.sock" -n k8s.io images import pause.tar >/dev/null
  start "$name" "$name-kubelet" kubelet --config="$dir/kubelet.yaml" --kubeconfig="$state/$name.conf" \
    --hostname-override="$name" --node-ip="$address" --root-dir="$dir/kubelet" --cert-dir="$dir/kubelet-certificates"
  start "$name" "$name-proxy" kube-proxy --config="$dir/proxy.yaml" --hostname-override="$name"
}

# The image of every pod's sandbox: an archive of one program, as `docker save` would write it.
pause_image() {
  local work=pause layer config
  mkdir -p "$work/tree"
  cp "$bin/pause" "$work/tree/pause"
  tar -C "$work/tree" --owner=0 --group=0 -cf "$work/layer.tar" pause
  layer=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/pause"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')" "$layer" >"$work/config.json"
  config=$(sha256sum "$work/config.json" | cut -d' ' -f1)
  mv "$work/config.json" "$work/$config.json"
  printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$config" "$pause" >"$work/manifest.json"
  tar -C "$work" -cf pause.tar manifest.json "$config.json" layer.tar
}

volumes() {
  local node pairs=()
  for node in "${nodes[@]}"; do
    mkdir -p -m 777 "$node"/volumes/{1,2,3,4}
    pairs+=("$node=$state/$node/volumes")
  done
  "$here/volumes.sh" "${pairs[@]}"
}

# ── ingress ───────────────────────────────────────────────────────────────────────────────────────────────────────

ingress() {
  kube apply --server-side -f "$bin/../crds" >/dev/null
  kube wait --for=condition=established --timeout=30s crd/httpproxies.projectcontour.io \
    crd/httproutes.gateway.networking.k8s.io crd/gateways.gateway.networking.k8s.io >/dev/null
  kube apply --server-side -f - >/dev/null <<'YAML'
{apiVersion: v1, kind: Namespace, metadata: {name: projectcontour}}
---
{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: contour}, spec: {controller: projectcontour.io/ingress-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: contour}, spec: {controllerName: projectcontour.io/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: contour, namespace: projectcontour}
spec: {gatewayClassName: contour, listeners: [{name: http, protocol: HTTP, port: 80, allowedRoutes: {namespaces: {from: All}}}]}
YAML
  printf 'gateway: {gatewayRef: {namespace: projectcontour, name: contour}}\n' >contour.yaml
  start control contour contour serve --kubeconfig="$KUBECONFIG" --insecure --xds-address=127.0.0.1 --xds-port=8001 \
    --config-path=contour.yaml --disable-leader-election --envoy-service-http-address="$control" \
    --envoy-service-http-port=8080 --envoy-service-https-address="$control" --envoy-service-https-port=8443
  contour bootstrap envoy.json --xds-address=127.0.0.1 --xds-port=8001 --admin-address="$state/envoy.sock" 2>/dev/null
  start control envoy envoy -c envoy.json --service-cluster e2e --service-node e2e --concurrency 1 --log-level warn
}

networks
certificates
pause_image
control_plane
number=0
for name in "${nodes[@]}"; do node "$name" $((number += 1)); done
volumes | kube apply --server-side -f - >/dev/null
ingress
for name in "${nodes[@]}"; do
  soon kube get "node/$name"
  kubectl wait --for=condition=Ready "node/$name" --timeout=60s >/dev/null
done
kubectl -n projectcontour wait --for=condition=Programmed gateway/contour --timeout=60s >/dev/null
echo ready
# Whoever started us ends us by closing this, or by dying.
cat >/dev/null
