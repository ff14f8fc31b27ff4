import { describe, expect, it } from '@jest/globals';
import { SCAN_LIMITS, readField, scanBody, type BodyField, type BodyWord } from './body-scanner.ts';
import { seededBelow } from '../testing/random.ts';

const FIELDS: readonly BodyField[] = ['model', 'max_tokens', 'stream', 'tags'];

/** What the scanner says, in values, so that it can be held against what `JSON.parse` says. */
function scanned(body: Buffer): unknown {
  const scan = scanBody(body);
  if (typeof scan === 'string') return scan;
  const entries = FIELDS.flatMap((name) => {
    const span = scan.fields[name];
    return span === undefined ? [] : [[name, readField(body, span)] as const];
  });
  return Object.fromEntries(entries);
}

function parsed(body: Buffer): unknown {
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    return 'invalid_json';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'not_an_object';
  return Object.fromEntries(
    FIELDS.flatMap((name) =>
      Object.hasOwn(value, name) ? [[name, (value as Record<string, unknown>)[name]]] : [],
    ),
  );
}

const WORDS: readonly BodyWord[] = ['1h', 'image', 'file_id', 'document', 'cache_control', 'tool_reference'];

/** How often each word is a name or a value in a parsed document. */
function wordsIn(value: unknown, counts: Record<string, number> = {}): Record<string, number> {
  const note = (text: string): void => {
    if ((WORDS as readonly string[]).includes(text)) counts[text] = (counts[text] ?? 0) + 1;
  };
  if (typeof value === 'string') note(value);
  else if (typeof value === 'object' && value !== null) {
    for (const [name, member] of Object.entries(value)) {
      if (!Array.isArray(value)) note(name);
      wordsIn(member, counts);
    }
  }
  return counts;
}

/** The body with everything inside its strings blanked: what the scanner promises to judge as `JSON.parse` does. */
function structureOf(body: Buffer): Buffer {
  return Buffer.from(
    body.toString().replaceAll(/"(?:[^"\\]|\\[^])*"/g, (text) => `"${'x'.repeat(text.length)}"`),
  );
}

/** What the scan finds about tools and fallbacks, in values. */
function partsOf(text: string): unknown {
  const body = Buffer.from(text);
  const scan = scanBody(body);
  if (typeof scan === 'string') return scan;
  return [...scan.tools, ...scan.fallbacks].map(({ path, members }) => ({
    path,
    ...Object.fromEntries(Object.entries(members).map(([name, span]) => [name, readField(body, span)])),
  }));
}

