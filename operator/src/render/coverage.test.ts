import { expect, it } from '@jest/globals';
import { CLAUDE_GATEWAY, schemaOf, type ClaudeGateway, type StructuralSchema } from '@claude-gateway/crds';
import { renderConfig } from './gateway-config.ts';
import { gatewayWith, GOOD_SPECS, SIGNING_KEYS } from './testing/samples.ts';

/** What is not about the configuration of the gateway, but about the objects around it. */
const FOR_THE_CHILDREN = [
  'image', 'replicas', 'autoscaling', 'service', 'ingress', 'httpRoute', 'podDisruptionBudget', 'networkPolicy',
  'monitoring', 'serviceAccount', 'podTemplate',
]; // prettier-ignore

/** Reviewed: why each does not reach gateway.yaml. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'session.signingKeys.generated.rotateEvery': 'the operator rotates; the gateway reads the keys it finds',
  'telemetry.destinations[].name': 'names the entry for server-side apply',
};

/** Fields in whose place another one may stand. */
const REPLACED: Readonly<Record<string, string>> = {
  'identityProviders[].groupsClaim': 'groupsJSONPath',
};

type Step = string | number;

/** A field of the schema, such as `upstreams[].models[]`. */
interface Leaf {
  readonly name: string;
  readonly steps: readonly string[];
  readonly schema: StructuralSchema;
}

function* leaves(schema: StructuralSchema, steps: readonly string[]): Iterable<Leaf> {
  const { properties, items, additionalProperties } = schema;
  if (properties !== undefined)
    for (const [name, property] of Object.entries(properties)) yield* leaves(property, [...steps, name]);
  else if (items !== undefined) yield* leaves(items, [...steps, '[]']);
  else if (additionalProperties !== undefined) yield* leaves(additionalProperties, [...steps, '*']);
  else yield { name: steps.join('.').replaceAll('.[]', '[]'), steps, schema };
}

const spec = schemaOf(CLAUDE_GATEWAY).properties?.['spec'];
const LEAVES = [...leaves(spec ?? {}, [])].filter(({ steps }) => !FOR_THE_CHILDREN.includes(steps[0] ?? ''));

/** Where the samples have a field, with every default in place. */
function* spots(value: unknown, [step, ...rest]: readonly string[], path: readonly Step[]): Iterable<Step[]> {
  if (value === undefined) return;
  if (step === undefined) yield [...path];
  else if (typeof value === 'object' && value !== null) {
    const keys: readonly Step[] =
      step === '[]' ? [...(value as unknown[]).keys()] : step === '*' ? Object.keys(value) : [step];
    for (const key of keys) yield* spots((value as Record<Step, unknown>)[key], rest, [...path, key]);
  }
}

/** Another value; the renderer does not ask whether it makes sense. */
function other(value: unknown, { enum: choices }: StructuralSchema): unknown {
  if (choices !== undefined) return choices.find((choice) => choice !== value);
  if (typeof value === 'boolean') return !value;
  if (typeof value === 'number') return value + 1;
  if (typeof value !== 'string') throw new Error(`cannot change ${JSON.stringify(value)}`);
  if (/^([0-9]+[hms])+$/.test(value)) return `${value}7m`;
  return /^[0-9.]+$/.test(value) ? `${value}5`.replace(/^([0-9]+)$/, '$1.5') : `${value}x`;
}

function changed(value: unknown, [step, ...rest]: readonly Step[], schema: StructuralSchema): unknown {
  if (step === undefined) return other(value, schema);
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) }) as Record<
    Step,
    unknown
  >;
  copy[step] = changed(copy[step], rest, schema);
  return copy;
}

const GATEWAYS = GOOD_SPECS.slice(0, 3).map((sample) => gatewayWith(sample));
const rendered = (gateway: ClaudeGateway) => {
  const { yaml, files, tokens } = renderConfig(gateway, SIGNING_KEYS);
  return JSON.stringify([yaml, files, tokens]);
};
const before = GATEWAYS.map(rendered);

/** Whether a change of the field, where the samples have it, changes the document. */
function effects({ steps, schema }: Leaf): boolean[] {
  return GATEWAYS.flatMap((gateway, index) =>
    [...spots(gateway.spec, steps, [])].map((path) => {
      const after = { ...gateway, spec: changed(gateway.spec, path, schema) } as ClaudeGateway;
      return rendered(after) !== before[index];
    }),
  );
}

it('finds the fields of the schema', () => {
  expect(LEAVES.length).toBeGreaterThan(150);
  expect(LEAVES.map(({ name }) => name)).toContain('upstreams[].bedrock.accessKeys.accessKeyIDSecretRef.key');
});

it.each(LEAVES.map((leaf) => [leaf.name, leaf] as const))('%s reaches gateway.yaml', (name, leaf) => {
  const found = effects(leaf);
  expect(found).not.toEqual([]);
  if (REPLACED[name] !== undefined) {
    expect(found).toContain(true);
    return;
  }
  // Wherever it stands: a field of one kind of upstream must not stand for that of another.
  expect({ [name]: [...new Set(found)] }).toEqual({ [name]: [ELSEWHERE[name] === undefined] });
});

it('has reviewed fields only that there are', () => {
  const names = LEAVES.map(({ name }) => name);
  expect(Object.keys({ ...ELSEWHERE, ...REPLACED }).filter((name) => !names.includes(name))).toEqual([]);
  expect(FOR_THE_CHILDREN.filter((name) => spec?.properties?.[name] === undefined)).toEqual([]);
});
