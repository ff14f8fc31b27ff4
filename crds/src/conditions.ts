import { z } from 'zod';
import { mapList } from './fields.ts';

const condition = z.strictObject({
  type: z.string().max(316).describe('What is true or not, such as Accepted.'),
  status: z.enum(['True', 'False', 'Unknown']).describe('Whether it is.'),
  reason: z.string().min(1).max(1024).describe('Why, in one CamelCase word, for programs.'),
  message: z.string().max(32_768).describe('Why, for people.'),
  observedGeneration: z.int().min(0).optional().describe('The generation of the spec that this is about.'),
  lastTransitionTime: z.string().meta({ format: 'date-time' }).describe('When status last changed.'),
});

/** `metav1.Condition` (KEP-1623). */
export type Condition = z.output<typeof condition>;

export const conditions = () =>
  mapList(condition, ['type'], 16).optional().describe('What is the case, and why.');

/** `observedGeneration` of what no operator has looked at yet: kstatus and Argo CD take it for on its way, and not for ready. */
export const UNOBSERVED = -1;

export const observedGeneration = () =>
  z
    .int()
    .min(UNOBSERVED)
    .optional()
    .describe('The generation of the spec that this status is about; -1 before anybody has looked.');
