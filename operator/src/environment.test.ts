import { describe, expect, it } from '@jest/globals';
import { EnvironmentError, readEnvironment } from './environment.ts';

const GIVEN = {
  POD_NAME: 'operator-0',
  POD_NAMESPACE: 'claude',
  GATEWAY_IMAGE: 'registry.example/gateway:1',
};

describe('readEnvironment', () => {
  it('has a default for all that the pod does not know better', () => {
    expect(readEnvironment(GIVEN)).toEqual({
      podName: 'operator-0',
      podNamespace: 'claude',
      operatorName: 'claude-gateway-operator',
      watchNamespaces: [],
      leaderElection: true,
      gatewayImage: 'registry.example/gateway:1',
      logLevel: 'info',
      healthPort: 8081,
      metricsPort: 9090,
      inCluster: false,
    });
  });

  it('reads each variable', () => {
    const env = {
      ...GIVEN,
      OPERATOR_NAME: 'second-operator',
      WATCH_NAMESPACES: 'b, a,a',
      LEADER_ELECTION: 'false',
      LOG_LEVEL: 'warn',
      HEALTH_PORT: '0',
      METRICS_PORT: '9999',
      KUBERNETES_SERVICE_HOST: '10.0.0.1',
    };
    expect(readEnvironment(env)).toMatchObject({
      operatorName: 'second-operator',
      watchNamespaces: ['a', 'b'],
      leaderElection: false,
      logLevel: 'warn',
      healthPort: 0,
      metricsPort: 9999,
      inCluster: true,
    });
    expect(readEnvironment({ ...env, KUBECONFIG: '/home/me/.kube/config' }).inCluster).toBe(false);
  });

  it('tells all that is wrong at once, and what to write', () => {
    const env = {
      POD_NAME: '',
      WATCH_NAMESPACES: 'Team A',
      LEADER_ELECTION: 'yes',
      LOG_LEVEL: 'loud',
      HEALTH_PORT: '99999',
    };
    let message = '';
    try {
      readEnvironment(env);
    } catch (error) {
      expect(error).toBeInstanceOf(EnvironmentError);
      ({ message } = error as Error);
    }
    expect(message.split('\n')).toEqual([
      'WATCH_NAMESPACES names "Team A", which no namespace can be called: separate names by commas',
      'POD_NAME is not set: give the name of the pod, by the downward API',
      'POD_NAMESPACE is not set: give the namespace of the pod, by the downward API',
      'LEADER_ELECTION is "yes": write true or false',
      'GATEWAY_IMAGE is not set: name the image that gateways run, such as registry.example/claude-gateway:0.1.0',
      'LOG_LEVEL is "loud": write debug, info, warn or error',
      'HEALTH_PORT is "99999": write a port, from 0 (any free one) to 65535',
    ]);
  });
});
