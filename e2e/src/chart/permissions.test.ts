import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { TestApiServer } from '../testbed/api-server.ts';
import { discover, makeNamespace, type ApiResource } from './cluster.ts';
import { CHART, describeWithHelm } from './helm.ts';

const VERBS = [
  'get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection', 'bind', 'escalate', 'impersonate',
]; // prettier-ignore

const OWN = 'create delete get list patch watch';

/** All that the operator may do where its gateways are: what is not here is forbidden. */
const WHERE_GATEWAYS_ARE: Readonly<Record<string, string>> = {
  'claudegateway.dev/claudegateways': 'get list patch watch',
  'claudegateway.dev/claudegateways/finalizers': 'update',
  'claudegateway.dev/claudegateways/status': 'get patch',
  'claudegateway.dev/managedsettings': 'get list patch watch',
  'claudegateway.dev/managedsettings/finalizers': 'update',
  'claudegateway.dev/managedsettings/status': 'get patch',
  'claudegateway.dev/spendpolicies': 'get list patch watch',
  'claudegateway.dev/spendpolicies/finalizers': 'update',
  'claudegateway.dev/spendpolicies/status': 'get patch',
  '/configmaps': OWN,
  '/services': OWN,
  '/serviceaccounts': OWN,
  '/secrets': 'create get list patch watch',
  '/pods': 'get list watch',
  'apps/deployments': OWN,
  'autoscaling/horizontalpodautoscalers': OWN,
  'policy/poddisruptionbudgets': OWN,
  'networking.k8s.io/ingresses': OWN,
  'networking.k8s.io/networkpolicies': OWN,
  'gateway.networking.k8s.io/httproutes': OWN,
  'monitoring.coreos.com/servicemonitors': OWN,
  'events.k8s.io/events': 'create patch',
  // And what it may do to the one by which it claims a namespace, below.
  'coordination.k8s.io/leases': 'create',
};

/** And in its own namespace. */
const WHERE_IT_RUNS: Readonly<Record<string, string>> = {
  'coordination.k8s.io/leases': 'create get list patch update watch',
  'events.k8s.io/events': 'create patch',
};

/** Not served by a bare API server, but by the clusters that people have. */
const ELSEWHERE: readonly ApiResource[] = [
  ['gateway.networking.k8s.io', 'httproutes'],
  ['gateway.networking.k8s.io', 'gateways'],
  ['monitoring.coreos.com', 'servicemonitors'],
  ['monitoring.coreos.com', 'prometheuses'],
  ['claudegateway.dev', 'claudegateways/finalizers'],
  ['claudegateway.dev', 'spendpolicies/finalizers'],
  ['claudegateway.dev', 'managedsettings/finalizers'],
].map(([group = '', name = '']) => ({ group, name, version: 'v1', kind: '', namespaced: true }));