describe('tools and fallbacks', () => {
  const search = { type: 'web_search_20250305', name: 'web_search', max_uses: 3 };
  const client = { name: 'Read', input_schema: { type: 'object', properties: { model: {} } } };

  it('say what they are', () => {
    const advisor = { type: 'advisor_20260301', name: 'advisor', model: 'm', max_tokens: 5, max_uses: null };
    expect(
      partsOf(
        JSON.stringify({
          tools: [client, search, {}, 7, advisor],
          fallbacks: [{ model: 'a', speed: 'fast' }],
        }),
      ),
    ).toEqual([
      { path: 'tools.1', type: search.type, max_uses: 3 },
      { path: 'tools.4', type: advisor.type, model: 'm', max_tokens: 5, max_uses: null },
      { path: 'fallbacks.0', model: 'a', speed: 'fast' },
    ]);
    expect(partsOf('{"tools":[ {"t\\u0079pe" : "web_se\\u0061rch_1"} , [{"type":"x"}] ]}')).toEqual([
      { path: 'tools.0', type: 'web_search_1' },
    ]);
    expect(partsOf('{"tools":{"type":"x"},"fallbacks":"default"}')).toEqual([]);
  });

  it('may stand in messages, where they are what they are nowhere else', () => {
    const define = (definition: unknown): unknown => ({
      role: 'system',
      content: [{ type: 'tool_addition', tool: { type: 'tool_definition', definition } }],
    });
    expect(partsOf(JSON.stringify({ messages: [define(search), define(client)] }))).toEqual([
      { path: 'tool_definition', type: search.type, max_uses: 3 },
    ]);
    const hidden = JSON.stringify({ messages: [define(search)] })
      .replace('tool_definition', 'tool_defin\\u0069tion')
      .replace('"definition"', '"\\u0064efinition"');
    expect(partsOf(hidden)).toEqual([{ path: 'tool_definition', type: search.type, max_uses: 3 }]);
    const used = { role: 'assistant', content: [{ type: 'tool_use', input: { definition: search } }] };
    expect(partsOf(JSON.stringify({ messages: [used] }))).toEqual([]);
    const schema = { ...client, input_schema: { definition: search } };
    expect(partsOf(JSON.stringify({ tools: [schema], messages: [define(client)] }))).toEqual([]);
    // What is counted is counted once.
    const image = define({ ...search, name: 'image' });
    expect(scanBody(Buffer.from(JSON.stringify({ messages: [image] })))).toMatchObject({
      words: { image: 1 },
    });
  });

  it.each([
    ['{"tools":[{},{"type":"a","max_uses":1,"max\\u005fuses":100}]}', 'tools.1.max_uses'],
    ['{"tools":[{"model":"a","model":"b"}]}', 'tools.0.model'],
    ['{"fallbacks":[{"model":"a","model":"b"}]}', 'fallbacks.0.model'],
    [
      '{"messages":[{"type":"tool_definition","definition":{"type":"a","type":"b"}}]}',
      'tool_definition.type',
    ],
  ])('%s: has a member twice', (text, doubled) => {
    expect(scanBody(Buffer.from(text))).toMatchObject({ doubled });
  });

  it.each([
    ['{"fallback_model":"x"}', 'fallback_model'],
    ['{"fallback_mod\\u0065l":"x"}', 'fallback_mod\\u0065l'],
    ['{"agents":[{"model":"x"}]}', 'agents'],
    ['{"agents":{"a":[{"mod\\u0065l" : 1}]}}', 'agents'],
    [
      '{"context_management":{"edits":[{"type":"compact_20260112","model":"x"}]}}',
      'context_management.model',
    ],
    ['{"mcp_servers":[{"model":"x"}]}', 'mcp_servers.model'],
    ['{"compaction":{"model":"x"}}', 'compaction.model'],
    ['{"thinking":{"model":"x"}}', 'thinking.model'],
    ['{"model":"x","x":["model"],"max_tokens":1}', undefined],
    ['{"model":"x","output_config":{"format":{"schema":{"properties":{"model":{}}}}}}', undefined],
    ['{"model":"x","messages":[{"content":[{"type":"fallback","from":{"model":"y"}}]}]}', undefined],
    ['{"model":"x","tags":{"model":"y"}}', undefined],
    ['{"metadata":{"model":"z"}}', 'metadata.model'],
    ['{"metadata":{"user_id":"u","a":{"Fallback_Models":[]}}}', 'metadata.Fallback_Models'],
    ['{"tool_choice":{"type":"auto","model":"z"}}', 'tool_choice.model'],
    ['{"tool_choice":{"a":[{"mo_del":"z"}]}}', 'tool_choice.mo_del'],
    ['{"tool_choice":[{"m\\u006f\\u005fdel":"z"}]}', 'tool_choice.m\\u006f\\u005fdel'],
    ['{"system":[{"type":"text","text":"which model?","model":"z"}]}', 'system.model'],
    ['{"system":[{"type":"text","text":"model","cache_control":{"model":"z"}}]}', 'system.model'],
    ['{"output_config":{"model":"z"}}', 'output_config.model'],
    ['{"output_config":{"format":{"judge_model":"z","schema":{}}}}', 'output_config.judge_model'],
    ['{"output_config":{"format":{"format":{"schema":{"model":{}}}}}}', 'output_config.model'],
    ['{"output_config":[{"schema":{"model":"z"}}]}', 'output_config.model'],
    ['{"output_config":{"task":{"schema":{"model":"z"}}}}', 'output_config.model'],
    ['{"output_format":{"schema":{"properties":{"model":{}}}}}', undefined],
    ['{"tools":[{"name":"a","fallback_model":"z"}]}', 'tools.0.fallback_model'],
    ['{"tools":[{"name":"a"},{"name":"b","options":{"x":[{"model":"z"}]}}]}', 'tools.1.model'],
    ['{"tools":[{"type":"advisor_20260301","model":"a","fallback_model":"z"}]}', 'tools.0.fallback_model'],
    ['{"tools":[{"name":"a","input_schema":{"model":{},"properties":{"fallback_model":{}}}}]}', undefined],
    ['{"tools":[{"name":"a","input_examples":[{"model":"opus"}]}]}', undefined],
    ['{"tools":[{"type":"mcp_toolset","configs":{"list_models":{"enabled":true}}}]}', undefined],
    ['{"tools":[{"type":"mcp_toolset","configs":{"ask":{"model":"z"}}}]}', 'tools.0.model'],
    ['{"tools":[{"type":"mcp_toolset","default_config":{"model":"z"}}]}', 'tools.0.model'],
    ['{"messages":[{"role":"user","content":"hi","model":"z"}]}', 'messages.model'],
    ['{"messages":[{"role":"user","content":[{"type":"text","text":"a","model":"z"}]}]}', 'messages.model'],
    ['{"messages":[{"content":[{"type":"tool_use","input":{"model":"haiku"}}]}]}', undefined],
    ['{"messages":[{"content":[{"type":"tool_result","content":[{"model":"haiku"}]}]}]}', undefined],
    ['{"agents":{"a":{"fallbackModel":1}}}', 'agents'],
  ])('%s: may choose a model that nobody checks', (text, namesModel) => {
    expect(scanBody(Buffer.from(text))).toMatchObject({ namesModel });
  });
});

