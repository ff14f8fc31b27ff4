import type { As, Call } from './script.ts';

/** A gateway under comparison, and who calls it how. */
export interface Target {
  readonly url: string;
  readonly headers: Readonly<Record<As, Readonly<Record<string, string>>>>;
}

/** An answer without what differs from run to run: ids, times, the words of messages. */
export interface Answer {
  readonly status: number;
  /** Whether header and body name one request. */
  readonly identified: boolean;
  readonly contentType: string | null;
  /** JSON in the order in which it came. */
  readonly body: string;
}

/** Fields that only this gateway has, by the `type` or the name of the object. */
const SETTINGS = [
  'unit',
  'sharing',
  'mode',
  'when_short',
  'failure_policy',
  'time_zone',
  'warn_at_percent',
  'blocked_message',
  'policy',
  'owner',
];
const EXTENSIONS: Readonly<Record<string, ReadonlySet<string>>> = {
  spend_limit: new Set([...SETTINGS, 'matched_principals']),
  before: new Set(SETTINGS),
  after: new Set(SETTINGS),
  pooled_budget: new Set(['spend_limit_id']),
};

/** Runs calls in order against one gateway and remembers the ids and pages that later calls name. */
export class Player {
  readonly #target: Target;
  readonly #memory = new Map<string, string>();
  /** By the id that a gateway gave. */
  readonly #names = new Map<string, string>();

  constructor(target: Target) {
    this.#target = target;
  }

  async play(call: Call): Promise<Answer> {
    const path = call.path.replaceAll(/\{([^}]+)\}/g, (_, name: string) => this.#recall(name));
    const body =
      call.body === undefined || typeof call.body === 'string' || Buffer.isBuffer(call.body)
        ? call.body
        : JSON.stringify(call.body);
    const response = await fetch(`${this.#target.url}${path}`, {
      method: call.method,
      headers: {
        ...this.#target.headers[call.as],
        ...(body === undefined ? {} : { 'content-type': call.contentType ?? 'application/json' }),
      },
      ...(body === undefined ? {} : { body }),
    });
    const text = await response.text();
    const json: unknown = text === '' ? null : JSON.parse(text);
    this.#remember(call.name, json);
    const requestId = response.headers.get('request-id');
    return {
      status: response.status,
      identified:
        requestId !== null &&
        (!isObject(json) || !('request_id' in json) || json['request_id'] === requestId),
      contentType: response.headers.get('content-type')?.split(';')[0] ?? null,
      body: JSON.stringify(this.#normal(json), null, 1),
    };
  }

  #recall(name: string): string {
    const value = this.#memory.get(name);
    if (value === undefined) throw new Error(`no call named "${name}" was answered with an id or a page`);
    return value;
  }

  #remember(name: string, json: unknown): void {
    if (!isObject(json)) return;
    const { id, next_page: nextPage, data } = json;
    if (typeof id === 'string') {
      this.#memory.set(name, id);
      if (!this.#names.has(id)) this.#names.set(id, name);
    } else if (typeof nextPage === 'string') this.#memory.set(name, nextPage);
    else if (Array.isArray(data)) {
      const last: unknown = data.at(-1);
      if (isObject(last) && last['type'] === 'audit_event') this.#memory.set(name, String(last['id']));
    }
  }

  #normal(value: unknown, key = ''): unknown {
    if (Array.isArray(value)) return value.map((item) => this.#normal(item, key));
    if (isObject(value)) {
      const extensions = EXTENSIONS[typeof value['type'] === 'string' ? value['type'] : key];
      return Object.fromEntries(
        Object.entries(value)
          .filter(([field]) => field !== 'request_id' && extensions?.has(field) !== true)
          .map(([field, inner]) => [field, this.#field(field, inner, value)]),
      );
    }
    return value;
  }

  #field(field: string, value: unknown, of: Record<string, unknown>): unknown {
    if (typeof value !== 'string') return this.#normal(value, field);
    if (field === 'message') return '…';
    if (field.endsWith('_at')) return Number.isNaN(Date.parse(value)) ? value : 'a moment';
    if (field === 'next_page') return 'a page';
    if (field === 'id' && of['type'] === 'audit_event') return /^[0-9]+$/.test(value) ? 'a number' : value;
    if (/^spl_[0-9a-f]{32}$/.test(value)) return `id of ${this.#names.get(value) ?? 'something'}`;
    return value;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What differs between two answers, in words; empty when nothing does. */
export function differencesOf(theirs: Answer, ours: Answer): readonly string[] {
  return (['status', 'identified', 'contentType', 'body'] as const).flatMap((part) =>
    theirs[part] === ours[part] ? [] : [`${part}: reference ${theirs[part]}\nours ${ours[part]}`],
  );
}
