/**
 * Which groups something names at this moment: policies, limits, upstreams, `admin_groups`. Tokens outlive configurations, and so
 * does this; each configuration says anew whom to ask.
 */
export class GroupNames {
  #isNamed: (group: string) => boolean = () => true;

  namedBy(isNamed: (group: string) => boolean): void {
    this.#isNamed = isNamed;
  }

  has(group: string): boolean {
    return this.#isNamed(group);
  }
}
