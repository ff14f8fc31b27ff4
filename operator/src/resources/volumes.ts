import { createHash } from 'node:crypto';
import type { MountedFile } from '../render/gateway-config.ts';
import type { ChildInput } from './child.ts';
import { CONFIG_KEY, configMapName } from './config-map.ts';
import { signingKeysName } from './signing-keys.ts';

export const CONFIG_DIRECTORY = '/etc/claude-gateway';

/** Readable by whatever user the pod runs as, so that none has to be fixed; only what mounts a volume sees it. */
const MODE = 0o444;
/** Of projected tokens, in seconds; the kubelet replaces them when four fifths have gone. */
const TOKEN_SECONDS = 3600;

export interface Volumes {
  readonly volumes: readonly { readonly name: string; readonly [source: string]: unknown }[];
  readonly volumeMounts: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly readOnly?: true;
  }[];
}

/**
 * Every Secret and ConfigMap is mounted by a directory of its own, and never by subPath, so that changes of their values reach
 * running pods. One projected volume for all of them could not hold the signing keys as a whole Secret.
 */
export function volumesOf({ gateway, rendered }: ChildInput): Volumes {
  const directories = Map.groupBy(rendered.files, ({ path }) => path.slice(0, path.lastIndexOf('/')));
  const references = [...directories]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([directory, files]) => referenceVolume(directory, files, signingKeysName(gateway)));
  const tokens = rendered.tokens.map(({ audience, path }) => ({
    serviceAccountToken: {
      audience,
      expirationSeconds: TOKEN_SECONDS,
      path: path.slice(path.lastIndexOf('/') + 1),
    },
  }));
  const mounted = [
    {
      mountPath: CONFIG_DIRECTORY,
      volume: {
        name: 'config',
        configMap: {
          name: configMapName(gateway),
          items: [{ key: CONFIG_KEY, path: CONFIG_KEY }],
          defaultMode: MODE,
        },
      },
    },
    ...references,
    ...(tokens.length === 0
      ? []
      : [
          {
            mountPath: `${CONFIG_DIRECTORY}/tokens`,
            volume: { name: 'tokens', projected: { sources: tokens, defaultMode: MODE } },
          },
        ]),
  ];
  return {
    // The root file system is read-only.
    volumes: [...mounted.map(({ volume }) => volume), { name: 'tmp', emptyDir: { sizeLimit: '64Mi' } }],
    volumeMounts: [
      ...mounted.map(({ mountPath, volume }) => ({ name: volume.name, mountPath, readOnly: true as const })),
      { name: 'tmp', mountPath: '/tmp' },
    ],
  };
}

function referenceVolume(directory: string, files: readonly MountedFile[], signingKeys: string) {
  const [{ kind, name }] = files as readonly [MountedFile];
  // Of the Secret that the operator makes, all keys: a new one must be in the pods before gateway.yaml names it.
  const items =
    kind === 'Secret' && name === signingKeys ? {} : { items: files.map(({ key }) => ({ key, path: key })) };
  const source =
    kind === 'Secret'
      ? { secret: { secretName: name, ...items, defaultMode: MODE } }
      : { configMap: { name, ...items, defaultMode: MODE } };
  return { mountPath: directory, volume: { name: volumeName(kind, name), ...source } };
}

/** Names of volumes are shorter than those of objects, and have no dots. */
function volumeName(kind: string, name: string): string {
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 8);
  const readable = name.replaceAll('.', '-').slice(0, 40).replace(/-+$/, '');
  return `${kind.toLowerCase()}-${readable}-${hash}`;
}
