import { z } from 'zod';
import { mapList } from './fields.ts';

/** What a policy's status says of each gateway that it applies to. @param revision What the revision has. */
export const gatewayShape = (revision: string) => ({
  name: z.string().max(253).describe('Name of the ClaudeGateway.'),
  revision: z.int().min(0).optional().describe(`Revision of the policies that has ${revision}.`),
  replicas: z.int().min(0).optional().describe('Pods that serve.'),
});

/** How many of the pods are up to date. */
export const replicasUpToDate = () =>
  z.int().min(0).optional().describe('Of them, those that run this revision or a later one.');

/** Other resources of the kind that say something about the same. */
export const conflicts = (kind: string, message: string, what: string) =>
  mapList(
    z.strictObject({
      name: z.string().max(253).describe(`Name of the other ${kind}.`),
      message: z.string().max(1024).describe(message),
    }),
    ['name'],
    100,
  )
    .optional()
    .describe(what);
