import type { Random } from '../spend/random.ts';
import type { Conduct } from './cloud-conduct.ts';

/** One request of the fuzzer, as text with `#` where its marker goes, and what the cloud makes of it. */
export interface HostileRequest {
  readonly text: string;
  readonly conduct: Conduct;
  readonly abortAfterMs?: number;
}

/** Values that no schema has in mind, as JSON text. */
const VALUES = [
  '0', '-0', '-1', '1', '0.5', '1e15', '9007199254740993', '9223372036854775807', '9223372036854775808', '1e308', '1e999',
  '1e-400', 'null', 'true', '""', '"5"', '"us"', '"global"', '"fast"', '[]', '[null]', '[[]]', '{}', '[{}]', '"\\ud800"',
  '"\\u0000"', '"\\u202e"', '"K"', '"__proto__"', '{"__proto__":1}', '{"type":null}', '"web_search_20250305"', '{"type":"auto"}',
]; // prettier-ignore
const MEMBERS = [
  'max_tokens', 'stream', 'speed', 'thinking', 'context_management', 'mcp_servers', 'inference_geo', 'system', 'tools', 'messages',
  'fallbacks', 'compaction', 'container', 'thread', 'output_config', 'output_format', 'metadata', 'tool_choice', 'stop_sequences',
  'temperature', 'service_tier', 'cache_control', 'model', 'Model', 'max_tokens ', '', '__proto__', 'constructor', 'betas',
]; // prettier-ignore
const TOOLS = [
  '{"name":"x","input_schema":{"type":"object"}}',
  '{"type":"web_search_20250305","name":"web_search"}',
  '{"type":"web_search_20250305","name":"web_search","max_uses":2}',
  '{"type":"web_search_20250305","name":"web_search","max_uses":1e15}',
  '{"type":"advisor_20260301","name":"advisor","model":"claude-opus-4-8","max_uses":2}',
  '{"type":"advisor_20260301","name":"advisor","model":"claude-opus-4-8"}',
  '{"type":"advisor_20260301","name":"advisor"}',
  '{"type":"oracle_20290101","name":"oracle","model":"claude-haiku-4-5"}',
  '{"type":"code_execution_20250825","name":"code_execution"}',
  '{"type":"mcp_toolset","mcp_server_name":"x"}',
];
const USAGES: Conduct['usage'][] = [
  'omit',
  { says: {} },
  { says: null },
  { says: 'much' },
  { says: { input_tokens: '1', output_tokens: [] } },
  { says: { input_tokens: 0, output_tokens: 0 } },
  { says: { input_tokens: -1, output_tokens: 1.5 } },
];

/** Plausible and hostile at once: most are let through, and each has something that nobody means. */
export function hostileRequest(random: Random): HostileRequest {
  let text = plausible(random);
  const mutations = random.int(0, 3);
  for (let at = 0; at < mutations; at++) text = mutate(text, random);
  return {
    text,
    conduct: conductOf(random),
    ...(random.chance(0.15) ? { abortAfterMs: random.int(1, 150) } : {}),
  };
}

function plausible(random: Random): string {
  const content = random.pick([
    'hello #',
    '# 请写一首长诗',
    '# \\u0000 \\ud83d\\ude00',
    `# ${'y'.repeat(random.skewed(1, 20_000))}`,
  ]);
  const members = [
    `"model":"${random.pick(['claude-haiku-4-5', 'claude-haiku-4-5', 'claude-sonnet-4-6', 'claude-opus-4-8'])}"`,
    `"max_tokens":${random.skewed(1, 4_000)}`,
    `"messages":[{"role":"user","content":"${content}"}]`,
  ];
  if (random.chance(0.7)) members.push('"stream":true');
  if (random.chance(0.3)) members.push(`"tools":[${random.pick(TOOLS)}]`);
  if (random.chance(0.1)) members.push(`"tools":[${random.pick(TOOLS)},${random.pick(TOOLS)}]`);
  if (random.chance(0.2)) members.push('"inference_geo":"us"');
  if (random.chance(0.2)) members.push('"thinking":{"type":"enabled","budget_tokens":1024}');
  if (random.chance(0.2))
    members.push(`"system":[{"type":"text","text":"be brief","cache_control":{"type":"ephemeral"}}]`);
  if (random.chance(0.2)) {
    const schema = `{"type":"object","description":"${'s'.repeat(random.skewed(1, 5_000))}"}`;
    members.push(`"output_config":{"format":{"type":"json_schema","schema":${schema}}}`);
  }
  return `{${members.join(',')}}`;
}

function mutate(text: string, random: Random): string {
  const at = random.int(1, Math.max(1, text.length - 1));
  switch (random.int(0, 8)) {
    case 0:
      return text.replace(/}$/, `,"${random.pick(MEMBERS)}":${random.pick(VALUES)}}`);
    case 1:
      return text.replace('{', `{"${random.pick(MEMBERS)}":${random.pick(VALUES)},`);
    case 2:
      // Another value for a member that is there.
      return text.replace(
        new RegExp(`"${random.pick(['max_tokens', 'stream', 'max_uses', 'model', 'type'])}":[^,}\\]]+`),
        (member) => {
          return `${member.slice(0, member.indexOf(':'))}:${random.pick(VALUES)}`;
        },
      );
    case 3:
      // A letter of a name, escaped.
      return text.replace(random.pick(['"model"', '"tools"', '"max_tokens"', '"max_uses"']), (name) => {
        const code = name.charCodeAt(2).toString(16).padStart(4, '0');
        return `${name.slice(0, 2)}\\u${code}${name.slice(3)}`;
      });
    case 4:
      return (
        text.slice(0, at) +
        random.pick(['{', '}', '[', ']', '"', ',', ':', '\\', '\u0000', '\ufeff', 'é', '😀']) +
        text.slice(at)
      );
    case 5:
      return text.slice(0, at) + text.slice(at + random.int(1, 4));
    case 6: {
      const depth = random.skewed(1, 3_000);
      return text.replace(/}$/, `,"x":${'['.repeat(depth)}${']'.repeat(depth)}}`);
    }
    case 7:
      return text.replace(/"tools":\[/, (start) => `${start}${random.pick(TOOLS)},`);
    default:
      return text.replaceAll(',', random.pick([', ', ',\n', ' ,\t', ',']));
  }
}

function conductOf(random: Random): Conduct {
  return {
    output: random.skewed(1, 4_000),
    hiddenThinking: random.chance(0.3) ? random.skewed(1, 1_000) : 0,
    language: random.chance(0.3) ? 'chinese' : 'english',
    searches: random.int(0, 4),
    consultations: random.int(0, 3),
    pieces: random.int(1, 6),
    pieceMs: random.chance(0.3) ? random.int(1, 20) : 0,
    ...(random.chance(0.15) ? { usage: random.pick(USAGES) } : {}),
    ...(random.chance(0.1)
      ? {
          fault: random.pick([
            { status: 529 },
            'break before the first byte',
            'break behind the headers',
            'break in the middle',
            'reset in the middle',
          ] as const),
        }
      : {}),
  };
}
