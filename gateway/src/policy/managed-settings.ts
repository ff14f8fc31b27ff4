import { settingsChecksum } from './canonical-json.ts';
import { isList, type JsonObject } from './json.ts';
import { mergeDesktop, mergeSettings } from './merge.ts';
import type { PolicyEntry } from './source.ts';

/** A settings document ready to be sent: immutable, serialised and hashed once. */
export interface SettingsDocument {
  readonly settings: JsonObject;
  /** `sha256:` and hex; the client computes the same from the settings that it holds. */
  readonly checksum: string;
  /** The checksum in quotes. */
  readonly etag: string;
  /** The response body: `{"uuid", "checksum", "settings"}`. */
  readonly body: string;
}

/** What a combination of policies amounts to. */
export interface EffectivePolicy {
  /** Indexes of the policies in effect, the most specific first. */
  readonly indexes: readonly number[];
  readonly document: SettingsDocument;
  /** Whether Claude Code sessions inside Claude Desktop get the document. */
  readonly servedToDesktop: boolean;
  /** `availableModels` of the merged settings. */
  readonly availableModels: readonly string[] | undefined;
  /** The merged `desktop` blocks, absent when no policy in effect has one. */
  readonly desktop: JsonObject | undefined;
  /** Whether Claude Desktop is told that the Code tab takes its settings from this gateway. */
  readonly managesDesktopCode: boolean;
}

/** Settings that come from the gateway's own configuration. */
export interface PushedSettings {
  /** Environment variables; a policy's `env` overrides them. */
  readonly env: Readonly<Record<string, string>>;
  /** Stands where a policy says nothing of it. */
  readonly modelPricing?: JsonObject | undefined;
}

/**
 * Merges policies into what one person gets.
 *
 * @param indexes Into `policies`, the most specific first.
 * @param pushed What the gateway itself adds.
 */
export function combinePolicies(
  policies: readonly PolicyEntry[],
  indexes: readonly number[],
  pushed: PushedSettings = { env: {} },
): EffectivePolicy {
  let own: JsonObject = {};
  let desktop: JsonObject | undefined;
  let serveToDesktop: boolean | undefined;
  for (const index of indexes.toReversed()) {
    const policy = policies[index] as PolicyEntry;
    own = mergeSettings(own, policy.code ?? policy.cli ?? policy.settings ?? {});
    if (policy.desktop !== undefined) desktop = mergeDesktop(desktop ?? {}, policy.desktop);
    serveToDesktop = policy.serve_to_desktop ?? serveToDesktop;
  }
  const usesCode = policies.some(({ code }) => code !== undefined);
  const hasSettings = Object.keys(own).length > 0;
  const availableModels = own['availableModels'];
  return {
    indexes,
    document: renderDocument(withPushed(own, pushed)),
    servedToDesktop: usesCode ? hasSettings : serveToDesktop === true,
    availableModels: isList(availableModels)
      ? availableModels.filter((entry) => typeof entry === 'string')
      : undefined,
    desktop,
    managesDesktopCode: usesCode && hasSettings,
  };
}

/** Serialises and hashes a settings document. The uuid is the checksum: equal documents are one document. */
export function renderDocument(settings: JsonObject): SettingsDocument {
  const checksum = settingsChecksum(settings);
  return {
    settings,
    checksum,
    etag: `"${checksum}"`,
    body: JSON.stringify({ uuid: checksum, checksum, settings }),
  };
}

function withPushed(settings: JsonObject, { env, modelPricing }: PushedSettings): JsonObject {
  const priced =
    modelPricing === undefined || Object.hasOwn(settings, 'modelPricing')
      ? settings
      : { ...settings, modelPricing };
  return Object.keys(env).length === 0 ? priced : mergeSettings({ env }, priced);
}
