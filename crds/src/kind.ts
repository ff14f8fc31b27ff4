import type { z } from 'zod';
import type { ValidationRule } from './structural-schema.ts';

/** A column of `kubectl get`. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'boolean' | 'date';
  /** Of the one value to show; a list shows its first. */
  readonly jsonPath: string;
  readonly description: string;
  /** Above 0: shown with `-o wide` only. */
  readonly priority?: number;
}

/** Everything that makes a custom resource definition. */
export interface ResourceKind<
  Kind extends string = string,
  Spec extends z.ZodType = z.ZodType,
  Status extends z.ZodType = z.ZodType,
> {
  readonly kind: Kind;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly description: string;
  readonly spec: Spec;
  readonly status: Status;
  /** Rules over the whole object; of its metadata only the name can be seen. */
  readonly rules?: readonly ValidationRule[];
  readonly printerColumns: readonly PrinterColumn[];
  readonly scale?: {
    readonly specReplicasPath: string;
    readonly statusReplicasPath: string;
    readonly labelSelectorPath: string;
  };
}

export const conditionColumn = (type: string, description: string, priority?: number): PrinterColumn => ({
  name: type,
  type: 'string',
  jsonPath: `.status.conditions[?(@.type=="${type}")].status`,
  description,
  ...(priority === undefined ? {} : { priority }),
});

export const AGE: PrinterColumn = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
  description: 'How long the resource has existed.',
};
