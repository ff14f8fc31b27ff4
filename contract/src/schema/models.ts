import { z } from 'zod';
import { nonEmpty } from './fields.ts';

export const modelSchema = z.strictObject({
  id: nonEmpty().describe('Model id, as clients name it.'),
  label: z.string().optional().describe('Name for people.'),
  description: z.string().optional().describe('Text for clients that show one.'),
  upstream_model: z
    .record(z.string(), nonEmpty())
    .refine((map) => Object.keys(map).length > 0, { error: 'needs at least one upstream' })
    .describe(
      "Model id for each upstream, keyed by the upstream's name. Other upstreams are skipped for this model.",
    ),
});

export const modelsSchema = z
  .array(modelSchema)
  .default([])
  .describe('Models beside or instead of the built-in catalog, and what each upstream calls them.');

export const autoIncludeBuiltinModelsSchema = z
  .boolean()
  .default(true)
  .describe('Offer the built-in catalog too. false: only the models listed.');

export type ModelConfig = z.output<typeof modelSchema>;
