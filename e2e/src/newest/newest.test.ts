import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { settingDifferences, unreviewed } from '@claude-gateway/contract/testing';
import { startPostgres } from '@claude-gateway/dev';
import { memberNames, newestRelease, type Release } from './newest-release.ts';
import { unusedKeys } from './probe-configuration.ts';
import { probeSettings } from './probe-settings.ts';
import { ReferenceJudge } from './reference-judge.ts';

/**
 * Compares what we know with the newest Claude Code: run on a schedule (`make e2e-newest`), not for every change. What it
 * finds is a list of work, not a fault of the change at hand.
 */
const CONTRACT = new URL('../../../contract/src/fixtures/', import.meta.url);
const VERDICTS = new URL('settings-verdicts.json', CONTRACT);
const PROBES_TIMEOUT_MS = 30 * 60_000;

const BESIDE_ANOTHER = 'known; the complete document has another key in its place';
/** Keys of `gateway.yaml` that need no work, and why. */
const REVIEWED: Readonly<Record<string, string>> = {
  'cri.jwks_url': 'the whole section is refused',
  'managed.policies.[].cli': BESIDE_ANOTHER,
  'managed.policies.[].settings': BESIDE_ANOTHER,
  'managed.settings': 'a text that changes nothing we could see',
  'oidc.client_assertion': BESIDE_ANOTHER,
  'oidc.groups_jsonpath': BESIDE_ANOTHER,
  'oidc.use_pkce': BESIDE_ANOTHER,
  'rate_limits.device_verify.window_seconds': BESIDE_ANOTHER,
  'telemetry.forward_to.[].auth.google.service_account_json': BESIDE_ANOTHER,
  'telemetry.forward_to.[].metrics': BESIDE_ANOTHER,
  'telemetry.forward_to.[].traces': BESIDE_ANOTHER,
  'upstreams.[].guardrail_trace': 'comes with Amazon Bedrock, which is refused as a whole',
  'upstreams.[].location': BESIDE_ANOTHER,
};

let postgres: Awaited<ReturnType<typeof startPostgres>>;
let release: Release;
let judge: ReferenceJudge;
let names: string[];

beforeAll(async () => {
  postgres = await startPostgres();
  release = newestRelease();
  judge = new ReferenceJudge(release.binary, await postgres.createDatabase());
  names = await memberNames(release.binary);
  console.info(`Claude Code ${release.version}, ${names.length} names that could be keys`);
}, PROBES_TIMEOUT_MS);

afterAll(() => postgres.stop());

it(
  'knows every setting of the newest release, and the values that it takes',
  async () => {
    const verdicts = await probeSettings(judge, ['$schema', ...names]);
    if (process.env['RECORD']) record(verdicts);
    expect(unreviewed(settingDifferences(verdicts))).toEqual([]);
  },
  PROBES_TIMEOUT_MS,
);

it(
  'knows every key of gateway.yaml that the gateway of the newest release knows',
  async () => {
    const unused = await unusedKeys(judge, completeConfiguration(), names);
    expect(unused.filter((key) => REVIEWED[key] === undefined)).toEqual([]);
  },
  PROBES_TIMEOUT_MS,
);

/** Every section and key that we know, with values in the place of references. */
function completeConfiguration(): Record<string, unknown> {
  const text = readFileSync(new URL('complete.yaml', CONTRACT), 'utf8')
    .replaceAll('${PORT}', '8080')
    .replaceAll('${USERINFO}', 'true')
    .replace(/\$\{[^}]*\}/g, 'a-value-of-at-least-thirty-two-bytes');
  const { oidc, ...rest } = parse(text) as { readonly oidc: readonly object[] };
  // Several identity providers are an extension of ours.
  return { ...rest, oidc: Object.assign({}, ...oidc) as object };
}

/** Writes what was found where the tests of the table read it. */
function record(verdicts: readonly { readonly document: object }[]): void {
  const { documents } = JSON.parse(readFileSync(VERDICTS, 'utf8')) as { documents: readonly object[] };
  const unique = new Map(verdicts.map((verdict) => [JSON.stringify(verdict.document), verdict]));
  const lines = (each: Iterable<object>): string =>
    [...each].map((item) => `    ${JSON.stringify(item)}`).join(',\n');
  writeFileSync(
    VERDICTS,
    `{\n  "release": ${JSON.stringify(release.version)},\n  "date": "${new Date().toISOString().slice(0, 10)}",\n` +
      `  "documents": [\n${lines(documents)}\n  ],\n  "verdicts": [\n${lines(unique.values())}\n  ]\n}\n`,
  );
}
