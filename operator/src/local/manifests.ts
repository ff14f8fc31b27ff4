import { readdirSync, readFileSync, watch, type FSWatcher } from 'node:fs';
import { join } from 'node:path';
import { ManifestError, parseManifest, type Resource } from '@claude-gateway/crds';
import { parseAllDocuments } from 'yaml';

/** What a folder holds. */
export interface Manifests {
  readonly resources: readonly Resource[];
  /** One line for each file that cannot be read as manifests, and why. */
  readonly problems: readonly string[];
}

/**
 * Reads the manifests of a folder, not of those in it. Objects of other API groups are skipped.
 */
export class ManifestFolder {
  readonly #directory: string;
  /** What each file held when it could last be read. */
  readonly #good = new Map<string, readonly Resource[]>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Of a file that has a problem now, the last good content counts. */
  read(): Manifests {
    const problems: string[] = [];
    const files = readdirSync(this.#directory)
      .filter((name) => /\.(ya?ml|json)$/.test(name))
      .sort();
    for (const name of this.#good.keys()) if (!files.includes(name)) this.#good.delete(name);
    for (const name of files) {
      try {
        this.#good.set(name, readManifests(readFileSync(join(this.#directory, name), 'utf8')));
      } catch (error) {
        const consequence = this.#good.has(name) ? 'what it said before stays in force' : 'it is left out';
        problems.push(`${name}: ${(error as Error).message}\n${consequence}`);
      }
    }
    const resources = new Map<string, Resource>();
    for (const [name, found] of this.#good) {
      for (const resource of found) {
        const { kind, metadata } = resource;
        const id = `${kind} ${metadata.namespace}/${metadata.name}`;
        if (resources.has(id)) problems.push(`${name}: ${id} is there twice: the first one counts`);
        else resources.set(id, resource);
      }
    }
    return { resources: [...resources.values()], problems };
  }

  /** Calls back some moments after something changed. Editors save in several steps, and some file systems tell nothing. */
  watch(onChange: () => void, settleMs = 100, pollMs = 2000): { close(): void } {
    let last = this.#contents();
    let settling: NodeJS.Timeout | undefined;
    const look = (): void => {
      const now = this.#contents();
      if (now === last) return;
      last = now;
      onChange();
    };
    const notice = (): void => {
      clearTimeout(settling);
      settling = setTimeout(look, settleMs);
    };
    let watcher: FSWatcher | undefined;
    try {
      watcher = watch(this.#directory, notice);
      watcher.on('error', () => watcher?.close());
    } catch {
      // The poll sees it too.
    }
    const poll = setInterval(look, pollMs);
    return {
      close() {
        clearTimeout(settling);
        clearInterval(poll);
        watcher?.close();
      },
    };
  }

  #contents(): string {
    try {
      const names = readdirSync(this.#directory).filter((name) => /\.(ya?ml|json)$/.test(name));
      return names.map((name) => `${name}\0${readFileSync(join(this.#directory, name), 'utf8')}`).join('\0');
    } catch {
      return '';
    }
  }
}

/** @throws Error that names the document, for people. */
function readManifests(text: string): Resource[] {
  return parseAllDocuments(text).flatMap((document, index) => {
    const [error] = document.errors;
    if (error !== undefined) throw new Error(`document ${index + 1} is no YAML: ${error.message}`);
    try {
      const resource = parseManifest(document.toJS());
      return resource === undefined ? [] : [withIdentity(resource)];
    } catch (problem) {
      if (problem instanceof ManifestError) throw new Error(problem.message, { cause: problem });
      throw problem;
    }
  });
}

/** What an API server would add: rows are owned by a uid. */
function withIdentity(resource: Resource): Resource {
  const { kind, metadata } = resource;
  const { name, namespace = 'default' } = metadata;
  return {
    ...resource,
    metadata: { ...metadata, namespace, uid: `manifest:${kind}/${namespace}/${name}` },
  };
}
