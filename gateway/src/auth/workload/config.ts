/** One entry of `workload_identity`: an issuer of tokens to machines, and who they become here. */
export interface WorkloadIdentityConfig extends WorkloadPrincipalConfig {
  /** Part of every principal of this entry; lower-case letters, digits and dashes. */
  readonly name: string;
  /** Exactly as tokens say it in `iss`. */
  readonly issuer: string;
  /** What tokens must say in `aud`; one of these is enough. */
  readonly audience: string | readonly string[];
  /** Where the keys are; otherwise the issuer's discovery document says so. */
  readonly jwks_url?: string | undefined;
  /** PEM certificates that replace the system's trust store for this issuer. */
  readonly ca_cert_pem?: string | undefined;
  /** How long a gateway token lives; never longer than `session.ttl_hours`. */
  readonly token_ttl_minutes: number;
  /** Tried in order, the first that matches decides. */
  readonly rules: readonly WorkloadRuleConfig[];
}

export interface WorkloadRuleConfig extends WorkloadPrincipalConfig {
  /** Claim, by key or JSON Pointer, to the value that it must have: `*` stands for anything, a list for either. */
  readonly claims: Readonly<Record<string, string | readonly string[]>>;
}

/** Who a workload becomes; what a rule leaves out, its entry says. */
export interface WorkloadPrincipalConfig {
  /** Text with `{claim}` or `{/json/pointer}` in it. */
  readonly principal?: string | undefined;
  readonly groups?: readonly string[] | undefined;
  /** A fixed address. */
  readonly email?: string | undefined;
}
