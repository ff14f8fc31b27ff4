/** What an id of a Claude model says: `claude-opus-4-8`, `claude-sonnet-4-5-20250929`, and the older `claude-3-7-sonnet-20250219`. */
interface ModelName {
  /** `opus`, … */
  readonly family: string;
  /** Major and minor; a whole version has no minor. */
  readonly version: readonly number[];
}

/** The name that people know a model by (`Claude Opus 4.8`); undefined where the id is not built like those of Claude models. */
export function displayName(id: string): string | undefined {
  const name = parse(id);
  if (name === undefined) return undefined;
  const { family, version } = name;
  return `Claude ${family.charAt(0).toUpperCase()}${family.slice(1)} ${version.join('.')}`;
}

/** Sorts ids: the newest version first, and before all of them those that say no version, which administrators gave. */
export function newestFirst(ids: readonly string[]): string[] {
  const rank = (id: string): number => {
    const [major, minor = 0] = parse(id)?.version ?? [Infinity];
    return (major ?? Infinity) * 100 + minor;
  };
  return ids
    .map((id) => ({ id, rank: rank(id) }))
    .sort((a, b) => (a.rank === b.rank ? 0 : b.rank - a.rank))
    .map(({ id }) => id);
}

function parse(id: string): ModelName | undefined {
  const match =
    /^claude-(?<family>[a-z]+)-(?<major>\d{1,2})(?:-(?<minor>\d{1,2}))?(?:-\d{8})?$/.exec(id) ??
    /^claude-(?<major>\d)(?:-(?<minor>\d))?-(?<family>[a-z]+)(?:-\d{8})?$/.exec(id);
  const { family, major, minor } = match?.groups ?? {};
  if (family === undefined || major === undefined) return undefined;
  return { family, version: [Number(major), ...(minor === undefined ? [] : [Number(minor)])] };
}
