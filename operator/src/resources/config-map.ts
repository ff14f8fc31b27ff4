import type { ClaudeGateway } from '@claude-gateway/crds';
import { CONFIG_MAPS } from '../kube/objects.ts';
import { child, type Child, type ChildInput } from './child.ts';

export const configMapName = ({ metadata: { name } }: ClaudeGateway): string => `${name}-config`;

/** The key, and the name of the file in the pods. */
export const CONFIG_KEY = 'gateway.yaml';

/** Holds no secret. Its name stays the same when its content changes: running gateways follow it. */
export const configMap = ({ gateway, rendered }: ChildInput): Child =>
  child(CONFIG_MAPS, gateway, { data: { [CONFIG_KEY]: rendered.yaml } }, { name: configMapName(gateway) });
