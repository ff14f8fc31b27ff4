import { durationMs, type ClaudeGatewaySpec } from '@claude-gateway/crds';
import { FileOf, Part, type Content } from './document.ts';
import { entriesOf, type Field } from './field.ts';

export type SpecField = Field<ClaudeGatewaySpec>;

interface KeyRef {
  readonly name: string;
  readonly key: string;
}

interface CaRef extends KeyRef {
  readonly kind: 'Secret' | 'ConfigMap';
}

/** The value of a Secret, by reference. */
export const secretOf = (ref: Field<KeyRef | undefined>): FileOf | undefined =>
  ref.whenSet(({ path, value: { name, key } }) => new FileOf('Secret', name, key, path, 'content'));

/** The path where a value of a Secret is mounted. */
export const pathOfSecret = (ref: Field<KeyRef | undefined>): FileOf | undefined =>
  ref.whenSet(({ path, value: { name, key } }) => new FileOf('Secret', name, key, path, 'path'));

/** CA certificates, by reference. */
export const certificatesOf = (ref: Field<CaRef | undefined>): FileOf | undefined =>
  ref.whenSet(({ path, value: { kind, name, key } }) => new FileOf(kind, name, key, path, 'content'));

/** Durations are whole seconds in specs. */
export const seconds = (duration: Field<string>): Field<number> =>
  duration.as((text) => durationMs(text) / 1000);

export interface Header {
  readonly name: string;
  readonly value?: string | undefined;
  readonly secretRef?: KeyRef | undefined;
}

/** Headers by name. */
export const headersOf = (headers: Field<readonly Header[] | undefined>): Content =>
  headers.whenSet(
    (list) =>
      new Part(
        list,
        Object.fromEntries(
          entriesOf(list).map((header) => [
            header.value.name,
            // The name may be what is wrong.
            new Part(header, secretOf(header.at('secretRef')) ?? header.at('value')),
          ]),
        ),
      ),
  );