describe('limits', () => {
  const { values, topLevelMembers, parts } = SCAN_LIMITS;
  it.each<[string, string, unknown]>([
    ['values', `{"x":[${'1,'.repeat(values - 2)}1]}`, undefined],
    ['more values', `{"x":[${'1,'.repeat(values - 1)}1]}`, 'too_many_values'],
    ['tools that say nothing', `{"tools":[${'{},'.repeat(values)}1]}`, 'too_many_values'],
    ['members', `{${'"x":1,'.repeat(topLevelMembers - 1)}"y":1}`, undefined],
    ['more members', `{${'"x":1,'.repeat(topLevelMembers)}"y":1}`, 'too_many_members'],
    ['tools at the upstream', `{"tools":[${'{"type":"x"},'.repeat(parts - 1)}{"type":"x"}]}`, undefined],
    ['more of them', `{"tools":[${'{"type":"x"},'.repeat(parts)}{"type":"x"}]}`, 'too_many_members'],
    ['more fallbacks', `{"fallbacks":[${'{"model":"x"},'.repeat(parts)}{"model":"x"}]}`, 'too_many_members'],
  ])('%s', (_, text, failure) => {
    const scan = scanBody(Buffer.from(text));
    expect(typeof scan === 'string' ? scan : undefined).toBe(failure);
  });
});

