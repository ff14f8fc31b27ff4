import type { z } from 'zod';
import { crossCheck } from './cross-checks.ts';
import { expandReferences, type Expansion, type ExpansionSource, pathKey } from './expansion.ts';
import { type Issue, messageOf, readIssues, valueAt } from './issues.ts';
import {
  ConfigError,
  type ConfigProblem,
  type ConfigWarning,
  formatPath,
  type Path,
  shorten,
} from './problem.ts';
import { type GatewayConfig, gatewayConfigSchema, sections } from './schema/gateway-config.ts';
import { validateDesktopDocument, validateSettingsDocument } from './settings-document.ts';
import { doubtsAbout } from './warnings.ts';
import { parseYaml, type YamlSource } from './yaml-source.ts';

export interface LoadOptions extends ExpansionSource {
  /** Where the text came from, for messages. */
  readonly path?: string;
}

export interface LoadedConfig {
  readonly config: GatewayConfig;
  readonly warnings: readonly ConfigWarning[];
}

/**
 * Reads the text of a gateway.yaml: YAML, then `${VAR}` and `${file:/path}`, then the schema, then the rules that span
 * sections. `env` is also asked for CLAUDE_GATEWAY_ALLOW_LOOPBACK.
 *
 * @throws ConfigError with all problems at once, and never anything else.
 */
export function loadConfig(text: string, options: LoadOptions): LoadedConfig {
  const yaml = parseYaml(text);
  if ('problems' in yaml) throw new ConfigError(yaml.problems, options.path);

  const expansion = expandReferences(yaml.value, options);
  const { document, result } = parseExpanded(expansion);
  const unresolved = new Set(expansion.problems.map(({ path }) => pathKey(path)));
  const issues = [
    ...expansion.problems,
    ...(result.success ? [] : readIssues(result.error.issues, document)),
    ...checkAcross(document, result, options),
  ].filter((issue, index) => index < expansion.problems.length || !unresolved.has(pathKey(issue.path)));

  const remarks = result.success ? reviewDocuments(result.data, expansion) : { problems: [], warnings: [] };
  const problems = [
    ...issues.map((issue) => toProblem(issue, document, expansion, yaml)),
    ...remarks.problems.map((remark) => withLine(remark, yaml)),
  ];
  if (problems.length > 0 || !result.success) throw new ConfigError(inFileOrder(problems), options.path);

  const warnings = [
    ...leftoverReferences(expansion),
    ...doubtsAbout(result.data, isProviderList(document)),
    ...remarks.warnings,
  ];
  return { config: result.data, warnings: warnings.map((warning) => withLine(warning, yaml)) };
}

type Result = z.ZodSafeParseResult<GatewayConfig>;

const parse = (document: unknown): Result => gatewayConfigSchema.safeParse(document, { error: messageOf });

/**
 * Parses the document. A string that is one whole reference is read as a number or boolean where one is wanted, as
 * it would have been without the reference.
 */
function parseExpanded({ value, origins }: Expansion): { document: unknown; result: Result } {
  const result = parse(value);
  if (result.success) return { document: value, result };
  let changed = false;
  for (const { path, scalar } of readIssues(result.error.issues, value)) {
    if (scalar === undefined || origins.get(pathKey(path)) !== 'whole') continue;
    const text = valueAt(value, path);
    const read = typeof text === 'string' ? readScalar(text, scalar) : undefined;
    if (read === undefined) continue;
    const parent = valueAt(value, path.slice(0, -1)) as Record<string | number, unknown>;
    parent[path.at(-1) as string | number] = read;
    changed = true;
  }
  return { document: value, result: changed ? parse(value) : result };
}

function readScalar(text: string, kind: 'number' | 'boolean'): number | boolean | undefined {
  if (kind === 'boolean') return text === 'true' ? true : text === 'false' ? false : undefined;
  const number = text === '' ? NaN : Number(text);
  return Number.isFinite(number) ? number : undefined;
}

function checkAcross(document: unknown, result: Result, { env }: LoadOptions): readonly Issue[] {
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return [];
  const raw = document as Readonly<Record<string, unknown>>;
  return crossCheck({
    config: result.success ? result.data : validSections(raw),
    has: (section) => Object.hasOwn(raw, section),
    isProviderList: isProviderList(document),
    allowLoopback: env['CLAUDE_GATEWAY_ALLOW_LOOPBACK'] === '1',
  });
}

