import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startMessagesUpstream, type MessagesUpstream } from '@claude-gateway/dev';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFleet, type Fleet } from '../spend/fleet.ts';
import { claudeCodeBinary } from '../testbed/claude-code.ts';
import { describeWith } from '../testbed/requirements.ts';
import { ACCEPTED } from './accepted-differences.ts';
import { differencesOf, Player, type Target } from './compare.ts';
import { DIVERGING, POOLS, READING, SETTING, SPENDING, type Call } from './script.ts';

const WRITE_KEY = 'a-key-of-at-least-thirty-two-characters-to-write';
const READ_KEY = 'a-key-of-at-least-thirty-two-characters-to-read';
const PEOPLE = {
  alice: { requests: 3, groups: ['eng'] },
  bob: { requests: 1, groups: ['contractors'] },
  carol: { requests: 2, groups: ['platform-finops', 'eng'] },
} as const;

let upstream: MessagesUpstream;
const fleets: Fleet[] = [];

/** Gateways with the same configuration, each on a database of its own. */
async function start(program: 'ours' | 'reference'): Promise<Fleet> {
  const admin = {
    write_keys: [{ id: 'tf', key: WRITE_KEY }],
    read_keys: [{ id: 'ro', key: READ_KEY }],
    admin_groups: ['platform-finops'],
  };
  const fleet = await startFleet({
    replicas: 1,
    upstreamUrl: upstream.url,
    program,
    config: { admin },
  });
  fleets.push(fleet);
  return fleet;
}

function urlOf(fleet: Fleet): string {
  return fleet.replicas[0]?.url ?? '';
}

function bearerOf(fleet: Fleet, sub: keyof typeof PEOPLE): string {
  return `Bearer ${fleet.bearer({ sub, groups: PEOPLE[sub].groups })}`;
}

function targetOf(fleet: Fleet): Target {
  return {
    url: urlOf(fleet),
    headers: {
      writer: { 'x-api-key': WRITE_KEY },
      reader: { 'x-api-key': READ_KEY },
      administrator: { authorization: bearerOf(fleet, 'carol') },
      member: { authorization: bearerOf(fleet, 'alice') },
      nobody: {},
      stranger: { 'x-api-key': 'a-key-that-nobody-has-been-given-by-anybody' },
      forger: { authorization: 'Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.' },
    },
  };
}

/** The same requests of the same people, until the gateway has counted them all. */
async function spend(fleet: Fleet): Promise<void> {
  for (const [sub, { requests }] of Object.entries(PEOPLE)) {
    for (let i = 0; i < requests; i++) {
      const response = await fetch(`${urlOf(fleet)}/v1/messages`, {
        method: 'POST',
        headers: {
          authorization: bearerOf(fleet, sub as keyof typeof PEOPLE),
          'content-type': 'application/json',
          'anthropic-version': '2023-06-01',
        },
        body: JSON.stringify({
          model: 'claude-opus-4-8',
          max_tokens: 100,
          messages: [{ role: 'user', content: 'hello '.repeat(200) }],
        }),
      });
      if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
      await response.text();
    }
  }
  const deadline = performance.now() + 20_000;
  let seen = '';
  for (;;) {
    const effective = await fetch(`${urlOf(fleet)}/v1/organizations/spend_limits/effective?period[]=daily`, {
      headers: { 'x-api-key': READ_KEY },
    });
    const { data } = (await effective.json()) as { data: { period_to_date_spend: string }[] };
    const now = JSON.stringify(data.map((row) => row.period_to_date_spend));
    if (data.length === Object.keys(PEOPLE).length && now === seen) return;
    if (performance.now() > deadline) throw new Error(`not everything was counted: ${now}`);
    seen = now;
    await sleep(500);
  }
}

describeWith({ 'the Claude Code program': program() })(
  'the admin API, call by call, beside the reference',
  () => {
    let reference: Player;
    let ours: Player;

    beforeAll(async () => {
      upstream = await startMessagesUpstream();
      const [theirFleet, ourFleet] = [await start('reference'), await start('ours')];
      reference = new Player(targetOf(theirFleet));
      ours = new Player(targetOf(ourFleet));
    }, 180_000);

    afterAll(async () => {
      await Promise.all(fleets.map((fleet) => fleet.stop()));
      await upstream.stop();
    });

    /** A difference that nobody accepted fails; so does one that is accepted and is none any more. */
    const compare = async (call: Call): Promise<void> => {
      const differences = differencesOf(await reference.play(call), await ours.play(call));
      if (call.name in ACCEPTED) expect(differences).not.toEqual([]);
      else expect(differences).toEqual([]);
    };

    describe.each([
      ['setting limits', SETTING],
      ['reading and deleting them', READING],
      ['pools', POOLS],
    ])('%s', (_, calls) => {
      it.each(calls.map((call) => [call.name, call] as const))('%s', async (_name, call) => {
        await compare(call);
      });
    });

    describe('who spent what', () => {
      beforeAll(() => Promise.all(fleets.map(spend)), 60_000);

      it.each(SPENDING.map((call) => [call.name, call] as const))('%s', async (_name, call) => {
        await compare(call);
      });
    });

    describe('where the two part ways', () => {
      it.each(DIVERGING.map((call) => [call.name, call] as const))('%s', async (_name, call) => {
        await compare(call);
      });
    });

    it('accepts differences of calls only that are made', () => {
      const made = new Set([SETTING, READING, POOLS, SPENDING, DIVERGING].flat().map(({ name }) => name));
      expect(Object.keys(ACCEPTED).filter((name) => !made.has(name))).toEqual([]);
    });
  },
);

function program(): string | undefined {
  try {
    return claudeCodeBinary();
  } catch {
    return undefined;
  }
}