describe('scanBody', () => {
  it.each([
    ['{"model":"a","max_tokens":5,"stream":true,"tags":{"a":"b"}}'],
    [' \n\t\r{ "model" : "a" , "messages" : [ ] } \n'],
    ['{}'],
    ['{"model":"a","model":"b"}'],
    ['{"mod\\u0065l":"a"}'],
    ['{"\\u006d\\u006f\\u0064\\u0065\\u006c":"a","model2":1,"odel":2,"modem":3}'],
    ['{"messages":[{"model":"nested"}],"model":"top","metadata":{"stream":true}}'],
    ['{"model":"a\\"b\\\\","x":"\\\\\\"","stream":false}'],
    ['{"model":"\\ud83d\\ude00 größe 模型"}'],
    ['{"__proto__":1,"model":"a"}'],
    ['{"x":"a long string with an escaped quote \\" behind the first bytes and \\\\","model":"a"}'],
    ['{"x":[1,-0,0.5,1e9,1E+9,-2.5e-10,true,false,null,[],{},[[]],{"a":{}}],"model":null}'],
    ['{"max_tokens":"5","stream":1,"tags":[],"model":7}'],
    ['[]'],
    ['"model"'],
    ['null'],
    ['12.5'],
    [''],
    ['   '],
    ['{'],
    ['{"model"'],
    ['{"model":'],
    ['{"model":"a"'],
    ['{"model":"a'],
    ['{"model":"a\\"}'],
    ['{"model":"a"}}'],
    ['{"model":"a"} x'],
    ['{"model":"a"}{"model":"b"}'],
    ['{"model":"a",}'],
    ['{,"model":"a"}'],
    ['{"model" "a"}'],
    ['{"model":"a" "b":1}'],
    ['{model:"a"}'],
    ["{'model':'a'}"],
    ['{"model":"a","x":[1,]}'],
    ['{"model":"a","x":[1 2]}'],
    ['{"model":"a","x":[1}'],
    ['{"model":"a","x":{"b":1]}'],
    ['{"model":"a","x":{"b"}}'],
    ['{"model":"a","x":{1:2}}'],
    ['{"model":"a","x":01}'],
    ['{"model":"a","x":1.}'],
    ['{"model":"a","x":.5}'],
    ['{"model":"a","x":+1}'],
    ['{"model":"a","x":-}'],
    ['{"model":"a","x":1e}'],
    ['{"model":"a","x":0x10}'],
    ['{"model":"a","x":NaN}'],
    ['{"model":"a","x":Infinity}'],
    ['{"model":"a","x":tru}'],
    ['{"model":"a","x":nulll}'],
    ['{"model":"a","x":undefined}'],
    ['{"model":"a"/* comment */}'],
    ['\ufeff{"model":"a"}'],
    ['{"model":"a"}\u0000'],
    ['{"\\x":1,"model":"a"}'],
    ['{"model":"a",\u00a0"x":1}'],
  ])('reads %s as JSON.parse does', (text) => {
    const body = Buffer.from(text);
    expect(scanned(body)).toEqual(parsed(body));
  });

  it.each([
    ['{"model":"a","max_tokens":1,"temperature":1,"stop_sequences":[],"metadata":{"User":1}}', undefined],
    ['{"model":"a","Max_Tokens":9}', 'max_tokens'],
    ['{"model":"a","maxTokens":9}', 'max_tokens'],
    ['{"model":"a","max__tokens":9}', 'max_tokens'],
    ['{"model":"a","max_to\\u004bens":9}', 'max_tokens'],
    ['{"model":"a","max_to\\u212aens":9}', 'max_tokens'],
    ['{"model":"a","ſpeed":"fast"}', 'speed'],
    ['{"model":"a","max_toKens":9}', 'max_tokens'],
    ['{"model":"a","th\\u0131n\\u212aİng":{}}', 'thinking'],
    ['{"model":"a","max_tokensа":1,"😀peed":1,"\\nspeed":1}', undefined],
    ['{"model":"a","Fallbacks":[]}', 'fallbacks'],
    ['{"tools":[{"name":"n"},{"type":"x","Max_Uses":9}]}', 'tools.1.max_uses'],
    ['{"tools":[{"type":"x","\\u004dODEL":"b"}]}', 'tools.0.model'],
    ['{"fallbacks":[{"model":"a","maxtokens":9}]}', 'fallbacks.0.max_tokens'],
    ['{"tools":[{"name":"n","input_schema":{"Type":"object"}}]}', undefined],
    ['{"messages":[{"content":[{"type":"tool_definition","definition":{"Type":"x"}}]}]}', undefined],
  ])('%s: has a member in another spelling', (text, misspelled) => {
    expect(scanBody(Buffer.from(text))).toMatchObject({ misspelled });
  });

  it.each([
    ['{"MODEL":"b"}', 'MODEL'],
    ['{"fallbackModel":"b"}', 'fallbackModel'],
    ['{"fallback_\\u004dodel":"b"}', 'fallback_\\u004dodel'],
  ])('%s: may name a model', (text, namesModel) => {
    expect(scanBody(Buffer.from(text))).toMatchObject({ namesModel });
  });

  it.each([
    ['{"tools":null,"fallbacks":null}', undefined],
    ['{"tools":[],"fallbacks":[]}', undefined],
    ['{"tools":[{}],"fallbacks":"default"}', undefined],
    ['{"fallbacks":[{"model":"a"},{"max_tokens":1,"model":"b"}]}', undefined],
    ['{"tools":{"a":{"type":"advisor_20260301","model":"b"}}}', 'tools'],
    ['{"tools":["advisor_20260301"]}', 'tools.0'],
    ['{"tools":[{},[{"type":"advisor_20260301","model":"b"}]]}', 'tools.1'],
    ['{"fallbacks":["b"]}', 'fallbacks.0'],
    ['{"fallbacks":[{"model":"a"},["b"]]}', 'fallbacks.1'],
    ['{"fallbacks":[{"model":"a"},null]}', 'fallbacks.1'],
    ['{"fallbacks":[{"model":"a"},{}]}', 'fallbacks.1'],
    ['{"fallbacks":[{"model":"a"},{"max_tokens":1}]}', 'fallbacks.1'],
    ['{"fallbacks":[{"model":"a","fallbacks":[{"model":"b"}]}]}', 'fallbacks.0'],
  ])('%s: what cannot be looked at', (text, unreadable) => {
    expect(scanBody(Buffer.from(text))).toMatchObject({ unreadable });
  });

  it('knows when a member it reads stands there twice, however it is spelled', () => {
    expect(scanBody(Buffer.from('{"model":"a","stream":true}'))).toMatchObject({ doubled: undefined });
    expect(scanBody(Buffer.from('{"x":1,"x":2}'))).toMatchObject({ doubled: undefined });
    expect(scanBody(Buffer.from('{"model":"a","mode\\u006c":"b"}'))).toMatchObject({ doubled: 'model' });
  });

  it('says where a member stands, in bytes', () => {
    const body = Buffer.from('{"größe":"ü", "tags" : {"a":"}"} ,"model":"a"}');
    const scan = scanBody(body);
    if (typeof scan === 'string' || scan.fields.tags === undefined) throw new Error('tags not found');
    const { keyStart, start, end } = scan.fields.tags;
    expect(body.toString('utf8', start, end)).toBe('{"a":"}"}');
    expect(body.toString('utf8', keyStart, end)).toBe('"tags" : {"a":"}"}');
  });

  it('takes nesting without recursion, up to a limit', () => {
    const { depth } = SCAN_LIMITS;
    const nest = (open: string, close: string): Buffer =>
      Buffer.from(`{"x":${open.repeat(depth)}1${close.repeat(depth)},"model":"a"}`);
    expect(scanned(nest('[', ']'))).toEqual({ model: 'a' });
    expect(scanned(nest('{"a":', '}'))).toEqual({ model: 'a' });
    expect(scanBody(Buffer.from('['.repeat(depth)))).toBe('invalid_json');
    expect(scanBody(Buffer.from('{"a":'.repeat(depth)))).toBe('invalid_json');
    expect(scanBody(Buffer.from(`{"x":${'['.repeat(1_000_000)}`))).toBe('too_deep');
    expect(scanBody(Buffer.from('['.repeat(1_000_000)))).toBe('too_deep');
  });

  it('leaves the inside of strings that are not read to the upstream, and no others', () => {
    expect(scanned(Buffer.from('{"x":"\\q \u0001","model":"a"}'))).toEqual({ model: 'a' });
    expect(() => scanned(Buffer.from('{"model":"\\q"}'))).toThrow(SyntaxError);
    expect(() => scanned(Buffer.from('{"model":"a\nb"}'))).toThrow(SyntaxError);
  });

  it('counts words wherever they stand and however they are spelled', () => {
    const escaped = (word: string): string =>
      [...word].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
    const random = seededBelow(7);
    const spell = (word: string): string =>
      [...word].map((c) => (random(4) === 0 ? escaped(c).toUpperCase().replace('U', 'u') : c)).join('');
    for (let i = 0; i < 500; i++) {
      const pick = (): string => {
        const word =
          [...WORDS, 'images', '2h', 'a "document" with quotes', 'tool_references'][random(11)] ?? '';
        return random(3) === 0 ? JSON.stringify(word) : `"${spell(word.replaceAll('"', ''))}"`;
      };
      const members = Array.from({ length: 1 + random(6) }, (_, n) =>
        random(2) === 0 ? `"x${n}":[${pick()},{"y":${pick()}}]` : `"z${n}":{${pick()}:1}`,
      );
      const body = Buffer.from(`{${members.join(',')},${pick()}:0}`);
      const scan = scanBody(body);
      if (typeof scan === 'string') throw new Error(scan);
      const found = Object.fromEntries(Object.entries(scan.words).filter(([, count]) => count > 0));
      expect({ text: body.toString(), found }).toEqual({
        text: body.toString(),
        found: wordsIn(JSON.parse(body.toString())),
      });
    }
    const whole = Buffer.from(`{"a":["${WORDS.map(escaped).join('","')}"],"b":"x image x"}`);
    expect(scanBody(whole)).toMatchObject({ words: Object.fromEntries(WORDS.map((word) => [word, 1])) });
  });

  it('agrees with JSON.parse on random documents, as they are and damaged', () => {
    const random = seededBelow(20_261_123);
    const disagreements: unknown[] = [];
    let damaged = 0;
    const compare = (body: Buffer, is: unknown, shouldBe: unknown): void => {
      if (JSON.stringify(is) !== JSON.stringify(shouldBe)) {
        disagreements.push({ text: body.toString(), is, shouldBe });
      }
    };
    for (let i = 0; i < 3000; i++) {
      const body = Buffer.from(randomDocument(random));
      compare(body, scanned(body), parsed(body));
      for (let j = 0; j < 4; j++) {
        const broken = damage(body, random);
        const truth = parsed(broken);
        // Never stricter than JSON.parse, and as strict about everything but the inside of strings.
        if (typeof truth !== 'string') compare(broken, scanned(broken), truth);
        else {
          damaged++;
          if (parsed(structureOf(broken)) === truth) compare(broken, scanBody(broken), truth);
        }
      }
    }
    expect(disagreements).toEqual([]);
    expect(damaged).toBeGreaterThan(5000);
  });
});

