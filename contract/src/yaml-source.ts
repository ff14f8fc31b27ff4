import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import type { ConfigProblem, Path } from './problem.ts';

/** A parsed YAML file: plain values, and where in the text each of them stands. */
export interface YamlSource {
  readonly value: unknown;
  /** Line (from 1) of the key or list entry at a path, or of its nearest ancestor below the top. */
  lineOf(path: Path): number | undefined;
}

/** An alias may be used a hundred times over: beyond that, a document is a bomb. */
const MAX_ALIASES = 100;

/**
 * Parses one YAML 1.2 document (core schema, merge keys). Keys become strings.
 *
 * @returns problems instead, with line and column, when the text is no YAML or has a key twice.
 */
export function parseYaml(text: string): YamlSource | { readonly problems: readonly ConfigProblem[] } {
  const lineCounter = new LineCounter();
  // Pretty errors would quote the source, which may hold a secret.
  const document = parseDocument(text, { prettyErrors: false, lineCounter, merge: true });
  if (document.errors.length > 0) {
    return {
      problems: document.errors.map(({ code, message, pos }) => {
        const { line, col } = lineCounter.linePos(pos[0]);
        return { path: '', message: yamlMessage(code, message), line, column: col };
      }),
    };
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch {
    return { problems: [{ path: '', message: 'the YAML has aliases that cannot be resolved' }] };
  }
  return { value, lineOf: (path) => lineOf(document, path, lineCounter) };
}

/** Our words where the parser's would quote the text or are hard to understand. */
const MESSAGES: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'the same key stands here a second time',
  MULTIPLE_DOCS: 'there must be one YAML document, not several',
  TAB_AS_INDENT: 'tabs cannot indent YAML; use spaces',
  BAD_ALIAS: 'this alias is not known here',
  KEY_OVER_1024_CHARS: 'the key is too long; is a colon or quote missing?',
};

function yamlMessage(code: string, message: string): string {
  const own = MESSAGES[code];
  if (own !== undefined) return own;
  const sentence = message.split('\n', 1)[0] ?? '';
  // The parser quotes from the text in some messages; those keep their code only.
  return /["'`]|: /.test(sentence)
    ? `not valid YAML (${code.toLowerCase().replaceAll('_', ' ')})`
    : `not valid YAML: ${sentence}`;
}

function lineOf(document: Document.Parsed, path: Path, lineCounter: LineCounter): number | undefined {
  let node: Node | null = document.contents;
  let offset: number | undefined;
  for (const part of path) {
    const step = stepInto(isAlias(node) ? node.resolve(document) : node, part);
    if (step === undefined) break;
    offset = step.at?.range?.[0] ?? offset;
    node = step.value;
  }
  return offset === undefined ? undefined : lineCounter.linePos(offset).line;
}

interface Step {
  /** The node that a person would look for: a key, or an entry of a list. */
  readonly at: Node | null;
  readonly value: Node | null;
}

function stepInto(node: Node | null | undefined, part: string | number): Step | undefined {
  if (isMap<Node | null, Node | null>(node)) {
    const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(part));
    return pair === undefined ? undefined : { at: pair.key, value: pair.value };
  }
  if (!isSeq<Node | null>(node) || typeof part !== 'number') return undefined;
  const item = node.items[part];
  return item === undefined ? undefined : { at: item, value: item };
}
