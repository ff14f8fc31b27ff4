import { z } from 'zod';
import { nonEmpty } from './fields.ts';

export const AWS_REGION = /^[a-z0-9-]+$/;

export const awsRegion = z
  .string()
  .regex(AWS_REGION, 'must be an AWS region, such as us-east-1')
  .describe('AWS region, such as us-east-1.');

const accessKeys = {
  aws_access_key_id: nonEmpty().optional().describe('Access key id; goes with aws_secret_access_key.'),
  aws_secret_access_key: nonEmpty().optional().describe('Secret access key; goes with aws_access_key_id.'),
  aws_session_token: nonEmpty().optional().describe('Session token of temporary access keys.'),
};

interface AccessKeys {
  readonly aws_access_key_id?: string | undefined;
  readonly aws_secret_access_key?: string | undefined;
  readonly aws_session_token?: string | undefined;
}

function checkAccessKeys(auth: AccessKeys, ctx: z.RefinementCtx): void {
  if ((auth.aws_access_key_id === undefined) !== (auth.aws_secret_access_key === undefined)) {
    ctx.addIssue({
      code: 'custom',
      message: 'aws_access_key_id and aws_secret_access_key go together: set both or neither',
    });
  } else if (auth.aws_session_token !== undefined && auth.aws_access_key_id === undefined) {
    ctx.addIssue({
      code: 'custom',
      message: 'aws_session_token goes with aws_access_key_id and aws_secret_access_key',
    });
  }
}

const EMPTY_MEANS =
  "Left empty, the AWS SDK's default credential chain (IRSA, instance role, environment) is used.";

export const bedrockAuth = z
  .strictObject({
    ...accessKeys,
    aws_bearer_token: nonEmpty().optional().describe('Bedrock API key, sent as a bearer token.'),
  })
  .superRefine(checkAccessKeys)
  .prefault({})
  .describe(`Credentials. ${EMPTY_MEANS}`);

export const anthropicAwsAuth = z
  .strictObject({
    api_key: nonEmpty()
      .optional()
      .describe('API key of the platform, sent as x-api-key; wins over access keys.'),
    ...accessKeys,
  })
  .superRefine(checkAccessKeys)
  .prefault({})
  .describe(`Credentials. ${EMPTY_MEANS}`);

export const assumeRole = z
  .strictObject({
    role_arn: z
      .string()
      .regex(
        /^arn:aws(-us-gov)?:iam::\d{12}:role\/[\w+=,.@/-]+$/,
        'must be the ARN of an IAM role, such as arn:aws:iam::123456789012:role/inference',
      )
      .describe('ARN of the IAM role to assume.'),
    external_id: z
      .string()
      .regex(/^[\w+=,.@:/-]{2,1224}$/, 'must be 2 to 1224 letters, digits or characters of _+=,.@:/-')
      .optional()
      .describe('External id that the trust policy of the role asks for.'),
    session_name: z
      .enum(['email', 'sub'])
      .optional()
      .describe("Name each developer's role session after their email or their subject, for CloudTrail."),
  })
  .optional()
  .describe('Assume this role with the credentials of auth.');

/** Both parts travel in headers. */
const headerValue = z
  .string()
  .regex(/^[\x21-\x7e]+$/, 'must not be empty, and printable ASCII without spaces');

export const guardrail = z
  .strictObject({
    id: headerValue.describe('Identifier or ARN of the guardrail.'),
    version: headerValue.describe('Version of the guardrail, such as 1 or DRAFT.'),
    input_tagging: z
      .enum(['last_message', 'user_messages', 'all_messages', 'all_messages_and_system'])
      .optional()
      .describe('Which parts of the input are tagged for the guardrail. All of it is judged when left out.'),
  })
  .optional()
  .describe('Bedrock guardrail that every request of this upstream passes.');
