/**
 * Compiles a pattern in which `*` stands for any characters, none included; everything else is itself. Takes time in
 * proportion to the text, whatever the pattern: values come from strangers.
 */
export function compileWildcard(pattern: string): (text: string) => boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return (text) => text === pattern;
  return (text) => {
    if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
      return false;
    const end = text.length - last.length;
    let from = first.length;
    for (const part of rest) {
      const at = text.indexOf(part, from);
      if (at === -1 || at + part.length > end) return false;
      from = at + part.length;
    }
    return true;
  };
}

/** The characters of a pattern before its first `*`. */
export function literalPrefix(pattern: string): string {
  return pattern.split('*', 1)[0] ?? '';
}
