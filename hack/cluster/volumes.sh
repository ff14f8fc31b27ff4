#!/usr/bin/env bash
# Prints a manifest of volumes for claims that name no class: directories of nodes, 1 to 4 below the one that is named,
# which everybody may write. Whoever calls this makes them.
#
#   hack/cluster/volumes.sh NODE=DIRECTORY…
set -euo pipefail
cat <<'YAML'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: directories, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
YAML
for pair in "$@"; do
  node=${pair%%=*} directory=${pair#*=}
  for number in 1 2 3 4; do
    cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: $node-$number}
spec:
  capacity: {storage: 20Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: directories
  local: {path: $directory/$number}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$node]}]}]}}
YAML
  done
done
