type Fields = Readonly<Record<string, unknown>>;

/** Lists whose items are merged, by the name of the list: what an item is known by. */
const MERGED: Readonly<Record<string, (item: Fields) => string>> = {
  containers: ({ name }) => String(name),
  initContainers: ({ name }) => String(name),
  ephemeralContainers: ({ name }) => String(name),
  volumes: ({ name }) => String(name),
  imagePullSecrets: ({ name }) => String(name),
  resourceClaims: ({ name }) => String(name),
  schedulingGates: ({ name }) => String(name),
  claims: ({ name }) => String(name),
  env: ({ name }) => String(name),
  hostAliases: ({ ip }) => String(ip),
  volumeMounts: ({ mountPath }) => String(mountPath),
  volumeDevices: ({ devicePath }) => String(devicePath),
  // As the API server has it: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.34/#container-v1-core
  ports: ({ containerPort, protocol = 'TCP' }) => JSON.stringify([containerPort, protocol]),
};

const PROBE = ['exec', 'grpc', 'httpGet', 'tcpSocket'];
/** Of these fields an object has one: whoever sets another replaces it. */
const ONE_OF: Readonly<Record<string, readonly string[]>> = {
  env: ['value', 'valueFrom'],
  startupProbe: PROBE,
  readinessProbe: PROBE,
  livenessProbe: PROBE,
};

/**
 * A PodSpec with a part of another merged into it, much as a strategic merge patch: maps by field, lists of things that
 * have a name by name (volume mounts by path, ports by number), tolerations appended, every other list replaced. null
 * removes a field.
 */
export function mergePodSpec(base: Fields, patch: Fields): Fields {
  return mergeFields(base, patch, '');
}

function mergeFields(base: Fields, patch: Fields, at: string): Fields {
  const merged = Object.fromEntries(
    Object.entries(base).filter(([field]) => patch[field] !== null && !isReplaced(field, patch, at)),
  );
  for (const [field, value] of Object.entries(patch)) {
    if (value === null || value === undefined) continue;
    define(merged, field, mergeValue(Object.hasOwn(base, field) ? base[field] : undefined, value, field));
  }
  return merged;
}

function isReplaced(field: string, patch: Fields, at: string): boolean {
  // A volume is its name and one source.
  if (at === 'volumes') {
    const others = Object.keys(patch).filter((other) => other !== 'name');
    return field !== 'name' && others.length > 0 && !others.includes(field);
  }
  const choice = ONE_OF[at];
  return choice?.includes(field) === true && choice.some((other) => other !== field && other in patch);
}

function mergeValue(base: unknown, patch: unknown, field: string): unknown {
  if (Array.isArray(patch)) return mergeList(Array.isArray(base) ? (base as unknown[]) : [], patch, field);
  if (!isFields(patch)) return patch;
  return mergeFields(isFields(base) ? base : {}, patch, field);
}

function mergeList(base: readonly unknown[], patch: readonly unknown[], field: string): unknown[] {
  if (field === 'tolerations') return [...base, ...patch];
  const keyOf = MERGED[field];
  if (keyOf === undefined || !patch.every(isFields)) return [...patch];
  const merged = base.filter(isFields);
  for (const item of patch) {
    const index = merged.findIndex((other) => keyOf(other) === keyOf(item));
    if (index < 0) merged.push(mergeFields({}, item, field));
    else merged[index] = mergeFields(merged[index] as Fields, item, field);
  }
  return merged;
}

/** Assignment would call the setter of `__proto__`. */
function define(object: object, field: string, value: unknown): void {
  Object.defineProperty(object, field, { value, enumerable: true, configurable: true, writable: true });
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
