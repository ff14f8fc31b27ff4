export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;

/** A JSON object, such as a settings document. */
export interface JsonObject {
  [key: string]: JsonValue;
}

/** Whether a value parsed from YAML survives JSON: YAML also has NaN and infinities. */
export function isJson(value: unknown): value is JsonValue {
  if (typeof value === 'number') return Number.isFinite(value);
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true;
  if (typeof value !== 'object') return false;
  return Array.isArray(value) ? value.every(isJson) : Object.values(value).every(isJson);
}
