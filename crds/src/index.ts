export {
  NotStructuralError,
  toStructuralSchema,
  type KubernetesMeta,
  type StructuralSchema,
  type ValidationRule,
} from './structural-schema.ts';