describeWithHelm(TestApiServer.PROGRAMS, (helm) => {
  let server: TestApiServer;
  let resources: readonly ApiResource[];

  beforeAll(async () => {
    server = await TestApiServer.start();
    for (const name of ['one', 'two', 'three', 'team', 'other']) await makeNamespace(server, name);
    const install = async (...args: readonly string[]): Promise<void> => {
      const { code, stderr } = await helm.run(['install', 'test', CHART, ...args], server.kubeconfigFile());
      if (code !== 0) throw new Error(stderr);
    };
    await install('-n', 'one', '--set', 'watchNamespaces={team,one}');
    await install('-n', 'two', '--set', 'scope=cluster,crds.enabled=false');
    await install('-n', 'three', '--set', 'rbac.gatewayNames={main,research},crds.enabled=false');
    resources = [...(await discover(server)), ...ELSEWHERE];
  }, 120_000);

  afterAll(async () => {
    await server?.stop();
    helm.dispose();
  });

  async function may(
    user: string,
    verb: string,
    group: string,
    name: string,
    namespace: string,
    objectName?: string,
  ): Promise<boolean> {
    const [resource, subresource = ''] = name.split('/');
    const [, , home = ''] = user.split(':');
    const { body } = await server.call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: {
        user,
        groups: ['system:authenticated', 'system:serviceaccounts', `system:serviceaccounts:${home}`],
        resourceAttributes: { verb, group, resource, subresource, namespace, name: objectName },
      },
    });
    return (body['status'] as { allowed: boolean }).allowed;
  }

  /** What the operator of a release may do in a namespace, or everywhere (''), beyond what any account may. */
  async function allowed(release: string, namespace: string): Promise<Record<string, string>> {
    const result: Record<string, string> = {};
    const queue = [...resources];
    const operator = `system:serviceaccount:${release}:test-claude-gateway-operator`;
    const anybody = `system:serviceaccount:${release}:anybody`;
    const worker = async (): Promise<void> => {
      for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
        const { group, name } = one;
        const verbs: string[] = [];
        for (const verb of VERBS) {
          const more =
            (await may(operator, verb, group, name, namespace)) &&
            !(await may(anybody, verb, group, name, namespace));
          if (more) verbs.push(verb);
        }
        if (verbs.length > 0) result[`${group}/${name}`] = verbs.toSorted().join(' ');
      }
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    return result;
  }

  it('may do in the namespaces it watches what it needs, and nothing else', async () => {
    expect(await allowed('one', 'team')).toEqual(WHERE_GATEWAYS_ARE);
  }, 120_000);

  it('may elect a leader where it runs', async () => {
    expect(await allowed('one', 'one')).toEqual({ ...WHERE_GATEWAYS_ARE, ...WHERE_IT_RUNS });
  }, 120_000);

  it('may do nothing in other namespaces, nor to the cluster', async () => {
    expect(await allowed('one', 'other')).toEqual({});
    expect(await allowed('one', '')).toEqual({});
  }, 120_000);

  it('may renew the Lease by which it claims a namespace, and no other one there', async () => {
    const operator = 'system:serviceaccount:one:test-claude-gateway-operator';
    const mayDo = (verb: string, lease: string): Promise<boolean> =>
      may(operator, verb, 'coordination.k8s.io', 'leases', 'team', lease);
    for (const verb of ['get', 'update']) {
      expect(await mayDo(verb, 'claudegateway-namespace')).toBe(true);
      expect(await mayDo(verb, 'somebody-elses')).toBe(false);
    }
    expect(await mayDo('delete', 'claudegateway-namespace')).toBe(false);
  });

  it('may do in every namespace the same, in cluster scope', async () => {
    expect(await allowed('two', 'other')).toEqual(WHERE_GATEWAYS_ARE);
    expect(await allowed('two', '')).toEqual(WHERE_GATEWAYS_ARE);
    expect(await allowed('two', 'two')).toEqual({ ...WHERE_GATEWAYS_ARE, ...WHERE_IT_RUNS });
  }, 120_000);

  it('may change nothing but what belongs to the gateways that are named, where they are', async () => {
    const operator = 'system:serviceaccount:three:test-claude-gateway-operator';
    const named = await allowed('three', 'three');
    const own = Object.entries(WHERE_GATEWAYS_ARE).map(([resource, verbs]) => [
      resource,
      verbs === OWN || resource === '/secrets' ? 'create get list watch' : verbs,
    ]);
    expect(named).toEqual({ ...Object.fromEntries(own), ...WHERE_IT_RUNS });
    const mayChange = (name: string, object: string, verb = 'patch', group = ''): Promise<boolean> =>
      may(operator, verb, group, name, 'three', object);
    for (const gateway of ['main', 'research']) {
      expect(await mayChange('secrets', `${gateway}-signing-keys`)).toBe(true);
      expect(await mayChange('configmaps', `${gateway}-config`)).toBe(true);
      expect(await mayChange('deployments', gateway, 'delete', 'apps')).toBe(true);
    }
    expect(await mayChange('secrets', 'claude-database')).toBe(false);
    expect(await mayChange('secrets', 'main')).toBe(false);
    expect(await mayChange('secrets', 'main-signing-keys', 'delete')).toBe(false);
    expect(await mayChange('deployments', 'somebody-elses', 'patch', 'apps')).toBe(false);
  }, 120_000);

  it('can neither run commands in pods nor raise its own permissions', async () => {
    const operator = 'system:serviceaccount:two:test-claude-gateway-operator';
    expect(await may(operator, 'create', '', 'pods/exec', 'two')).toBe(false);
    expect(await may(operator, 'create', 'rbac.authorization.k8s.io', 'rolebindings', 'two')).toBe(false);
    expect(await may(operator, 'create', '', 'serviceaccounts/token', 'two')).toBe(false);
  });

  it.each([
    ['view', 'get list watch', ['claudegateways/scale', 'claudegateways/status'], 'get'],
    ['edit', 'create delete deletecollection patch update', ['claudegateways/scale'], 'patch update'],
  ])('aggregates to %s what it says', async (role, verbs, subresources, subverbs) => {
    const name = `one-test-claude-gateway-${role}`;
    const { body } = await server.call('GET', `/apis/rbac.authorization.k8s.io/v1/clusterroles/${name}`);
    const labels = (body['metadata'] as { labels: Record<string, string> }).labels;
    expect(labels[`rbac.authorization.k8s.io/aggregate-to-${role}`]).toBe('true');
    expect(labels['rbac.authorization.k8s.io/aggregate-to-admin']).toBe('true');
    const user = `system:serviceaccount:team:${role}`;
    await server.call('POST', '/apis/rbac.authorization.k8s.io/v1/namespaces/team/rolebindings', {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: role },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', name: role, namespace: 'team' }],
    });
    // The authorizer learns of a binding from a watch.
    for (let tries = 0; tries < 100; tries++) {
      const [verb = ''] = verbs.split(' ');
      if (await may(user, verb, 'claudegateway.dev', 'spendpolicies', 'team')) break;
      await sleep(50);
    }
    const found = async (resource: string): Promise<string> => {
      const answers = VERBS.map(async (verb) => [
        verb,
        await may(user, verb, 'claudegateway.dev', resource, 'team'),
      ]);
      return (await Promise.all(answers))
        .flatMap(([verb, yes]) => (yes ? [verb] : []))
        .toSorted()
        .join(' ');
    };
    for (const kind of ['claudegateways', 'spendpolicies', 'managedsettings']) {
      expect(await found(kind)).toBe(verbs);
    }
    for (const one of subresources) expect(await found(one)).toBe(subverbs);
    if (role === 'edit') expect(await found('spendpolicies/status')).toBe('');
  });
});
