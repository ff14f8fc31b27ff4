import type { Provider } from '@claude-gateway/contract';
import type { JsonObject } from './json.ts';

/** A row of `models`: what the operator calls a model, and what each upstream calls it. */
export interface ModelRow {
  readonly id: string;
  readonly label?: string | undefined;
  readonly description?: string | undefined;
  /** Model id by upstream name. An upstream that is not named here is skipped for this model. */
  readonly upstream_model: Readonly<Record<string, string>>;
}

/** The custom resource that a policy was made from. */
export interface PolicyOrigin {
  /** For people: kind, namespace and name. */
  readonly label: string;
  readonly ownerUid: string;
  /** Names the version of the policy. */
  readonly documentHash: string;
}

/** An entry of `managed.policies`. The loader refuses files that mix `code` with `cli` or `settings`. */
export interface PolicyEntry {
  readonly match: {
    readonly groups?: readonly string[] | undefined;
    readonly email_domain?: string | undefined;
  };
  /** Claude Code settings for everything that signs in, the Code tab of Claude Desktop included. */
  readonly code?: JsonObject | undefined;
  /** Claude Code settings for terminals, IDEs and the SDK. */
  readonly cli?: JsonObject | undefined;
  /** Former spelling of `cli`, which wins over it. */
  readonly settings?: JsonObject | undefined;
  /** Claude Desktop settings; their presence lets Claude Desktop fetch its configuration here. */
  readonly desktop?: JsonObject | undefined;
  /** Whether Claude Code sessions inside Claude Desktop get the `cli` settings; of no effect beside `code`. */
  readonly serve_to_desktop?: boolean | undefined;
  /** Absent for those of the configuration file. */
  readonly origin?: PolicyOrigin | undefined;
}

/** The parts of the gateway's configuration that decide who may use which model and gets which settings. */
export interface PolicySource {
  readonly session: { readonly ttl_hours: number };
  readonly upstreams: readonly {
    readonly name: string;
    readonly provider: Provider;
    readonly region?: string | undefined;
    /** The only built-in models that this upstream has; undefined: all that its provider has. */
    readonly models?: readonly string[] | undefined;
  }[];
  readonly models: readonly ModelRow[];
  readonly auto_include_builtin_models: boolean;
  readonly managed: {
    readonly policy_mode?: 'first_match' | 'layered' | undefined;
    readonly policies: readonly PolicyEntry[];
  };
}
