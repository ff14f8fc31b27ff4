import { stringify } from 'yaml';
import { toDefinition } from './definition.ts';
import type { ResourceKind } from './kind.ts';

/**
 * A kind's definition as a template of the Helm chart: the same document, which the values `crds.enabled` and `crds.keep`
 * steer. As text, since Helm's own reading of YAML would turn whole numbers into floating-point ones.
 *
 * @throws NotStructuralError when a schema says something that a definition cannot.
 */
export function renderChartTemplate(kind: ResourceKind): string {
  const { spec, metadata, ...head } = toDefinition(kind);
  const body = stringify({ spec }, { lineWidth: 0, aliasDuplicateObjects: false });
  return [
    '{{- if .Values.crds.enabled }}\n',
    stringify(head),
    `metadata:\n  name: ${metadata.name}\n`,
    '  labels:\n    {{- include "cg.commonLabels" . | nindent 4 }}\n',
    '  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n',
    // Braces would be actions of the template.
    body.replaceAll('{{', '{{ "{{" }}'),
    '{{- end }}\n',
  ].join('');
}
