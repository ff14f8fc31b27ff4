import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parse } from 'yaml';

/** The part of fengari (a Lua 5.3 in JavaScript) that is needed here; it has no types of its own. */
interface Fengari {
  readonly lua: {
    lua_pushstring(state: object, text: Uint8Array): void;
    lua_setglobal(state: object, name: Uint8Array): void;
    lua_tojsstring(state: object, index: number): string;
  };
  readonly lauxlib: {
    luaL_newstate(): object;
    luaL_dostring(state: object, chunk: Uint8Array): number | boolean;
  };
  readonly lualib: { luaL_openlibs(state: object): void };
  readonly to_luastring: (text: string) => Uint8Array;
}

const fengari = createRequire(import.meta.url)('fengari') as Fengari;
const FILE = new URL('../../../../examples/gitops/argo-cd/health.yaml', import.meta.url);

export interface ArgoHealth {
  readonly status: string;
  readonly message: string;
}

/**
 * What the example's script answers for an object, run as Argo CD runs it: with the object as the global `obj`.
 *
 * @throws Error when the script fails.
 */
export function argoHealthOf(object: { readonly kind?: string | undefined }): ArgoHealth {
  const { data } = parse(readFileSync(FILE, 'utf8')) as { data: Record<string, string> };
  const script = data[`resource.customizations.health.claudegateway.dev_${object.kind ?? ''}`];
  if (script === undefined) throw new Error(`health.yaml has no script for ${object.kind ?? ''}`);
  const { lua, lauxlib, lualib, to_luastring: luaText } = fengari;
  const state = lauxlib.luaL_newstate();
  lualib.luaL_openlibs(state);
  const chunk = `obj = ${luaLiteral(JSON.parse(JSON.stringify(object)))}
local function health() ${script} end
local answer = health()
return answer.status .. "\\n" .. answer.message`;
  if (lauxlib.luaL_dostring(state, luaText(chunk))) throw new Error(lua.lua_tojsstring(state, -1));
  const [status = '', message = ''] = lua.lua_tojsstring(state, -1).split('\n');
  return { status, message };
}

/** JSON as a Lua expression. */
function luaLiteral(value: unknown): string {
  if (value === null || value === undefined) return 'nil';
  if (Array.isArray(value)) return `{${value.map(luaLiteral).join(',')}}`;
  if (typeof value === 'object') {
    return `{${Object.entries(value)
      .map(([key, item]) => `[${luaString(key)}]=${luaLiteral(item)}`)
      .join(',')}}`;
  }
  return typeof value === 'string' ? luaString(value) : JSON.stringify(value);
}

/** Every byte by its number, so that nothing in it can mean anything else. */
function luaString(text: string): string {
  return `"${[...Buffer.from(text)].map((byte) => `\\${String(byte).padStart(3, '0')}`).join('')}"`;
}
