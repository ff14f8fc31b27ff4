import type { ClaudeGateway } from '@claude-gateway/crds';

/** `repository`, and what follows it: `:tag`, `@digest` or both. */
function split(reference: string): { readonly repository: string; readonly version: string } {
  // A colon before the last slash belongs to the port of the registry.
  const from = reference.lastIndexOf('/') + 1;
  const end = reference.slice(from).search(/[:@]/);
  return end < 0
    ? { repository: reference, version: '' }
    : { repository: reference.slice(0, from + end), version: reference.slice(from + end) };
}

/**
 * The image of a gateway: what its spec says, and the operator's default for the rest. A digest stands alone, since not
 * every container runtime takes a tag beside it; a repository of one's own is taken for a mirror, with the tag and
 * digest of the default.
 *
 * @param defaultImage such as `registry.example:5000/claude-gateway:0.1.0@sha256:…`.
 */
export function imageOf({ spec: { image } }: ClaudeGateway, defaultImage: string): string {
  const fallback = split(defaultImage);
  const repository = image?.repository ?? fallback.repository;
  if (image?.digest !== undefined) return `${repository}@${image.digest}`;
  if (image?.tag !== undefined) return `${repository}:${image.tag}`;
  return repository + fallback.version;
}
