export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;

/** A JSON object, such as a settings document. */
export interface JsonObject {
  [key: string]: JsonValue;
}

/** Whether a value parsed from YAML survives JSON: YAML also has NaN and infinities. */
export function isJson(value: unknown): value is JsonValue {
  if (value === null) return true;
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true;
    case 'number':
      return Number.isFinite(value);
    case 'object':
      return Array.isArray(value) ? value.every(isJson) : Object.values(value).every(isJson);
    default:
      return false;
  }
}