type Random = (below: number) => number;

function randomDocument(random: Random): string {
  const spaces = ['', '', '', ' ', '\n', '\t ', '\r\n'];
  const space = (): string => spaces[random(spaces.length)] ?? '';
  const characters = [
    'a',
    'Z',
    '"',
    '\\',
    '/',
    '\n',
    '\t',
    '\u0000',
    'ü',
    '模',
    '😀',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    ' ',
  ];
  const string = (): string => {
    let value = '';
    for (let n = random(random(6) === 0 ? 400 : 6); n > 0; n--)
      value += characters[random(characters.length)] ?? '';
    const json = JSON.stringify(value);
    return random(4) === 0 ? json.replace(/[a-zA-Z]/, (c) => `\\u00${c.charCodeAt(0).toString(16)}`) : json;
  };
  const keys = [
    '"model"',
    '"max_tokens"',
    '"stream"',
    '"tags"',
    '"mod\\u0065l"',
    '"messages"',
    '"t\\u0061gs"',
    '""',
  ];
  const key = (): string => (random(2) === 0 ? (keys[random(keys.length)] ?? '""') : string());
  const scalars = ['0', '-0', '12', '1.5e3', '-7E-2', 'true', 'false', 'null'];
  const list = (depth: number, item: () => string): string => {
    const items: string[] = [];
    for (let n = random(depth > 3 ? 1 : 5); n > 0; n--) items.push(space() + item() + space());
    return items.length === 0 ? space() : items.join(',');
  };
  const value = (depth: number): string => {
    switch (random(6)) {
      case 0:
        return `[${list(depth, () => value(depth + 1))}]`;
      case 1:
        return object(depth);
      case 2:
      case 3:
        return string();
      default:
        return scalars[random(scalars.length)] ?? '0';
    }
  };
  const object = (depth: number): string =>
    `{${list(depth, () => `${key()}${space()}:${space()}${value(depth + 1)}`)}}`;
  return space() + (random(10) === 0 ? value(0) : object(0)) + space();
}

/** Cuts, drops, doubles or changes a byte. ASCII only, so that characters stay whole. */
function damage(body: Buffer, random: Random): Buffer {
  const at = random(body.length + 1);
  const bytes = Buffer.from('{}[]:,"\\ 0-1.eE+tfnul\nx');
  const other = bytes.subarray(random(bytes.length)).subarray(0, 1);
  switch (random(4)) {
    case 0:
      return Buffer.from(body.toString('utf8', 0, at));
    case 1:
      return Buffer.concat([body.subarray(0, at), body.subarray(at + 1)]);
    case 2:
      return Buffer.concat([body.subarray(0, at), other, body.subarray(at)]);
    default:
      return Buffer.concat([body.subarray(0, at), other, body.subarray(at + 1)]);
  }
}
