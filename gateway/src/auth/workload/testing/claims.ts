import type { JWTPayload } from 'jose';

/*
 * Payloads in the shapes that the platforms document. `iss`, `aud` and the times are for the test to set.
 */

/** https://kubernetes.io/docs/concepts/security/service-accounts/ (projected volume, bound to a pod) */
export const KUBERNETES: JWTPayload = {
  jti: 'b7c41f1a-3f1c-4c0f-8f5c-2f5c8a1f0c11',
  'kubernetes.io': {
    namespace: 'builds',
    node: { name: 'node-3', uid: '646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1' },
    pod: { name: 'runner-7f9c', uid: '5e0bd49b-f040-43b0-99b7-22765a53f7f3' },
    serviceaccount: { name: 'ci-runner', uid: '14ee3fa4-a7e2-420f-9f9a-dbc4507c3798' },
  },
  sub: 'system:serviceaccount:builds:ci-runner',
};

/** https://docs.github.com/en/actions/reference/security/oidc */
export const GITHUB: JWTPayload = {
  jti: 'example-id',
  sub: 'repo:acme/web:environment:prod',
  environment: 'prod',
  ref: 'refs/heads/main',
  sha: '0c1d5e0f2a3b4c5d6e7f8091a2b3c4d5e6f70819',
  repository: 'acme/web',
  repository_owner: 'acme',
  actor_id: '12',
  repository_visibility: 'private',
  repository_id: '74',
  repository_owner_id: '65',
  run_id: '1234567890',
  run_number: '10',
  run_attempt: '2',
  runner_environment: 'github-hosted',
  actor: 'octocat',
  workflow: 'review',
  head_ref: '',
  base_ref: '',
  event_name: 'workflow_dispatch',
  ref_protected: 'true',
  ref_type: 'branch',
  job_workflow_ref: 'acme/automation/.github/workflows/review.yml@refs/heads/main',
};

/** https://docs.gitlab.com/ci/secrets/id_token_authentication/ */
export const GITLAB: JWTPayload = {
  namespace_id: '72',
  namespace_path: 'acme',
  project_id: '20',
  project_path: 'acme/web',
  user_id: '1',
  user_login: 'sample-user',
  user_email: 'sample-user@corp.example',
  user_access_level: 'maintainer',
  user_identities: [{ provider: 'github', extern_uid: '2435223452345' }],
  pipeline_id: '574',
  pipeline_source: 'push',
  job_id: '302',
  ref: 'feature-branch-1',
  ref_type: 'branch',
  ref_path: 'refs/heads/feature-branch-1',
  ref_protected: 'false',
  groups_direct: ['acme/platform', 'acme/review'],
  environment: 'test-environment2',
  environment_protected: 'false',
  deployment_tier: 'testing',
  environment_action: 'start',
  runner_id: 1,
  runner_environment: 'self-hosted',
  sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
  project_visibility: 'public',
  ci_config_ref_uri: 'gitlab.example.com/acme/web//.gitlab-ci.yml@refs/heads/main',
  ci_config_sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
  jti: '235b3a54-b797-45c7-ae9a-f72d7bc6ef5b',
  sub: 'project_path:acme/web:ref_type:branch:ref:feature-branch-1',
};
