import { child, type Child, type ChildInput } from './child.ts';
import { SERVICE_ACCOUNTS } from './types.ts';

/** The account that the pods run as: an existing one, or the one that is made. */
export const serviceAccountName = ({ gateway: { metadata, spec } }: ChildInput): string =>
  spec.serviceAccount.name ?? metadata.name;

/** None where an existing account is named. */
export function serviceAccount({ gateway }: ChildInput): Child | undefined {
  const { name, annotations } = gateway.spec.serviceAccount;
  if (name !== undefined) return undefined;
  // The gateway never calls the Kubernetes API. Clouds get tokens of their own, which their webhooks project.
  return child(SERVICE_ACCOUNTS, gateway, { automountServiceAccountToken: false }, { annotations });
}