function isProviderList(document: unknown): boolean {
  return Array.isArray(valueAt(document, ['oidc']));
}

function validSections(raw: Readonly<Record<string, unknown>>): Partial<GatewayConfig> {
  const valid: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries<z.ZodType>(sections)) {
    const result = schema.safeParse(Object.hasOwn(raw, name) ? raw[name] : undefined);
    if (result.success) valid[name] = result.data;
  }
  return valid;
}

/** Names under which secrets stand; what is below them is not shown either. */
const SECRET =
  /secret|passw|token$|^auth$|^key$|_key$|api_?key|pem$|credential|^headers$|^env$|cookie|postgres_url|extra_auth_params|^(cli|code|settings|desktop)$/i;

function toProblem(issue: Issue, document: unknown, expansion: Expansion, yaml: YamlSource): ConfigProblem {
  const { path, message, suggestion, missing, isKey } = issue;
  const found = missing === true || isKey === true ? undefined : foundAt(issue, document, expansion);
  const isOrigin = expansion.origins.has(pathKey(path));
  const line = yaml.lineOf(path);
  return {
    path: formatPath(path),
    message,
    ...(found === undefined ? {} : { found }),
    ...(suggestion === undefined || isOrigin ? {} : { suggestion }),
    ...(line === undefined ? {} : { line }),
  };
}

/** What the file has at a path, in words that give no secret away. */
function foundAt({ path }: Issue, document: unknown, { origins }: Expansion): string | undefined {
  const value = valueAt(document, path);
  const isSecret = path.some((part) => typeof part === 'string' && SECRET.test(part));
  const isHidden = isSecret || origins.has(pathKey(path));
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a map of keys';
  if (typeof value === 'number' || typeof value === 'boolean') {
    return isHidden ? `a ${typeof value}` : String(value);
  }
  if (typeof value !== 'string') return undefined;
  if (value === '') return 'an empty string';
  // Addresses of people and credentials in URLs have an @.
  return isHidden || value.includes('@') ? 'a string' : JSON.stringify(shorten(value));
}

interface Remark {
  readonly path: Path | string;
  readonly message: string;
  readonly base?: Path;
}

function withLine({ path, message, base }: Remark, yaml: YamlSource): ConfigProblem {
  const line = yaml.lineOf(base ?? (path as Path));
  return {
    path: typeof path === 'string' ? path : formatPath(path),
    message,
    ...(line === undefined ? {} : { line }),
  };
}

/** The settings documents of all policies. */
function reviewDocuments(
  config: GatewayConfig,
  { values }: Expansion,
): { problems: Remark[]; warnings: Remark[] } {
  const problems: Remark[] = [];
  const warnings: Remark[] = [];
  for (const [index, policy] of config.managed.policies.entries()) {
    for (const key of ['cli', 'code', 'settings', 'desktop'] as const) {
      if (policy[key] === undefined) continue;
      const base = ['managed', 'policies', index, key];
      const verdict = (key === 'desktop' ? validateDesktopDocument : validateSettingsDocument)(policy[key]);
      const place = ({ path, message }: { path: string; message: string }): Remark => ({
        base: [
          ...base,
          ...path
            .split(/[.[\]]+/)
            .filter((part) => part !== '')
            .map(asStep),
        ],
        path: `${formatPath(base)}${path === '' || path.startsWith('[') ? '' : '.'}${path}`,
        message: withoutValues(message, values),
      });
      problems.push(...verdict.problems.map(place));
      warnings.push(...verdict.warnings.map(place));
    }
  }
  return { problems, warnings };
}

const asStep = (part: string): string | number => (/^\d+$/.test(part) ? Number(part) : part);

/** These messages quote documents: whatever came from a variable or file is cut out. */
function withoutValues(message: string, values: ReadonlySet<string>): string {
  return [...values]
    .filter((value) => value !== '')
    .sort((a, b) => b.length - a.length)
    .reduce((text, value) => text.replaceAll(value, '…'), message);
}

/** Settings documents are full of shell, where `${X:-y}` is nothing odd. */
function leftoverReferences({ leftovers }: Expansion): Remark[] {
  return leftovers
    .filter(([section]) => section !== 'managed')
    .map((path) => ({
      path,
      message: 'has a ${ that is no reference and stays as it is; references are ${VAR} and ${file:/path}',
    }));
}

function inFileOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return problems.toSorted((a, b) => (a.line ?? Infinity) - (b.line ?? Infinity));
}
